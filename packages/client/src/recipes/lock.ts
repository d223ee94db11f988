import type { Client } from '../core.ts';
import type { Bytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import { key } from '../txn.ts';
import { isTakenLocally } from './local-turn.ts';
import type { WaitOptions } from './persist.ts';
import { neighbourOf, placeKey, queueRange, stand, type Turn, waitForTurn } from './places.ts';
import { Tenure } from './tenure.ts';

/**
 * A lock held by one at a time among all who use the name, etcd's own clients included:
 * ```ts
 * await using lease = await client.leases.hold(10);
 * await using lock = await acquire(client, 'jobs', lease);
 * await lock.write(put('jobs/last', 'me'));
 * ```
 * Those who wait are served in the order in which they came.
 *
 * Keys: `NAME/LEASE` (hexadecimal) for each who holds or waits, as `etcdctl lock` and Go's `concurrency.Mutex` have them.
 */
export class HeldLock extends Tenure {
  constructor(client: Client, turn: Turn, lease: HeldLease) {
    super({ client, ...turn, lease, held: key(turn.key).createRevision.equals(turn.revision) });
  }
}

/**
 * Waits for the lock. Aborting the signal gives up the place in the queue and throws `CanceledError`; `LostError` says
 * that the lease ended meanwhile. A connection that fails is waited for.
 */
export async function acquire(
  client: Client,
  name: Bytes,
  lease: HeldLease,
  options: WaitOptions = {},
): Promise<HeldLock> {
  const others = queueRange(name);
  const standing = { key: placeKey(name, lease.id), lease, others };
  const turn = await stand(client, standing, options, (place, signal) => waitForTurn(client, others, place, signal));
  return new HeldLock(client, turn, lease);
}

/** The lock, or null where somebody else has it or waits for it. */
export async function tryAcquire(
  client: Client,
  name: Bytes,
  lease: HeldLease,
  options: WaitOptions = {},
): Promise<HeldLock | null> {
  const others = queueRange(name);
  const standing = { key: placeKey(name, lease.id), lease, others };
  if (isTakenLocally(client, lease, standing.key)) return null;
  try {
    const turn = await stand(client, standing, options, async (place, signal) => {
      if (place.isFirst) return;
      const { neighbour } = await neighbourOf(client, others, place, signal);
      if (neighbour !== null) throw TAKEN;
    });
    return new HeldLock(client, turn, lease);
  } catch (error) {
    if (error === TAKEN) return null;
    throw error;
  }
}

/** Seconds after which the lock of a process that vanished is free again. */
const TTL_SECONDS = 10;

/** Does the work while holding the lock, on a lease of its own, and gives both back whatever becomes of the work. */
export async function withLock<T>(
  client: Client,
  name: Bytes,
  work: (lock: HeldLock) => T | Promise<T>,
  options: WaitOptions & { readonly ttlSeconds?: number } = {},
): Promise<T> {
  await using lease = await client.leases.hold(options.ttlSeconds ?? TTL_SECONDS, options);
  await using lock = await acquire(client, name, lease, options);
  return await work(lock);
}

const TAKEN = new Error('somebody else has it');
