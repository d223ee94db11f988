import { isDeepStrictEqual } from 'node:util';
import { inRange, isEmptyRange, type Key, keyFromBytes } from '@etsd/base';
import type { Client, Message, Stream } from '../support/client.ts';
import { maskWatchResponse } from './normalise.ts';
import { describe, type View } from './ops.ts';

const PATIENCE_MS = 20_000;
const SIDES = [0, 1] as const;
type Side = (typeof SIDES)[number];

/** Something a server did that the other did not, or that nobody may do. */
export class Mismatch extends Error {}

interface HistoryEvent {
  revision: number;
  key: Key;
  isDelete: boolean;
  event: Message;
}

interface WatcherSide {
  /** Events that were not compared yet. */
  events: Message[];
  lastRevision: number;
  /** The last response was a fragment, so that the next one continues it. */
  isFragmented: boolean;
  canceled: Message | null;
}

/** The end of a request's range; requests for one key have none. */
function endOf(request: Message): Key {
  const end = request['range_end'] as Buffer | undefined;
  return end === undefined ? '' : keyFromBytes(end);
}

class Watcher {
  readonly key: Key;
  readonly rangeEnd: Key;
  readonly skipPuts: boolean;
  readonly skipDeletes: boolean;
  /** The first revision it is interested in. */
  readonly firstRevision: number;
  /** It asked for history that is gone: it gets a cancellation and nothing else. */
  readonly isCompacted: boolean;
  /** It named the revision it starts from. */
  readonly namesRevision: boolean;
  /** Events it must get and which were not compared yet. */
  due: HistoryEvent[] = [];
  readonly sides: [WatcherSide, WatcherSide];

  constructor(request: Message, firstRevision: number, isCompacted: boolean) {
    this.namesRevision = String(request['start_revision']) !== '0';
    const key = keyFromBytes(request['key'] as Buffer);
    this.key = key === '' ? '\0' : key;
    this.rangeEnd = endOf(request);
    const filters = request['filters'] as string[];
    this.skipPuts = filters.includes('NOPUT');
    this.skipDeletes = filters.includes('NODELETE');
    this.firstRevision = firstRevision;
    this.isCompacted = isCompacted;
    const side = (): WatcherSide => ({ events: [], lastRevision: 0, isFragmented: false, canceled: null });
    this.sides = [side(), side()];
  }

  wants(event: HistoryEvent): boolean {
    if (this.isCompacted || event.revision < this.firstRevision) return false;
    if (event.isDelete ? this.skipDeletes : this.skipPuts) return false;
    return inRange(event.key, this.key, this.rangeEnd);
  }
}

class Slot {
  readonly streams: [Stream, Stream];
  readonly watchers = new Map<string, Watcher>();
  /** One of its watchers was cancelled for compacted history. etcd 3.5 answers no progress request after that. */
  hadCompacted = false;
  /** Answers to create requests, in order. */
  readonly created: [Message[], Message[]] = [[], []];
  /** Responses for watchers whose `created` was not looked at yet, by id. */
  readonly early: [Map<string, Message[]>, Map<string, Message[]>] = [new Map(), new Map()];
  /** Revisions of the answers to progress requests. */
  readonly progress: [number[], number[]] = [[], []];

  constructor(streams: [Stream, Stream]) {
    this.streams = streams;
  }
}

/**
 * Watches on both servers. A control watcher over everything gives the history of each server, and each watcher's
 * events must be exactly the history filtered by what it asked for: that is known without waiting "long enough".
 */
export class Watches {
  private readonly clients: [Client, Client];
  private readonly slots: (Slot | null)[] = [];
  private control: [Stream, Stream] | null = null;
  /** What came since the last comparison. */
  private history: [HistoryEvent[], HistoryEvent[]] = [[], []];
  /** The history both agree upon, as far as watchers may still ask for it. */
  private verified: HistoryEvent[] = [];
  private historyRevision: [number, number];
  private revision: number;
  /** Deviations noticed while messages came in; thrown by the next operation. */
  private failure: string | null = null;

  /** `before`: the watches of an earlier run on the same data, whose history is taken over. */
  constructor(clients: [Client, Client], revision: number, before: Watches | null) {
    if (before !== null) this.verified = before.verified;
    this.clients = clients;
    this.revision = revision;
    this.historyRevision = [revision, revision];
    const open = (side: Side): Stream => {
      const stream = this.clients[side].stream('Watch/Watch');
      stream.onMessage = (message) => this.gatherHistory(side, message);
      const everything = Buffer.from([0]);
      stream.send({ create_request: { key: everything, range_end: everything, start_revision: String(revision + 1) } });
      return stream;
    };
    this.control = [open(0), open(1)];
  }

  view(): View['streams'] {
    const out: View['streams'] = [];
    for (const [slot, entry] of this.slots.entries()) {
      if (entry !== null) out.push({ slot, watchers: [...entry.watchers.keys()] });
    }
    return out;
  }

  /**
   * Every watcher reads live events, none the history: etcd takes up to 100 ms for that even when there is nothing to
   * read, and a compaction in between would cancel the watcher on one side only. Both servers take slow watchers from
   * history together, so it is enough that one more, created last, has come that far.
   */
  async caughtUp(): Promise<void> {
    await this.settle();
    const slot = new Slot([this.clients[0].stream('Watch/Watch'), this.clients[1].stream('Watch/Watch')]);
    for (const side of SIDES) {
      slot.streams[side].onMessage = (message) => this.gather(slot, side, message);
      slot.streams[side].send({ create_request: { key: Buffer.from([0]), start_revision: String(this.revision) } });
    }
    await this.both(slot, 'canary', (side) => slot.created[side].length > 0);
    await this.awaitProgress(slot);
    for (const side of SIDES) slot.streams[side].cancel();
  }

  /** Nobody can ask for what lies before this revision any more. */
  compacted(revision: number): void {
    this.verified = this.verified.filter((event) => event.revision >= revision);
  }

  /** Whether the transaction of this revision deleted a key and then made it anew. */
  remakesKey(revision: number): boolean {
    const deleted = new Set<Key>();
    for (const event of this.verified) {
      if (event.revision !== revision) continue;
      if (event.isDelete) deleted.add(event.key);
      else if (deleted.has(event.key)) return true;
    }
    return false;
  }

  /** The store is now at this revision; watchers must come to hear of everything up to it. */
  advance(revision: number): void {
    this.revision = revision;
  }

  open(): void {
    const slot = new Slot([this.clients[0].stream('Watch/Watch'), this.clients[1].stream('Watch/Watch')]);
    for (const side of SIDES) slot.streams[side].onMessage = (message) => this.gather(slot, side, message);
    const free = this.slots.indexOf(null);
    if (free < 0) this.slots.push(slot);
    else this.slots[free] = slot;
  }

  async create(index: number, request: Message, compactRevision: number): Promise<void> {
    const slot = this.slot(index);
    await this.settleHistory();
    for (const side of SIDES) slot.streams[side].send({ create_request: request });
    const [left, right] = (await this.both(slot, 'created', (side) => slot.created[side].length > 0)).map((side) =>
      slot.created[side].shift(),
    ) as [Message, Message];
    if (!isDeepStrictEqual(maskWatchResponse(left), maskWatchResponse(right))) {
      throw new Mismatch(`created responses differ\n  ${describe(left)}\n  ${describe(right)}`);
    }
    if (left['canceled'] === true) return;
    const header = left['header'] as Message;
    const start = BigInt(String(request['start_revision']));
    const first = start === 0n ? Number(header['revision']) + 1 : Number(start);
    // A range without keys is refused, so whoever comes here has one.
    const key = request['key'] as Buffer;
    if (isEmptyRange(keyFromBytes(key.length === 0 ? Buffer.from([0]) : key), endOf(request))) {
      throw new Mismatch(`a watch over an empty range was accepted: ${describe(request)}`);
    }
    const isCompacted = start > 0n && first < compactRevision;
    const watcher = new Watcher(request, first, isCompacted);
    const id = String(left['watch_id']);
    watcher.due = this.verified.filter((event) => watcher.wants(event));
    slot.watchers.set(id, watcher);
    for (const side of SIDES) {
      const early = slot.early[side].get(id) ?? [];
      slot.early[side].delete(id);
      for (const message of early) this.gatherEvents(watcher, side, message, id);
    }
  }

  async cancel(index: number, id: string): Promise<void> {
    const slot = this.slot(index);
    const known = slot.watchers.has(id);
    await this.settle();
    const watcher = slot.watchers.get(id);
    // Cancelled by the server in between; etcd would answer a second cancellation of it.
    if (known && watcher === undefined) return;
    for (const side of SIDES) slot.streams[side].send({ cancel_request: { watch_id: id } });
    if (watcher === undefined) return;
    await this.both(slot, 'canceled', (side) => watcher.sides[side].canceled !== null);
    this.compareCanceled(watcher);
    slot.watchers.delete(id);
  }

  /** Asks both for progress until both have answered, where an answer is due. */
  async progress(index: number): Promise<void> {
    const slot = this.slot(index);
    await this.settle();
    const due =
      !slot.hadCompacted &&
      slot.watchers.size > 0 &&
      [...slot.watchers.values()].every((watcher) => !watcher.namesRevision || watcher.firstRevision <= this.revision);
    if (due) await this.awaitProgress(slot);
    else for (const side of SIDES) slot.streams[side].send({ progress_request: {} });
  }

  private async awaitProgress(slot: Slot): Promise<void> {
    for (const side of SIDES) {
      slot.progress[side] = [];
      slot.streams[side].send({ progress_request: {} });
    }
    const end = Date.now() + PATIENCE_MS;
    // A watcher that was just created may count as not caught up for a moment; then there is no answer, so ask again.
    while (SIDES.some((side) => slot.progress[side].length === 0)) {
      if (Date.now() > end) {
        const missing = SIDES.filter((side) => slot.progress[side].length === 0).map((side) => ['left', 'right'][side]);
        throw new Mismatch(
          `no answer to a progress request from ${missing}, with watchers ${describe([...slot.watchers])}`,
        );
      }
      for (const side of SIDES) {
        if (slot.progress[side].length > 0) continue;
        await slot.streams[side]
          .until(100, 'progress', () => slot.progress[side].length > 0)
          .catch(() => {
            slot.streams[side].send({ progress_request: {} });
          });
      }
    }
    for (const side of SIDES) {
      if (slot.progress[side].some((revision) => revision !== this.revision)) {
        throw new Mismatch(`progress at revision ${slot.progress[side]} while the store is at ${this.revision}`);
      }
    }
  }

  async close(index: number): Promise<void> {
    await this.settle();
    for (const side of SIDES) this.slot(index).streams[side].cancel();
    this.slots[index] = null;
  }

  /** Everything that is due has come, on both servers, and is what it must be. */
  async settle(): Promise<void> {
    await this.settleHistory();
    for (const slot of this.slots) {
      if (slot === null) continue;
      for (const [id, watcher] of slot.watchers) await this.settleWatcher(slot, id, watcher);
      for (const side of SIDES) {
        const stray = [...slot.early[side]][0];
        if (stray !== undefined) throw new Mismatch(`responses for no watcher, id ${stray[0]}: ${describe(stray[1])}`);
      }
    }
    this.throwFailure();
  }

  /** Ends all streams; the servers are about to go away. */
  async end(): Promise<void> {
    await this.settle();
    for (const slot of this.slots) for (const side of SIDES) slot?.streams[side].cancel();
    for (const side of SIDES) this.control?.[side].cancel();
  }

  private slot(index: number): Slot {
    const slot = this.slots[index];
    if (slot === null || slot === undefined) throw new Error(`no watch stream ${index}`);
    return slot;
  }

  private throwFailure(): void {
    if (this.failure !== null) throw new Mismatch(this.failure);
  }

  private async both(slot: Slot, what: string, test: (side: Side) => boolean): Promise<readonly Side[]> {
    for (const side of SIDES) {
      try {
        await slot.streams[side].until(PATIENCE_MS, what, () => test(side) || this.failure !== null);
      } catch (error) {
        throw new Mismatch(`${side === 0 ? 'left' : 'right'}: watch ${what}: ${(error as Error).message}`);
      }
    }
    this.throwFailure();
    return SIDES;
  }

  private async settleHistory(): Promise<void> {
    for (const side of SIDES) {
      const stream = this.control?.[side] as Stream;
      try {
        await stream.until(
          PATIENCE_MS,
          `history to ${this.revision}`,
          () => this.historyRevision[side] >= this.revision,
        );
      } catch (error) {
        throw new Mismatch(`${side === 0 ? 'left' : 'right'}: the watch over everything: ${(error as Error).message}`);
      }
    }
    const [left, right] = this.history;
    for (let index = 0; index < Math.max(left.length, right.length); index++) {
      if (isDeepStrictEqual(left[index]?.event, right[index]?.event)) continue;
      throw new Mismatch(`histories differ\n  ${describe(left[index]?.event)}\n  ${describe(right[index]?.event)}`);
    }
    for (const slot of this.slots) {
      for (const watcher of slot?.watchers.values() ?? []) {
        for (const event of left) if (watcher.wants(event)) watcher.due.push(event);
      }
    }
    this.verified.push(...left);
    this.history = [[], []];
  }

  private async settleWatcher(slot: Slot, id: string, watcher: Watcher): Promise<void> {
    if (watcher.isCompacted) {
      await this.both(slot, 'compaction notice', (side) => watcher.sides[side].canceled !== null);
      this.compareCanceled(watcher);
      slot.watchers.delete(id);
      slot.hadCompacted = true;
      return;
    }
    const due = watcher.due;
    watcher.due = [];
    await this.both(
      slot,
      `${due.length} events of watcher ${id}, the first at revision ${due[0]?.revision}`,
      (side) => {
        const state = watcher.sides[side];
        return state.canceled !== null || (state.events.length >= due.length && !state.isFragmented);
      },
    );
    for (const side of SIDES) {
      const { canceled } = watcher.sides[side];
      if (canceled !== null) throw new Mismatch(`watcher ${id} was cancelled: ${describe(canceled)}`);
    }
    for (let index = 0; index < due.length; index++) {
      const wanted = due[index] as HistoryEvent;
      const [left, right] = watcher.sides.map((state) => state.events[index]) as [Message, Message];
      const same = isDeepStrictEqual(left, right);
      if (same && isDeepStrictEqual(left['kv'], wanted.event['kv']) && left['type'] === wanted.event['type']) continue;
      throw new Mismatch(
        `event ${index} of those due for watcher ${id} (key ${describe(watcher.key)}, end ${describe(watcher.rangeEnd)}, from ${watcher.firstRevision})\n` +
          `  left   ${describe(left)}\n  right  ${describe(right)}\n  due    ${describe(wanted.event)}`,
      );
    }
    for (const side of SIDES) {
      const state = watcher.sides[side];
      if (state.events.length > due.length) {
        throw new Mismatch(`watcher ${id} had an event nobody owes it: ${describe(state.events[due.length])}`);
      }
      state.events = [];
    }
  }

  private compareCanceled(watcher: Watcher): void {
    const [left, right] = watcher.sides.map((state) => state.canceled) as [Message, Message];
    if (!isDeepStrictEqual(left, right)) {
      throw new Mismatch(`cancellations differ\n  ${describe(left)}\n  ${describe(right)}`);
    }
    const stray = watcher.sides.find((state) => state.events.length > 0);
    if (stray !== undefined) throw new Mismatch(`events of a cancelled watcher: ${describe(stray.events[0])}`);
  }

  private gatherHistory(side: Side, message: Message): void {
    for (const event of message['events'] as Message[]) {
      const kv = event['kv'] as Message;
      const revision = Number(kv['mod_revision']);
      const key = keyFromBytes(kv['key'] as Buffer);
      this.history[side].push({ revision, key, isDelete: event['type'] === 'DELETE', event });
      // All events of one revision come in one response, so the last one makes it complete.
      this.historyRevision[side] = revision;
    }
  }

  private gather(slot: Slot, side: Side, message: Message): void {
    const events = message['events'] as Message[];
    const id = String(message['watch_id']);
    if (message['created'] === true) {
      slot.created[side].push(message);
      return;
    }
    if (id === '-1' && message['canceled'] !== true && events.length === 0) {
      slot.progress[side].push(Number((message['header'] as Message)['revision']));
      return;
    }
    const watcher = slot.watchers.get(id);
    if (watcher !== undefined) this.gatherEvents(watcher, side, message, id);
    else slot.early[side].set(id, [...(slot.early[side].get(id) ?? []), message]);
  }

  private gatherEvents(watcher: Watcher, side: Side, message: Message, id: string): void {
    const state = watcher.sides[side];
    if (message['canceled'] === true) {
      state.canceled = maskWatchResponse(message);
      return;
    }
    const headerRevision = Number((message['header'] as Message)['revision']);
    for (const [index, event] of (message['events'] as Message[]).entries()) {
      const revision = Number((event['kv'] as Message)['mod_revision']);
      const continues = index > 0 || state.isFragmented;
      if (revision < state.lastRevision || (revision === state.lastRevision && !continues)) {
        this.failure ??= `watcher ${id}: revision ${revision} after ${state.lastRevision}, in another response`;
      }
      if (headerRevision < revision) this.failure ??= `watcher ${id}: event ${revision} under header ${headerRevision}`;
      state.lastRevision = revision;
      state.events.push(event);
    }
    state.isFragmented = message['fragment'] === true;
  }
}
