import { type U64, U64_ZERO } from '@etsd/base';
import {
  type ConfChange,
  type ConfChangeV2,
  type ConfState,
  Entry,
  type EtcdError,
  HardState,
  type WalSnapshot,
} from '@etsd/proto';
import type { Clock, Random, Timer, Timers } from '@etsd/runtime';
import type { Applier, Waiter } from '../applier.ts';
import type { LogStore } from '../log-store.ts';

interface Planned {
  readonly atMs: number;
  readonly periodMs: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

/** Time that passes only when a test says so. */
export class ManualTime implements Clock, Timers {
  private now = 0;
  private turn: (() => void)[] = [];
  private microtasks: (() => void)[] = [];
  private planned: Planned[] = [];

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.now;
  }

  after(ms: number, callback: () => void): Timer {
    return this.plan(ms, 0, callback);
  }

  every(ms: number, callback: () => void): Timer {
    return this.plan(ms, ms, callback);
  }

  private plan(ms: number, periodMs: number, callback: () => void): Timer {
    const planned: Planned = { atMs: this.now + ms, periodMs, callback, isCancelled: false };
    this.planned.push(planned);
    return {
      cancel: () => {
        planned.isCancelled = true;
      },
    };
  }

  endOfTurn(callback: () => void): void {
    this.turn.push(callback);
  }

  soon(callback: () => void): void {
    this.microtasks.push(callback);
  }

  /** Something takes this long, and nothing else happens meanwhile. */
  spend(ms: number): void {
    this.now += ms;
  }

  /** Runs what waits for the end of the running function, then one end of turn. */
  endTurn(): void {
    this.drainMicrotasks();
    const turn = this.turn;
    this.turn = [];
    for (const callback of turn) {
      callback();
      this.drainMicrotasks();
    }
  }

  drainMicrotasks(): void {
    while (this.microtasks.length > 0) {
      const tasks = this.microtasks;
      this.microtasks = [];
      for (const task of tasks) task();
    }
  }

  get hasTurnWork(): boolean {
    return this.turn.length > 0 || this.microtasks.length > 0;
  }

  /** Lets time pass up to the next timer at a time. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      while (this.hasTurnWork) this.endTurn();
      this.planned = this.planned.filter((planned) => !planned.isCancelled);
      const due = this.planned.filter((planned) => planned.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.now = Math.max(this.now, due.atMs);
      this.planned = this.planned.filter((planned) => planned !== due);
      if (due.periodMs > 0) this.planned.push({ ...due, atMs: due.atMs + due.periodMs });
      due.callback();
    }
    this.now = end;
  }
}

/** Chance that always gives the same. */
export const fixedRandom: Random = {
  u32: () => 7,
  float: () => 0.5,
  bytes: (length) => Buffer.alloc(length, 7),
};

type Done = (error: Error | null) => void;

/** A log in memory whose disk works only when a test says so. */
export class MemoryLog implements LogStore {
  /** What a crash would leave. */
  durable: Entry[] = [];
  hardState: HardState | null = null;
  snapshots: WalSnapshot[] = [];
  releasedTo = 0;
  isClosed = false;
  private isFrozen = false;
  /** Batches that reached the disk. */
  syncs = 0;
  private gathered: { apply: () => void; done: Done }[] = [];
  private busy: { apply: () => void; done: Done }[] | null = null;

  save(hardState: HardState | null, entries: readonly Entry[], from: number, to: number, done: Done): void {
    const copies: Entry[] = [];
    for (let place = from; place < to; place++) copies.push(Entry.create(entries[place] as Entry));
    const state = hardState === null ? null : HardState.create(hardState);
    const apply = (): void => {
      const first = copies[0];
      if (first !== undefined) this.durable = this.durable.filter((entry) => entry.index < first.index);
      this.durable.push(...copies);
      if (state !== null) this.hardState = state;
    };
    this.gathered.push({ apply, done });
  }

  saveSnapshot(snapshot: WalSnapshot, done: Done): void {
    this.gathered.push({ apply: () => this.snapshots.push(snapshot), done });
  }

  flush(): void {
    this.begin();
  }

  private begin(): void {
    if (this.busy !== null || this.gathered.length === 0) return;
    this.busy = this.gathered;
    this.gathered = [];
  }

  get isWriting(): boolean {
    return this.busy !== null;
  }

  /** The disk finishes the batch under way, and begins the next. */
  finish(error: Error | null = null): boolean {
    const batch = this.busy;
    if (batch === null) return false;
    this.busy = null;
    this.syncs++;
    if (error === null && !this.isFrozen) for (const { apply } of batch) apply();
    this.begin();
    for (const { done } of batch) done(error);
    return true;
  }

  /** The power is cut: nothing more reaches the disk. */
  freeze(): void {
    this.isFrozen = true;
  }

  releaseTo(index: number): void {
    this.releasedTo = index;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.begin();
    while (this.finish());
  }
}

/** Notes what it is given. The result of an entry is its data as text. */
export class RecordingApplier implements Applier {
  appliedIndex = 0;
  confState: ConfState | null = null;
  readonly seen: string[] = [];
  /** One text for each index from 1 on: the whole state. */
  readonly history: string[] = [];
  batches = 0;
  /** Called for each entry; for tests that let applying take time. */
  onApply: () => void = () => {};
  /** Changes of this member are refused. */
  refused: U64 = U64_ZERO;

  apply(index: number, _term: number, data: Buffer, waiter: Waiter | null): void {
    this.appliedIndex = index;
    this.note(data.toString());
    this.onApply();
    waiter?.done(data.toString());
  }

  applyEmpty(index: number): void {
    this.appliedIndex = index;
    this.note('(empty)');
  }

  applyConfChange(
    index: number,
    _term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.appliedIndex = index;
    this.confState = toRaft(change.nodeId === this.refused ? null : change);
    this.note(`(change ${change.type} of ${change.nodeId})`);
    waiter?.done('changed');
  }

  applyWideChange(
    index: number,
    _term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.appliedIndex = index;
    this.confState = toRaft(change);
    this.note(`(${change.changes.length} changes)`);
    waiter?.done('changed');
  }

  private note(text: string): void {
    this.seen.push(text);
    this.history.push(text);
  }

  batchEnd(): void {
    this.batches++;
  }
}

/** Notes its outcome. */
export class RecordingWaiter implements Waiter {
  result: unknown = undefined;
  error: EtcdError | null = null;

  done(result: unknown): void {
    this.result = result ?? 'done';
  }

  fail(error: EtcdError): void {
    this.error = error;
  }

  get outcome(): string {
    if (this.error !== null) return this.error.message;
    return this.result === undefined ? 'waiting' : String(this.result);
  }
}
