import { ErrTimeout, ErrTimeoutWaitAppliedIndex, type EtcdError } from '@etsd/proto';
import type { Waiter } from './applier.ts';

/** Readers that asked in one turn and share one confirmation of the leader. */
class ReadBatch {
  /** The names under which it was asked for, the first one first. An answer to any of them is one to all who wait. */
  readonly keys: string[];
  readonly waiters: Waiter[];
  /** When it was asked for the first time, in ticks. */
  readonly since: number;
  /** When it was asked last, in ticks. */
  askedAt: number;
  /** What has to be applied before they may read; −1 while the leader has not confirmed. */
  index = -1;

  constructor(key: string, waiters: Waiter[], tick: number) {
    this.keys = [key];
    this.waiters = waiters;
    this.since = tick;
    this.askedAt = tick;
  }
}

/**
 * Readers waiting for a barrier (Raft thesis §6.4): first for the leader's confirmation and its commit index, then until
 * that index is applied here.
 *
 *     gathering ──start of a round──▶ asked ──confirmed(index)──▶ waiting ──appliedTo(index)──▶ done
 */
export class Reads {
  /** Rounds that got no answer in time, and those that could not be asked for any more. */
  timedOutTotal = 0;
  failedTotal = 0;
  private gathering: Waiter[] = [];
  /** Asked and not confirmed, oldest first. */
  private asked: ReadBatch[] = [];
  /** Confirmed and not applied; indexes do not fall. */
  private waiting: ReadBatch[] = [];

  get isGathering(): boolean {
    return this.gathering.length > 0;
  }

  /** Rounds on their way. */
  get rounds(): number {
    return this.asked.length;
  }

  add(waiter: Waiter): void {
    this.gathering.push(waiter);
  }

  /** Everybody who gathered, known to need `index`. */
  confirmGathered(index: number, appliedIndex: number, tick: number): void {
    const batch = new ReadBatch('', this.takeGathered(), tick);
    this.confirmBatch(batch, index, appliedIndex);
  }

  /** Everybody who gathered shares a round under `context`, which is then to be asked for. */
  startRound(context: Buffer, tick: number): void {
    this.asked.push(new ReadBatch(context.toString('latin1'), this.takeGathered(), tick));
  }

  private takeGathered(): Waiter[] {
    const waiters = this.gathering;
    this.gathering = [];
    return waiters;
  }

  /** The leader confirmed a round, and with it all that were asked before. */
  confirmed(context: Buffer, index: number, appliedIndex: number): void {
    const key = context.toString('latin1');
    const place = this.asked.findIndex((batch) => batch.keys.includes(key));
    if (place < 0) return;
    for (const batch of this.asked.splice(0, place + 1)) this.confirmBatch(batch, index, appliedIndex);
  }

  private confirmBatch(batch: ReadBatch, index: number, appliedIndex: number): void {
    if (index <= appliedIndex) {
      for (const waiter of batch.waiters) waiter.done(null);
      return;
    }
    batch.index = index;
    this.waiting.push(batch);
  }

  appliedTo(index: number): void {
    let ready = 0;
    while (ready < this.waiting.length && (this.waiting[ready] as ReadBatch).index <= index) ready++;
    if (ready === 0) return;
    for (const batch of this.waiting.splice(0, ready)) for (const waiter of batch.waiters) waiter.done(null);
  }

  /**
   * Contexts under which to ask again for rounds last asked for at `before` or earlier: the question or its answer may have been
   * lost. Each is a new one, from `fresh`: a leader that tells rounds apart by these alone, as etcd's may, would take late
   * answers to its first heartbeat for answers to the second (etcd issue 20418).
   */
  overdue(before: number, tick: number, fresh: () => Buffer): Buffer[] {
    const contexts: Buffer[] = [];
    for (const batch of this.asked) {
      if (batch.askedAt > before) continue;
      const context = fresh();
      batch.askedAt = tick;
      batch.keys.push(context.toString('latin1'));
      contexts.push(context);
    }
    return contexts;
  }

  /** Fails rounds that began at `tick` or before. */
  expire(tick: number): void {
    const before = this.asked.length + this.waiting.length;
    this.asked = expired(this.asked, tick, ErrTimeout);
    this.waiting = expired(this.waiting, tick, ErrTimeoutWaitAppliedIndex);
    this.timedOutTotal += before - this.asked.length - this.waiting.length;
  }

  failAll(error: EtcdError): void {
    const batches = [...this.waiting, ...this.asked];
    const gathered = this.takeGathered();
    this.failedTotal += this.asked.length + (gathered.length > 0 ? 1 : 0);
    this.waiting = [];
    this.asked = [];
    for (const batch of batches) for (const waiter of batch.waiters) waiter.fail(error);
    for (const waiter of gathered) waiter.fail(error);
  }
}

/** Fails the batches that began at `tick` or before and returns the others. */
function expired(batches: ReadBatch[], tick: number, error: EtcdError): ReadBatch[] {
  if (batches.length === 0 || (batches[0] as ReadBatch).since > tick) return batches;
  const young = batches.filter((batch) => batch.since > tick);
  for (const batch of batches) {
    if (batch.since <= tick) for (const waiter of batch.waiters) waiter.fail(error);
  }
  return young;
}
