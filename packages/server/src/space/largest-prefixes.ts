import type { KeyIndex, Store } from '@etsd/mvcc';
import type { TimerHandle } from '../context.ts';

/** Keys looked at in one survey; of more, every so manieth is. */
const KEYS_MAX = 20_000;
/** Prefixes told apart at a time; what comes behind them counts as `OTHERS`. */
const PREFIXES_MAX = 4096;
/** Prefixes that the result names. */
const SHOWN = 5;
/** A key without a separator counts under so many of its first characters. */
const PLAIN_PREFIX_CHARACTERS = 16;
/** A slice holds the event loop so long, and the next one comes so much later, in milliseconds. */
const SLICE_MS = 1;
const PAUSE_MS = 10;
const KEYS_PER_LOOK_AT_THE_CLOCK = 32;

export const OTHERS = '(others)';

/** What lies below a prefix: bytes of all its records, former versions included, and keys. Estimates, from a sample. */
export interface PrefixShare {
  /** Bytes that are no text show as `\xNN`. */
  readonly prefix: string;
  readonly bytes: number;
  readonly keys: number;
}

export interface LargestPrefixesParts {
  readonly store: Pick<Store, 'index' | 'generation' | 'recordView'>;
  readonly after: (ms: number, callback: () => void) => TimerHandle;
  readonly nowMs: () => number;
}

/**
 * Which parts of the key space take the room. Nothing is counted while keys are written: when somebody has to be told,
 * a sample of the keys is looked at, a slice at a time, so that it costs the same whatever the store holds.
 */
export class LargestPrefixes {
  /** Of the last survey, largest first; empty before the first. */
  latest: readonly PrefixShare[] = [];
  private readonly parts: LargestPrefixesParts;
  private survey: Survey | null = null;
  private waiters: ((shares: readonly PrefixShare[]) => void)[] = [];
  private timer: TimerHandle | null = null;

  constructor(parts: LargestPrefixesParts) {
    this.parts = parts;
  }

  /** Looks, and tells; those who ask meanwhile share the survey under way. */
  ask(done: (shares: readonly PrefixShare[]) => void): void {
    this.waiters.push(done);
    if (this.survey !== null) return;
    this.survey = new Survey(this.parts.store);
    this.timer = this.parts.after(0, this.slice);
  }

  stop(): void {
    this.timer?.cancel();
    this.survey = null;
    this.waiters = [];
  }

  private readonly slice = (): void => {
    const { after, nowMs } = this.parts;
    const survey = this.survey as Survey;
    const until = nowMs() + SLICE_MS;
    do {
      if (!survey.step(KEYS_PER_LOOK_AT_THE_CLOCK)) continue;
      this.latest = survey.largest(SHOWN);
      this.survey = null;
      const waiters = this.waiters;
      this.waiters = [];
      for (const waiter of waiters) waiter(this.latest);
      return;
    } while (nowMs() < until);
    this.timer = after(PAUSE_MS, this.slice);
  };
}

class Share {
  bytes = 0;
  keys = 0;
}

/** One look over the slots of the index. */
class Survey {
  private readonly store: LargestPrefixesParts['store'];
  private readonly generation: number;
  private readonly stride: number;
  private slot = 0;
  private readonly shares = new Map<string, Share>();

  constructor(store: LargestPrefixesParts['store']) {
    this.store = store;
    this.generation = store.generation;
    this.stride = Math.max(1, Math.ceil(store.index.slotsEnd / KEYS_MAX));
  }

  /** Looks at so many slots more; true once all are seen, or the store has become another one. */
  step(slots: number): boolean {
    const { store } = this;
    const { index } = store;
    if (store.generation !== this.generation) return true;
    for (let left = slots; left > 0; left--) {
      if (this.slot >= index.slotsEnd) return true;
      if (index.isTaken(this.slot)) this.count(index, this.slot);
      this.slot += this.stride;
    }
    return this.slot >= index.slotsEnd;
  }

  /** The versions of a key are taken to be as long as the newest; of a deleted key, as the one before the deletion. */
  private count(index: KeyIndex, slot: number): void {
    const former = index.listLength(slot);
    const isLive = index.version(slot) > 0;
    let size = 0;
    if (isLive) size = this.store.recordView(index.main(slot), index.sub(slot)).length;
    else if (former > 0 && !index.formerIsTombstone(slot, former - 1)) {
      size = this.store.recordView(index.formerMain(slot, former - 1), index.formerSub(slot, former - 1)).length;
    }
    const name = prefixOf(index.keyOf(slot));
    let share = this.shares.get(name);
    if (share === undefined) {
      const known = this.shares.size < PREFIXES_MAX ? name : OTHERS;
      share = this.shares.get(known) ?? new Share();
      this.shares.set(known, share);
    }
    share.bytes += size * (former + (isLive ? 1 : 0)) * this.stride;
    share.keys += isLive ? this.stride : 0;
  }

  largest(count: number): PrefixShare[] {
    const all = [...this.shares].map(([name, { bytes, keys }]) => ({ prefix: shownPrefix(name), bytes, keys }));
    return all.sort((a, b) => b.bytes - a.bytes || (a.prefix < b.prefix ? -1 : 1)).slice(0, count);
  }
}

/** The first two segments of a key, as far as `/` and `:` divide it. */
export function prefixOf(key: string): string {
  let separators = 0;
  for (let at = 1; at < key.length; at++) {
    const code = key.charCodeAt(at);
    if (code !== SLASH && code !== COLON) continue;
    separators++;
    if (separators === 2) return key.slice(0, at + 1);
  }
  const last = Math.max(key.lastIndexOf('/'), key.lastIndexOf(':'));
  return last > 0 ? key.slice(0, last + 1) : key.slice(0, PLAIN_PREFIX_CHARACTERS);
}

const SLASH = 0x2f;
const COLON = 0x3a;

/** Text as text, other bytes as escapes. */
export function shownPrefix(prefix: string): string {
  const text = Buffer.from(prefix, 'latin1').toString('utf8');
  const isText = !/[\p{Cc}\ufffd]/u.test(text);
  if (isText) return text;
  return prefix.replace(/[^ -~]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
