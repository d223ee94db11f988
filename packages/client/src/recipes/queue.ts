/**
 * The queue behind locks and elections, as etcd's own clients and servers keep it, so that all of them can stand in one:
 * a key under the name for each who waits, held by a lease; first is whose key is the oldest.
 */
import { type U64, u64ToHex } from '@etsd/base';
import { ErrSessionExpired, EventType, RangeRequest, SortOrder, SortTarget } from '@etsd/proto';
import type { EtcdClient } from '../client.ts';
import { CanceledError } from '../errors.ts';
import { type Bytes, prefix, toBytes } from '../keys.ts';
import type { CallOptions } from '../options.ts';
import { get, key, put, remove } from '../txn.ts';

/** A place in the queue. */
export interface Place {
  readonly key: Buffer;
  /** Create revision of the key: it grows with each who comes, so it can serve as a fencing token. */
  readonly revision: number;
}

/** The key under which the owner of a lease waits. */
export function placeKey(name: Bytes, lease: U64): Buffer {
  return Buffer.concat([toBytes(name), Buffer.from(`/${u64ToHex(lease)}`)]);
}

/** The range of all who wait under a name. */
export function queueRange(name: Bytes) {
  return prefix(Buffer.concat([toBytes(name), Buffer.from('/')]));
}

/** Takes a place, or the one that the lease has already. */
export async function takePlace(
  client: EtcdClient,
  name: Bytes,
  lease: U64,
  value: Bytes,
  options?: CallOptions,
): Promise<Place & { isNew: boolean }> {
  const own = placeKey(name, lease);
  const { results, succeeded, header } = await client.kv
    .transaction()
    .if(key(own).isMissing)
    .do(put(own, value, { lease }))
    .otherwise(get(own))
    .commit(options);
  if (succeeded) return { key: own, revision: header?.revision ?? 0, isNew: true };
  return { key: own, revision: results[0].kvs[0]?.createRevision ?? 0, isNew: false };
}

/** Resolves once nobody stands before the place. Rejects with `ErrSessionExpired` if the place is lost meanwhile. */
export async function waitForTurn(client: EtcdClient, name: Bytes, place: Place, signal?: AbortSignal): Promise<void> {
  const options = signal === undefined ? {} : { signal };
  const before = RangeRequest.create({
    ...queueRange(name),
    sortOrder: SortOrder.DESCEND,
    sortTarget: SortTarget.CREATE,
    limit: 1,
    keysOnly: true,
    maxCreateRevision: place.revision - 1,
  });
  for (;;) {
    const response = await client.kv.range(before, options);
    const neighbour = response.kvs[0];
    if (neighbour === undefined) break;
    await waitForDelete(client, neighbour.key, (response.header?.revision ?? 0) + 1, signal);
  }
  const own = await client.kv.get(place.key, options);
  if (own === null || own.createRevision !== place.revision) throw ErrSessionExpired;
}

async function waitForDelete(
  client: EtcdClient,
  at: Buffer,
  startRevision: number,
  signal?: AbortSignal,
): Promise<void> {
  const options = signal === undefined ? { startRevision } : { startRevision, signal };
  for await (const event of client.watch(at, { ...options, noPuts: true }).events()) {
    if (event.type === EventType.DELETE) return;
  }
  throw new CanceledError(signal?.reason);
}

/** Gives the place up, if it still is one's own. */
export async function leavePlace(client: EtcdClient, place: Place, options?: CallOptions): Promise<boolean> {
  const outcome = await client.kv
    .transaction()
    .if(key(place.key).createRevision.equals(place.revision))
    .do(remove(place.key))
    .commit(options);
  return outcome.succeeded;
}
