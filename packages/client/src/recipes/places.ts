/**
 * Standing in a queue whose places are keys: each who comes puts one, held by its lease, and whose key was created first
 * is first. Etcd's own clients and servers keep their locks and elections so, and all can stand in one queue.
 */
import { type U64, u64ToHex } from '@etsd/base';
import { type Compare, ErrSessionExpired, EventType, SortOrder, SortTarget } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError } from '../errors.ts';
import { type Bytes, type KeyRange, prefix, toBytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import { get, key, put, remove } from '../txn.ts';
import { endOfWait, LostError } from './errors.ts';
import { waitForLocalTurn } from './local-turn.ts';
import { anySignal, atMost, isBehindCompaction, persist, unlessAborted, type WaitOptions } from './persist.ts';

/** A place in a queue. */
export interface Place {
  readonly key: Buffer;
  /** Create revision of the key: it grows with each who comes, so it serves as a fencing token. */
  readonly revision: number;
}

export interface TakenPlace extends Place {
  readonly isNew: boolean;
  /** Nobody stood before it when it was taken, and so nobody ever will. */
  readonly isFirst: boolean;
  /** The value that was there already; empty for a new one. */
  readonly value: Buffer;
}

/** How long giving up waits for the key to be gone; where that takes longer it is done behind the caller's back. */
const CLEANUP_WAIT_MS = 2_000;

/** The key of the owner of a lease. */
export function placeKey(name: Bytes, lease: U64): Buffer {
  return under(name, u64ToHex(lease));
}

/** A key that nobody else puts, not even with the same lease. */
export function uniqueKey(client: Client, name: Bytes, lease: U64): Buffer {
  return under(name, `${u64ToHex(lease)}-${client.world.random.bytes(8).toString('hex')}`);
}

export function under(name: Bytes, rest: string): Buffer {
  return Buffer.concat([toBytes(name), Buffer.from(`/${rest}`)]);
}

/** The range of all places under a name. */
export function queueRange(name: Bytes): KeyRange {
  return prefix(under(name, ''));
}

/** What to stand with, and where. */
export interface Standing {
  readonly key: Buffer;
  readonly value?: Bytes;
  readonly lease: HeldLease;
  /** Who has to be gone before it is one's turn: all of these that came earlier. */
  readonly others?: KeyRange;
  /** Without this the place is not to be had, and `NotNowError` is thrown. */
  readonly provided?: Compare;
}

/** What a place was to be had under does not hold. */
export class NotNowError extends Error {}

/** A place whose turn has come, to be given free when it is over. */
export interface Turn extends TakenPlace {
  readonly free: () => void;
}

/**
 * Takes a place and waits until `turn` resolves. Where anything goes wrong, the caller's patience included, the place is
 * given up again: it is removed, if need be once the cluster can be reached again. A lost lease throws `LostError`.
 */
export async function stand(
  client: Client,
  standing: Standing,
  options: WaitOptions,
  turn: (place: TakenPlace, signal: AbortSignal) => Promise<void>,
): Promise<Turn> {
  const { key: own, lease } = standing;
  const signal = anySignal(options.signal, lease.signal);
  try {
    if (!lease.isAlive) throw new CanceledError(lease.signal.reason);
    const free = await waitForLocalTurn(client, lease, own, signal);
    // Not canceled when the caller gives up: whether there is a key to be removed has to be known.
    const taking = persist(client, signal, () => takePlace(client, standing));
    try {
      const place = await unlessAborted(taking, signal);
      await turn(place, signal);
      return { ...place, free };
    } catch (error) {
      const leaving = taking
        .catch(() => {})
        .then(() => leavePlace(client, own, lease))
        .finally(free);
      await atMost(client, CLEANUP_WAIT_MS, leaving);
      throw error;
    }
  } catch (error) {
    throw endOfWait(error, lease, options.signal);
  }
}

/** Takes a place, or the one that the lease has already. May be repeated. */
async function takePlace(client: Client, standing: Standing): Promise<TakenPlace> {
  const { key: own, lease, others, provided, value = '' } = standing;
  // Whose turn it is comes with the same answer, so that a place nobody contends for costs one call.
  const first = get(others ?? own, OLDEST);
  const outcome = await client.kv
    .transaction()
    .if(key(own).isMissing, ...(provided === undefined ? [] : [provided]))
    .do(put(own, value, { lease: lease.id }), first)
    .otherwise(get(own), first)
    .commit();
  const oldest = outcome.results[1].kvs[0];
  const isFirst = others !== undefined && (oldest === undefined || oldest.key.equals(own));
  if (outcome.succeeded) {
    return { key: own, revision: outcome.header?.revision ?? 0, isNew: true, isFirst, value: Buffer.alloc(0) };
  }
  const before = outcome.results[0].kvs[0];
  if (before === undefined) throw new NotNowError();
  if (before.lease !== lease.id) throw new LostError(`${JSON.stringify(own.toString())} belongs to somebody else`);
  return { key: own, revision: before.createRevision, isNew: false, isFirst, value: before.value };
}

const OLDEST = { sortOrder: SortOrder.ASCEND, sortTarget: SortTarget.CREATE, limit: 1, keysOnly: true };

/** Removes the key if it is the lease's; tried for as long as the lease would keep it alive. */
async function leavePlace(client: Client, own: Buffer, lease: HeldLease): Promise<void> {
  try {
    const removal = client.kv.transaction().if(key(own).lease.equals(lease.id)).do(remove(own));
    await persist(client, lease.signal, () => removal.commit());
  } catch {
    // The end of the lease does it, or of the client, which ends the lease.
  }
}

/**
 * Resolves once no key of the range is older than the place: waits for the youngest of the older ones to go, and looks
 * again. So each place that is left wakes one who waits. Throws `LostError` if the place itself has gone meanwhile.
 */
export async function waitForTurn(
  client: Client,
  others: KeyRange,
  place: TakenPlace,
  signal: AbortSignal,
): Promise<void> {
  if (place.isFirst) return;
  const { neighbour, revision } = await neighbourOf(client, others, place, signal);
  if (neighbour !== null) {
    const enough = new AbortController();
    const either = anySignal(signal, enough.signal);
    try {
      await Promise.race([
        waitForNeighbours(client, others, place, neighbour, revision, either),
        waitForLoss(client, place, either),
      ]);
    } finally {
      enough.abort();
    }
  }
  const own = await persist(client, signal, () => client.kv.get(place.key, { signal }));
  if (own?.createRevision !== place.revision) throw lostPlace();
}

async function waitForNeighbours(
  client: Client,
  others: KeyRange,
  place: Place,
  first: Buffer,
  firstRevision: number,
  signal: AbortSignal,
): Promise<void> {
  let neighbour: Buffer | null = first;
  let revision = firstRevision;
  while (neighbour !== null) {
    await waitForDelete(client, neighbour, revision + 1, signal);
    ({ neighbour, revision } = await neighbourOf(client, others, place, signal));
  }
}

/** Throws `LostError` once the place is gone: those before it may stay for long. */
async function waitForLoss(client: Client, place: Place, signal: AbortSignal): Promise<never> {
  let startRevision = place.revision + 1;
  while (!(await waitForDelete(client, place.key, startRevision, signal))) {
    const request = { key: place.key, keysOnly: true };
    const { header, kvs } = await persist(client, signal, () => client.kv.range(request, { signal }));
    if (kvs[0]?.createRevision !== place.revision) break;
    startRevision = (header?.revision ?? 0) + 1;
  }
  throw lostPlace();
}

function lostPlace(): LostError {
  return new LostError(ErrSessionExpired.message);
}

/** The youngest of the keys that are older than the place, and the revision at which that is so. */
export async function neighbourOf(
  client: Client,
  others: KeyRange,
  place: Place,
  signal: AbortSignal,
): Promise<{ neighbour: Buffer | null; revision: number }> {
  // No revision is zero, and a bound of zero would be none.
  if (place.revision <= 1) return { neighbour: null, revision: place.revision };
  const request = {
    ...others,
    sortOrder: SortOrder.DESCEND,
    sortTarget: SortTarget.CREATE,
    limit: 1,
    keysOnly: true,
    maxCreateRevision: place.revision - 1,
  };
  const { header, kvs } = await persist(client, signal, () => client.kv.range(request, { signal }));
  return { neighbour: kvs[0]?.key ?? null, revision: header?.revision ?? 0 };
}

/** True when the key is deleted; false when so much was compacted that only a look can tell. */
export async function waitForDelete(
  client: Client,
  at: Buffer,
  startRevision: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    for await (const event of client.watch(at, { startRevision, signal, noPuts: true }).events()) {
      if (event.type === EventType.DELETE) return true;
    }
  } catch (error) {
    if (isBehindCompaction(error)) return false;
    throw error;
  }
  throw new CanceledError(signal.reason);
}
