import { type Key, keyFromBytes, type U64, U64_ZERO } from '@etsd/base';
import { EventType, type KeyValue, SortOrder, SortTarget } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError } from '../errors.ts';
import { type Bytes, type KeyRange, prefix } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import type { CallOptions } from '../options.ts';
import { get, key, put, remove } from '../txn.ts';
import { endOfWait, LostError, UnreadableError } from './errors.ts';
import { anySignal, atMost, isBehindCompaction, persist, unlessAborted, type WaitOptions } from './persist.ts';
import { under } from './places.ts';
import { Tenure } from './tenure.ts';

/** Who asks for a slot. */
export interface SlotRequest extends WaitOptions {
  /** Who it is, unique among those who use the semaphore: a machine's name, say. */
  readonly holder: string;
  /**
   * The slot is free again when this ends. Without one the slot outlives its process, until `release` or `evict`: whoever
   * crashes or reboots comes back, asks under the same name, and has it still.
   */
  readonly lease?: HeldLease;
}

/** Who has a slot, or waits for one. */
export interface SlotHolder {
  readonly holder: string;
  readonly isWaiting: boolean;
  /** Null for a slot that outlives its process. */
  readonly lease: U64 | null;
  /** Of its key: whoever came earlier has a smaller one. */
  readonly createRevision: number;
}

/** How long giving up waits for the key to be gone; where that takes longer it is done behind the caller's back. */
const CLEANUP_WAIT_MS = 2_000;
/** How long a key without a lease is tried to be removed by one who gave up waiting. */
const CLEANUP_PATIENCE_MS = 60_000;

/** One of the slots. */
export class HeldSlot extends Tenure {
  readonly holder: string;

  constructor(client: Client, place: Claim, holder: string, lease: HeldLease | null) {
    // By the key's last change, not by its creation: who asks again under the same name ends the earlier tenure with it.
    super({ client, ...place, lease, held: key(place.key).modRevision.equals(place.revision) });
    this.holder = holder;
  }
}

interface Claim {
  readonly key: Buffer;
  readonly revision: number;
}

/** What decides whose turn it is. */
interface Standing {
  readonly revision: number;
  readonly limit: number;
  readonly records: readonly KeyValue[];
}

/**
 * So many slots and no more, given in the order in which they were asked for: how many machines may reboot at once, how
 * many may use what is scarce. Holders have names and can be listed and evicted.
 *
 * Keys: `NAME/limit` holds the number of slots as text, `NAME/holders/HOLDER` stands for each who has a slot or waits; the
 * oldest have them. A smaller limit takes no slot away, it is given to nobody else.
 */
export class Semaphore {
  private readonly client: Client;
  private readonly name: Bytes;
  private readonly limitKey: Buffer;
  private readonly holders: KeyRange;
  private readonly initialLimit: number;

  /** `limit` counts where the semaphore is new; afterwards what is stored does, and `setLimit` changes it for all. */
  constructor(client: Client, name: Bytes, options: { limit: number }) {
    if (!Number.isSafeInteger(options.limit) || options.limit < 0) throw new RangeError('a limit is a whole number');
    this.client = client;
    this.name = name;
    this.limitKey = under(name, 'limit');
    this.holders = prefix(under(name, 'holders/'));
    this.initialLimit = options.limit;
  }

  /** Waits for a slot; at once the one that the holder has already, whose earlier tenure ends by that. */
  async acquire(request: SlotRequest): Promise<HeldSlot> {
    const { client } = this;
    const { holder, lease } = request;
    const own = this.keyOf(holder);
    const signal = anySignal(request.signal, lease?.signal);
    const claiming = persist(client, signal, () => this.claim(own, lease?.id ?? U64_ZERO));
    try {
      const claim = await unlessAborted(claiming, signal);
      await this.waitForSlot(claim, signal);
      return new HeldSlot(client, claim, holder, lease ?? null);
    } catch (error) {
      const leaving = claiming.then(
        (claim) => this.leave(claim, lease),
        () => {},
      );
      await atMost(client, CLEANUP_WAIT_MS, leaving);
      throw endOfWait(error, lease, request.signal);
    }
  }

  /** All who have a slot or wait for one, in their order. */
  async list(options?: CallOptions): Promise<SlotHolder[]> {
    const { limit, records } = await this.read(options);
    return records.map((record, index) => ({
      holder: this.holderOf(record.key),
      isWaiting: index >= limit,
      lease: record.lease === U64_ZERO ? null : record.lease,
      createRevision: record.createRevision,
    }));
  }

  /** Takes the slot, or the place in the queue, from a holder that will not come back. False if it had none. */
  async evict(holder: string, options?: CallOptions): Promise<boolean> {
    return (await this.client.kv.delete(this.keyOf(holder), options)).deleted > 0;
  }

  async limit(options?: CallOptions): Promise<number> {
    return (await this.read(options)).limit;
  }

  async setLimit(limit: number, options?: CallOptions): Promise<void> {
    if (!Number.isSafeInteger(limit) || limit < 0) throw new RangeError('a limit is a whole number');
    await this.client.kv.put(this.limitKey, String(limit), options);
  }

  private keyOf(holder: string): Buffer {
    if (holder === '') throw new TypeError('a holder has a name');
    return under(this.name, `holders/${holder}`);
  }

  private holderOf(at: Buffer): string {
    return at.subarray(this.holders.key.length).toString();
  }

  /** Puts the holder's key, or puts it anew where it is. May be repeated. */
  private async claim(own: Buffer, lease: U64): Promise<Claim> {
    const { header } = await this.client.kv
      .transaction()
      .if(key(this.limitKey).isMissing)
      .do(put(this.limitKey, String(this.initialLimit)), put(own, '', { lease }))
      .otherwise(put(own, '', { lease }))
      .commit();
    return { key: own, revision: header?.revision ?? 0 };
  }

  /** Removes the key unless somebody put it anew. */
  private async leave(claim: Claim, lease: HeldLease | undefined): Promise<void> {
    const { client } = this;
    const patience = new AbortController();
    const timer = client.world.timers.after(CLEANUP_PATIENCE_MS, () => patience.abort());
    const signal = anySignal(patience.signal, lease?.signal);
    const removal = client.kv.transaction().if(key(claim.key).modRevision.equals(claim.revision)).do(remove(claim.key));
    try {
      await persist(client, signal, () => removal.commit());
    } catch {
      // The end of the lease does it; without one the key stays until its holder comes back or is evicted.
    } finally {
      timer.cancel();
    }
  }

  private async read(options?: CallOptions): Promise<Standing> {
    const oldestFirst = { sortOrder: SortOrder.ASCEND, sortTarget: SortTarget.CREATE, keysOnly: true };
    const outcome = await this.client.kv
      .transaction()
      .do(get(this.limitKey), get(this.holders, oldestFirst))
      .commit(options);
    // Without conditions a transaction succeeds.
    const [limit, holders] = outcome.results as unknown as [{ kvs: KeyValue[] }, { kvs: KeyValue[] }];
    return {
      revision: outcome.header?.revision ?? 0,
      limit: limit.kvs[0] === undefined ? this.initialLimit : this.parseLimit(limit.kvs[0].value),
      records: holders.kvs,
    };
  }

  private parseLimit(value: Buffer): number {
    const text = value.toString();
    if (!/^\d{1,15}$/.test(text)) throw new UnreadableError(this.limitKey, 'holds no number');
    return Number(text);
  }

  /** Resolves when fewer stand before the claim than there are slots. */
  private async waitForSlot(claim: Claim, signal: AbortSignal): Promise<void> {
    const { client } = this;
    for (;;) {
      const { limit, records, revision } = await persist(client, signal, () => this.read({ signal }));
      const index = records.findIndex((record) => record.key.equals(claim.key));
      if (index < 0 || records[index]?.modRevision !== claim.revision) throw lostWhileWaiting();
      if (index < limit) return;
      const before = new Set(records.slice(0, index).map((record) => keyFromBytes(record.key)));
      await this.follow(claim, before, limit, revision + 1, signal);
    }
  }

  /** Counts those before the claim down as they leave; resolves when it is time to look again. */
  private async follow(
    claim: Claim,
    before: Set<Key>,
    limit: number,
    startRevision: number,
    signal: AbortSignal,
  ): Promise<void> {
    const everything = prefix(under(this.name, ''));
    try {
      for await (const event of this.client.watch(everything, { startRevision, signal }).events()) {
        const at = event.kv?.key;
        if (at === undefined) continue;
        if (at.equals(this.limitKey)) return;
        if (at.equals(claim.key)) throw lostWhileWaiting();
        if (event.type === EventType.DELETE && before.delete(keyFromBytes(at)) && before.size < limit) return;
      }
    } catch (error) {
      if (isBehindCompaction(error)) return;
      throw error;
    }
    throw new CanceledError(signal.reason);
  }
}

function lostWhileWaiting(): LostError {
  return new LostError('the place was lost while waiting: evicted, taken over under the same name, or its lease ended');
}
