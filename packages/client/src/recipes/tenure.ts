import type { Compare } from '@etsd/proto';
import type { Client } from '../core.ts';
import type { HeldLease } from '../lease.ts';
import type { Operation, Outcome, Transaction } from '../txn.ts';
import { remove } from '../txn.ts';
import { LostError } from './errors.ts';
import { anySignal, persist, type WaitOptions } from './persist.ts';

/** How long giving back is tried while nobody answers; afterwards the end of the lease does it. */
const RELEASE_PATIENCE_MS = 30_000;

/** What a tenure is made of. */
export interface TenureParts {
  readonly client: Client;
  readonly key: Buffer;
  readonly revision: number;
  /** Holds as long as the tenure does. */
  readonly held: Compare;
  /** Null where it outlives its process. */
  readonly lease: HeldLease | null;
  /** Called once it is over for this process. */
  readonly free?: () => void;
}

/**
 * Something of which there is one, or a few, held for a time: a lock, a leadership, a slot, an item of a queue.
 *
 * Whoever stands still for longer than its lease lasts (a paused process, a blocked event loop, a lost network) goes on
 * believing that it holds what another holds by now, and no clock can prevent that. So the belief must not count: what
 * is written under a tenure is written by a transaction that the store does only while the tenure stands. `write` does
 * that, and `held` is the condition for transactions of one's own. Other stores are handed `revision`, a fencing token,
 * and refuse those smaller than the largest they saw.
 */
export abstract class Tenure implements AsyncDisposable {
  /** The key that stands for it. */
  readonly key: Buffer;
  /** The fencing token: each later tenure of the same thing has a larger one. */
  readonly revision: number;
  /** A condition for transactions: the tenure still stands. */
  readonly held: Compare;
  /** Aborted when the lease is lost or the tenure given back: stop what relies on it. */
  readonly signal: AbortSignal;
  protected readonly client: Client;
  private readonly lease: HeldLease | null;
  private readonly free: () => void;
  private readonly over = new AbortController();

  constructor({ client, key, revision, held, lease, free }: TenureParts) {
    this.client = client;
    this.key = key;
    this.revision = revision;
    this.held = held;
    this.lease = lease;
    this.free = free ?? (() => {});
    this.signal = anySignal(this.over.signal, lease?.signal);
  }

  /**
   * Whether it still stands as far as can be told from here, by a look at the clock: false at once after the process
   * stood still for longer than the lease lasts. Only `held`, judged by the store, is sure.
   */
  get isHeld(): boolean {
    return !this.over.signal.aborted && (this.lease === null || this.lease.isAlive);
  }

  /** A transaction that succeeds only while the tenure stands; further conditions and operations can be added. */
  transaction(): Transaction {
    return this.client.kv.transaction().if(this.held);
  }

  /** Does all of this as one revision, or nothing of it and throws `LostError` if the tenure no longer stands. */
  async write<const Then extends readonly Operation<unknown>[]>(
    ...operations: Then
  ): Promise<Extract<Outcome<Then, []>, { succeeded: true }>> {
    if (!this.isHeld) throw this.lost();
    const outcome = await this.transaction()
      .do(...operations)
      .commit();
    if (!outcome.succeeded) throw this.lost();
    return outcome as unknown as Extract<Outcome<Then, []>, { succeeded: true }>;
  }

  /**
   * Gives it back, so that the next one can have it; nothing happens the second time. Tried until it is done, for half a
   * minute; then it throws, and the end of the lease gives it back.
   */
  async release(options: WaitOptions = {}): Promise<void> {
    if (this.over.signal.aborted) return;
    const isAlive = this.isHeld;
    this.over.abort();
    // A lease that is lost takes the key with it, if it has not yet.
    if (isAlive) await this.giveBack(options).finally(this.free);
    else this.free();
  }

  private async giveBack(options: WaitOptions): Promise<void> {
    const patience = new AbortController();
    const timer = this.client.world.timers.after(RELEASE_PATIENCE_MS, () => patience.abort(PATIENCE_OVER));
    const signal = anySignal(patience.signal, options.signal, this.lease?.signal);
    try {
      await persist(this.client, signal, () => this.transaction().do(remove(this.key)).commit());
    } catch (error) {
      if (this.lease?.signal.aborted !== true) throw error;
    } finally {
      timer.cancel();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** The store has ended it already. */
  protected ended(): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.free();
  }

  protected lost(): LostError {
    return new LostError(`${JSON.stringify(this.key.toString())} is no longer held`);
  }
}

const PATIENCE_OVER = 'nobody answered';
