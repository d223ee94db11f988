import {
  ErrElectionNotLeader,
  EventType,
  type KeyValue,
  type ResponseHeader,
  SortOrder,
  SortTarget,
} from '@etsd/proto';
import type { Client } from '../core.ts';
import { type Bytes, toBytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import type { CallOptions } from '../options.ts';
import { key, put } from '../txn.ts';
import { isAborted, isBehindCompaction, persist, type WaitOptions } from './persist.ts';
import { placeKey, queueRange, stand, type TakenPlace, type Turn, waitForTurn } from './places.ts';
import { Tenure } from './tenure.ts';

/**
 * Being the leader, until resigned or until the lease is lost.
 *
 * Keys: `NAME/LEASE` (hexadecimal) for each candidate with what it proclaims as value, as `etcdctl elect` and Go's
 * `concurrency.Election` have them; the oldest leads.
 */
export class Leadership extends Tenure {
  private readonly leaseId: HeldLease['id'];

  constructor(client: Client, turn: Turn, lease: HeldLease) {
    super({ client, ...turn, lease, held: key(turn.key).createRevision.equals(turn.revision) });
    this.leaseId = lease.id;
  }

  /** Tells the observers something new. Throws `ErrElectionNotLeader` once somebody else leads. */
  async proclaim(value: Bytes, options?: CallOptions): Promise<void> {
    const own = put(this.key, value, { lease: this.leaseId });
    const { succeeded } = await this.transaction().do(own).commit(options);
    if (!succeeded) throw ErrElectionNotLeader;
  }

  /** Lets the next one lead. */
  resign(options?: WaitOptions): Promise<void> {
    return this.release(options);
  }
}

/**
 * Waits to be elected, and then proclaims `value`. Aborting the signal ends the candidacy and throws `CanceledError`;
 * `LostError` says that the lease ended meanwhile.
 */
export async function campaign(
  client: Client,
  name: Bytes,
  lease: HeldLease,
  value: Bytes,
  options: WaitOptions = {},
): Promise<Leadership> {
  const others = queueRange(name);
  const standing = { key: placeKey(name, lease.id), value, lease, others };
  const turn = await stand(client, standing, options, async (place, signal) => {
    if (!place.isNew && !place.value.equals(toBytes(value))) await renew(client, place, lease, value, signal);
    await waitForTurn(client, others, place, signal);
  });
  return new Leadership(client, turn, lease);
}

/** Puts another value at a place that was taken before. */
async function renew(
  client: Client,
  place: TakenPlace,
  lease: HeldLease,
  value: Bytes,
  signal: AbortSignal,
): Promise<void> {
  const isStill = key(place.key).createRevision.equals(place.revision);
  const txn = client.kv
    .transaction()
    .if(isStill)
    .do(put(place.key, value, { lease: lease.id }));
  const { succeeded } = await persist(client, signal, () => txn.commit({ signal }));
  if (!succeeded) throw ErrElectionNotLeader;
}

/** The leader's record, or null while there is none. */
export async function leader(client: Client, name: Bytes, options?: CallOptions): Promise<KeyValue | null> {
  return (await oldest(client, name, options)).kv;
}

async function oldest(
  client: Client,
  name: Bytes,
  options?: CallOptions,
): Promise<{ kv: KeyValue | null; header: ResponseHeader | null }> {
  const first = { sortOrder: SortOrder.ASCEND, sortTarget: SortTarget.CREATE, limit: 1 };
  const response = await client.kv.range({ ...queueRange(name), ...first }, options);
  return { kv: response.kvs[0] ?? null, header: response.header };
}

/**
 * Every leader and everything a leader proclaims, from now on, through outages, changes of leaders and compactions; what
 * changes twice in between may be seen once. Ends when the signal is aborted.
 */
export async function* observe(
  client: Client,
  name: Bytes,
  { signal }: WaitOptions = {},
): AsyncGenerator<KeyValue, void, undefined> {
  const options = signal === undefined ? {} : { signal };
  /** Of what was told last, so that a look after an interruption does not tell it again. */
  let told = { createRevision: 0, modRevision: 0 };
  while (!isAborted(signal)) {
    try {
      const { kv, header } = await persist(client, signal, () => oldest(client, name, options));
      const startRevision = (header?.revision ?? 0) + 1;
      if (kv === null) {
        for await (const event of client.watch(queueRange(name), { ...options, startRevision }).events()) {
          if (event.type === EventType.PUT) break;
        }
        continue;
      }
      const isKnown = kv.createRevision === told.createRevision && kv.modRevision <= told.modRevision;
      told = kv;
      if (!isKnown) yield kv;
      for await (const event of client.watch(kv.key, { ...options, startRevision }).events()) {
        if (event.type === EventType.DELETE) break;
        if (event.kv === null) continue;
        told = event.kv;
        yield event.kv;
      }
    } catch (error) {
      if (isAborted(signal)) return;
      if (!isBehindCompaction(error)) throw error;
    }
  }
}
