import type { Key } from '@etsd/base';
import type { SizeListener, Store } from '@etsd/mvcc';
import type { TimerHandle } from '../context.ts';
import { OTHERS, type PrefixShare, prefixOf, shownPrefix } from './largest-prefixes.ts';

/** Prefixes told apart at a time; what comes behind them counts as `OTHERS`. */
const PREFIXES_MAX = 4096;
/** A slice of the first walk holds the event loop so long, and the next one comes so much later, in milliseconds. */
const SLICE_MS = 1;
const PAUSE_MS = 10;
const SLOTS_PER_LOOK_AT_THE_CLOCK = 64;
/** Once so many prefixes have become empty while others had no place, everything is counted anew; not soon again. */
const EMPTIED_MAX = 1024;
const RESTART_PAUSE_MS = 10 * 60_000;

export interface PrefixTallyParts {
  readonly store: Pick<Store, 'index' | 'generation'> & { sizes: SizeListener | null };
  readonly after: (ms: number, callback: () => void) => TimerHandle;
  readonly nowMs: () => number;
}

class Count {
  readonly prefix: string;
  keys = 0;
  bytes = 0;

  constructor(prefix: string) {
    this.prefix = prefix;
  }
}

/**
 * Keys and bytes below each prefix as of now, newest records only: kept with every write, in bounded memory.
 *
 * ```
 *   slots of the index   0 ───────── walked ─────────▶ end
 *                        counted:     │   not yet: the walk will
 *                        writes move  │   come by, writes are
 *                        the figures  │   left alone
 * ```
 * What was there at the start is counted by a walk in slices; so nothing is ever done for all keys at once.
 */
export class PrefixTally implements SizeListener {
  /** Of all prefixes together. */
  keys = 0;
  bytes = 0;
  private readonly parts: PrefixTallyParts;
  private counts = new Map<string, Count>();
  private others = new Count(OTHERS);
  /** Of the key before; at first of none, since no key is empty. */
  private last = new Count('');
  private emptied = 0;
  private restartedMs = 0;
  private generation = -1;
  /** Slots below are counted. */
  private walked = 0;
  private timer: TimerHandle | null = null;

  constructor(parts: PrefixTallyParts) {
    this.parts = parts;
  }

  /** Counts from now on. */
  start(): void {
    this.parts.store.sizes = this;
    this.restart();
  }

  stop(): void {
    this.parts.store.sizes = null;
    this.timer?.cancel();
    this.timer = null;
  }

  /** Everything there is has been counted. */
  get isComplete(): boolean {
    return this.walked === Number.POSITIVE_INFINITY;
  }

  /** Prefixes told apart. */
  get length(): number {
    return this.counts.size;
  }

  resized(key: Key, slot: number, before: number, after: number): void {
    if (this.generation !== this.parts.store.generation) this.restart();
    if (slot < this.walked) this.count(key, before, after);
  }

  /** The largest of them by bytes; what found no place of its own comes as one. */
  largest(limit: number): PrefixShare[] {
    const all = [...this.counts.values(), this.others].filter(({ keys }) => keys > 0);
    all.sort((a, b) => b.bytes - a.bytes || (a.prefix < b.prefix ? -1 : 1));
    return all
      .slice(0, limit)
      .map(({ prefix, bytes, keys }) => ({ prefix: prefix === OTHERS ? OTHERS : shownPrefix(prefix), bytes, keys }));
  }

  private count(key: Key, before: number, after: number): void {
    const count = this.countOf(prefixOf(key));
    count.bytes += after - before;
    this.bytes += after - before;
    if ((before === 0) === (after === 0)) return;
    const more = after === 0 ? -1 : 1;
    count.keys += more;
    this.keys += more;
    if (count.keys > 0 || count === this.others || ++this.emptied < EMPTIED_MAX || this.others.keys === 0) return;
    if (this.parts.nowMs() - this.restartedMs > RESTART_PAUSE_MS) this.restart();
  }

  /** Prefixes come in runs; to compare one with the last is cheaper than the hash of a text that was just made. */
  private countOf(prefix: string): Count {
    if (prefix === this.last.prefix) return this.last;
    let count = this.counts.get(prefix);
    if (count === undefined) {
      if (this.counts.size >= PREFIXES_MAX) return this.others;
      count = new Count(prefix);
      this.counts.set(prefix, count);
    }
    this.last = count;
    return count;
  }

  /** A prefix that counts among the others stays there, and one that has become empty keeps its place, up to here. */
  private restart(): void {
    this.generation = this.parts.store.generation;
    this.counts = new Map();
    this.others = new Count(OTHERS);
    this.last = new Count('');
    this.keys = this.bytes = this.emptied = 0;
    this.walked = 0;
    this.restartedMs = this.parts.nowMs();
    this.timer?.cancel();
    this.timer = this.parts.after(0, this.slice);
  }

  private readonly slice = (): void => {
    const { store, after, nowMs } = this.parts;
    this.timer = null;
    if (this.generation !== store.generation) {
      this.restart();
      return;
    }
    const until = nowMs() + SLICE_MS;
    do {
      this.walk(SLOTS_PER_LOOK_AT_THE_CLOCK);
      if (this.isComplete) return;
    } while (nowMs() < until);
    this.timer = after(PAUSE_MS, this.slice);
  };

  private walk(slots: number): void {
    const { index } = this.parts.store;
    for (let left = slots; left > 0; left--) {
      const slot = this.walked;
      if (slot >= index.slotsEnd) {
        this.walked = Number.POSITIVE_INFINITY;
        return;
      }
      const size = index.size(slot);
      if (size > 0) this.count(index.keyOf(slot), 0, size);
      this.walked++;
    }
  }
}
