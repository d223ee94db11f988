/** What queues have in common: items are keys, and taking one is removing its key under the condition that it is still there. */
import { type Key, keyFromBytes } from '@etsd/base';
import { type Compare, EventType, type KeyValue, type RangeRequest, SortOrder } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError } from '../errors.ts';
import { type Bytes, type KeyRange, prefix } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import type { CallOptions } from '../options.ts';
import { get, key, type Operation, put, remove } from '../txn.ts';
import { endOfWait } from './errors.ts';
import { anySignal, atMost, isBehindCompaction, NEVER, persist, type WaitOptions } from './persist.ts';
import { queueRange, under } from './places.ts';
import { Tenure } from './tenure.ts';

/** Items read at a time when one is looked for. */
const PAGE_ITEMS = 16;
/** How long giving up waits for a claim to be gone; where that takes longer it is done behind the caller's back. */
const CLEANUP_WAIT_MS = 2_000;

/** A `SortTarget`. */
type Order = RangeRequest['sortTarget'];

/** What was in a queue. */
export interface QueueItem {
  readonly key: Buffer;
  readonly value: Buffer;
  /** Of its being put: an item of a queue without priorities has a larger one than those before it. */
  readonly revision: number;
}

/** An item lent to a worker. It goes back into the queue when it is released, or when the worker's lease ends. */
export class LentItem extends Tenure {
  readonly value: Buffer;
  readonly item: QueueItem;

  constructor(client: Client, item: QueueItem, claim: { key: Buffer; revision: number }, lease: HeldLease) {
    super({ client, ...claim, lease, held: key(claim.key).createRevision.equals(claim.revision) });
    this.item = item;
    this.value = item.value;
  }

  /**
   * Removes the item and does all of this as one revision: so the effect of an item shows exactly once, however often it
   * was lent. Throws `LostError`, and does nothing, if it is lent to another by now.
   */
  async complete(...operations: readonly Operation<unknown>[]): Promise<void> {
    if (!this.isHeld) throw this.lost();
    const { succeeded } = await this.transaction()
      .if(key(this.item.key).modRevision.equals(this.item.revision))
      .do(...operations, remove(this.item.key), remove(this.key))
      .commit();
    if (!succeeded) throw this.lost();
    this.ended();
  }
}

/** A page of items, first come first, and the keys of those that are lent. */
interface Page {
  readonly revision: number;
  readonly items: readonly KeyValue[];
  readonly lent: ReadonlySet<Key>;
  readonly more: boolean;
}

export abstract class WorkQueue {
  protected readonly client: Client;
  protected readonly items: KeyRange;
  private readonly claims: KeyRange;
  private readonly order: Order;

  /** `order` is what the first item is the smallest by. */
  constructor(client: Client, name: Bytes, order: Order) {
    this.client = client;
    this.items = queueRange(name);
    this.claims = prefix(under(Buffer.concat([Buffer.from('__'), Buffer.from(name)]), 'lent/'));
    this.order = order;
  }

  /**
   * Takes the first item out of the queue, waiting for one if there is none. Nobody else gets it, and if this process
   * fails before it is done with it, neither will anybody: for work that must be done use `take`.
   *
   * If the connection fails while an item is being taken it throws `UnavailableError`, and the item may be lost.
   */
  async dequeue(options: WaitOptions = {}): Promise<QueueItem> {
    const signal = options.signal ?? NEVER;
    for (;;) {
      const { item, revision } = await this.removeFirst(signal);
      if (item !== null) return item;
      await this.waitForItem(revision + 1, signal);
    }
  }

  /** As `dequeue`, but null if there is none. */
  async tryDequeue(options: WaitOptions = {}): Promise<QueueItem | null> {
    return (await this.removeFirst(options.signal ?? NEVER)).item;
  }

  /** What is taken out of the queue, one item after the other, until the signal is aborted. */
  async *drain({ signal = NEVER }: WaitOptions = {}): AsyncGenerator<QueueItem, void, undefined> {
    while (!signal.aborted) {
      let item: QueueItem;
      try {
        item = await this.dequeue({ signal });
      } catch (error) {
        if (error instanceof CanceledError && signal.aborted) return;
        throw error;
      }
      yield item;
    }
  }

  /**
   * Borrows the first item that is not lent, waiting for one if there is none. It stays in the queue, for others to have
   * once the lease ends, until `complete` removes it.
   */
  async take(lease: HeldLease, options: WaitOptions = {}): Promise<LentItem> {
    const signal = anySignal(options.signal, lease.signal);
    try {
      for (;;) {
        if (!lease.isAlive) throw new CanceledError(lease.signal.reason);
        const { found, revision } = await this.first(signal, (item) => this.lend(item, lease, signal));
        if (found !== null) return found;
        await this.waitForItem(revision + 1, signal);
      }
    } catch (error) {
      throw endOfWait(error, lease, options.signal);
    }
  }

  /** How many items there are, those that are lent included. */
  length(options?: CallOptions): Promise<number> {
    return this.client.kv.count(this.items, options);
  }

  private async removeFirst(signal: AbortSignal): Promise<{ item: QueueItem | null; revision: number }> {
    const { found, revision } = await this.first(signal, async (item) => {
      // Not canceled with the signal: an item that is taken has to be handed out.
      const { succeeded } = await this.client.kv
        .transaction()
        .if(...this.isFree(item))
        .do(remove(item.key))
        .commit();
      return succeeded ? item : null;
    });
    return { item: found, revision };
  }

  /** What `attempt` makes of the first item of which it makes something; null if there is no such item. */
  private async first<T>(
    signal: AbortSignal,
    attempt: (item: QueueItem) => Promise<T | null>,
  ): Promise<{ found: T | null; revision: number }> {
    let limit = PAGE_ITEMS;
    for (;;) {
      const page = await persist(this.client, signal, () => this.look(limit, signal));
      let tried = 0;
      for (const { key: at, modRevision, value } of page.items) {
        if (page.lent.has(this.nameOf(at))) continue;
        if (signal.aborted) throw new CanceledError(signal.reason);
        tried++;
        const found = await attempt({ key: at, value, revision: modRevision });
        if (found !== null) return { found, revision: page.revision };
      }
      // Others were faster, or all that was read is lent; there may be more behind.
      if (tried === 0 && !page.more) return { found: null, revision: page.revision };
      if (tried === 0) limit *= 2;
    }
  }

  private async look(limit: number, signal: AbortSignal): Promise<Page> {
    const firstFirst = { sortOrder: SortOrder.ASCEND, sortTarget: this.order, limit };
    const outcome = await this.client.kv
      .transaction()
      .do(get(this.items, firstFirst), get(this.claims, { keysOnly: true }))
      .commit({ signal });
    const [items, claims] = outcome.results as unknown as [{ kvs: KeyValue[]; more: boolean }, { kvs: KeyValue[] }];
    return {
      revision: outcome.header?.revision ?? 0,
      items: items.kvs,
      lent: new Set(claims.kvs.map((claim) => keyFromBytes(claim.key.subarray(this.claims.key.length)))),
      more: items.more,
    };
  }

  private nameOf(item: Buffer): Key {
    return keyFromBytes(item.subarray(this.items.key.length));
  }

  private claimKey(item: Buffer): Buffer {
    return Buffer.concat([this.claims.key, item.subarray(this.items.key.length)]);
  }

  private isFree(item: QueueItem): Compare[] {
    return [key(item.key).modRevision.equals(item.revision), key(this.claimKey(item.key)).isMissing];
  }

  private async lend(item: QueueItem, lease: HeldLease, signal: AbortSignal): Promise<LentItem | null> {
    const { client } = this;
    const claim = this.claimKey(item.key);
    // What tells our own claim from others' where an answer was lost.
    const mark = client.world.random.bytes(8).toString('hex');
    const lending = client.kv
      .transaction()
      .if(...this.isFree(item))
      .do(put(claim, mark, { lease: lease.id }))
      .otherwise(get(claim));
    const outcome = await persist(client, signal, () => lending.commit()).catch(async (error: unknown) => {
      // Nobody told what became of the claim, and nobody waits for it.
      const removal = client.kv.transaction().if(key(claim).value.equals(mark)).do(remove(claim));
      await atMost(
        client,
        CLEANUP_WAIT_MS,
        persist(client, lease.signal, () => removal.commit()).catch(() => {}),
      );
      throw error;
    });
    const { succeeded, header, results } = outcome;
    if (succeeded) return new LentItem(client, item, { key: claim, revision: header?.revision ?? 0 }, lease);
    const there = (results[0] as { kvs: KeyValue[] }).kvs[0];
    if (there?.value.toString() !== mark) return null;
    return new LentItem(client, item, { key: claim, revision: there.createRevision }, lease);
  }

  /** Resolves when an item was put or given back, or may have been. */
  private async waitForItem(startRevision: number, signal: AbortSignal): Promise<void> {
    const enough = new AbortController();
    const both = { startRevision, signal: anySignal(signal, enough.signal) };
    try {
      await Promise.race([
        this.firstEvent(this.items, { ...both, noDeletes: true }, EventType.PUT),
        this.firstEvent(this.claims, { ...both, noPuts: true }, EventType.DELETE),
      ]);
    } finally {
      enough.abort();
    }
    if (signal.aborted) throw new CanceledError(signal.reason);
  }

  private async firstEvent(
    range: KeyRange,
    options: { startRevision: number; signal: AbortSignal; noPuts?: boolean; noDeletes?: boolean },
    type: number,
  ): Promise<void> {
    try {
      for await (const event of this.client.watch(range, options).events()) if (event.type === type) return;
    } catch (error) {
      if (!options.signal.aborted && !isBehindCompaction(error)) throw error;
    }
  }
}
