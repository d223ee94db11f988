import type { EtcdClient } from '../client.ts';
import type { Bytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import type { CallOptions } from '../options.ts';
import { key } from '../txn.ts';
import { leavePlace, type Place, takePlace, waitForTurn } from './queue.ts';

/**
 * A lock held by one at a time among all who use the name, etcd's own clients included:
 * ```ts
 * await using lease = await client.leases.hold(10);
 * await using lock = await acquire(client, 'jobs', lease);
 * ```
 * Nobody can be kept from believing that a lock is still theirs after a long pause. So whoever writes under the lock lets
 * the store check it (`lock.held` as a condition of the transaction), or passes `lock.revision` on as a fencing token.
 */
export class HeldLock implements AsyncDisposable {
  readonly key: Buffer;
  /** Grows with every owner: what was written with a smaller one is of an earlier owner. */
  readonly revision: number;
  /** Aborted when the lease is lost, and the lock with it. */
  readonly signal: AbortSignal;
  private readonly client: EtcdClient;

  constructor(client: EtcdClient, place: Place, lease: HeldLease) {
    this.client = client;
    this.key = place.key;
    this.revision = place.revision;
    this.signal = lease.signal;
  }

  /** A condition for transactions: the lock is still held. */
  get held() {
    return key(this.key).createRevision.equals(this.revision);
  }

  /** Lets the next one have it. */
  async release(options?: CallOptions): Promise<void> {
    await leavePlace(this.client, this, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Waits for the lock. Aborting the signal gives up the place in the queue. */
export async function acquire(
  client: EtcdClient,
  name: Bytes,
  lease: HeldLease,
  options: CallOptions = {},
): Promise<HeldLock> {
  const signal = options.signal === undefined ? lease.signal : AbortSignal.any([options.signal, lease.signal]);
  const place = await takePlace(client, name, lease.id, '', { ...options, signal });
  try {
    await waitForTurn(client, name, place, signal);
  } catch (error) {
    await leavePlace(client, place).catch(() => {});
    throw error;
  }
  return new HeldLock(client, place, lease);
}
