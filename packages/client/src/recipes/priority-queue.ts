import { SortOrder, SortTarget } from '@etsd/proto';
import type { Client } from '../core.ts';
import { type Bytes, prefix, toBytes } from '../keys.ts';
import type { CallOptions } from '../options.ts';
import { key, put } from '../txn.ts';
import { UnreadableError } from './errors.ts';
import { Backoff } from './persist.ts';
import { under } from './places.ts';
import { WorkQueue } from './work-queue.ts';

/** The largest priority number, which is served last. */
export const PRIORITY_MAX = 65_535;
const PRIORITY_DIGITS = 5;
const NUMBER_DIGITS = 16;

/** Pauses after another put an item of the same priority in between, at first and at most. */
const CONFLICT_PAUSE_MS = 2;
const CONFLICT_PAUSE_MAX_MS = 100;

/**
 * The smallest priority number first, and first come first served among equals; each item is had by one consumer.
 *
 * Keys: `NAME/PRIORITY/NUMBER` (5 and 16 digits) for each item and `__NAME/PRIORITY`, which each item that is put touches,
 * as the `PriorityQueue` of etcd's Go recipes has them; `__NAME/lent/PRIORITY/NUMBER` while an item is lent. Consumers of
 * etcd's know nothing of lending: they take what is lent too.
 */
export class PriorityQueue extends WorkQueue {
  private readonly name: Buffer;

  constructor(client: Client, name: Bytes) {
    super(client, name, SortTarget.KEY);
    this.name = toBytes(name);
  }

  /** Puts a value behind those of the same priority; answers the item's revision. `UnavailableError` leaves open whether it is in. */
  async enqueue(value: Bytes, priority: number, options: CallOptions = {}): Promise<number> {
    if (!Number.isInteger(priority) || priority < 0 || priority > PRIORITY_MAX) {
      throw new RangeError(`a priority is a whole number from 0 to ${PRIORITY_MAX}`);
    }
    const base = under(this.name, String(priority).padStart(PRIORITY_DIGITS, '0'));
    const touched = Buffer.concat([Buffer.from('__'), base]);
    const backoff = new Backoff(this.client, CONFLICT_PAUSE_MS, CONFLICT_PAUSE_MAX_MS);
    for (;;) {
      const { number, revision } = await this.nextNumber(base, options);
      const at = under(base, String(number).padStart(NUMBER_DIGITS, '0'));
      // Without that the number could be given twice: to one who is slow, after those behind it were taken.
      const { succeeded, header } = await this.client.kv
        .transaction()
        .if(key(touched).modRevision.isBelow(revision + 1))
        .do(put(touched, ''), put(at, value))
        .commit(options);
      if (succeeded) return header?.revision ?? 0;
      await backoff.pause(options.signal);
    }
  }

  /** The number behind those that are in use, and the revision at which it is. */
  private async nextNumber(base: Buffer, options: CallOptions): Promise<{ number: number; revision: number }> {
    const last = { sortOrder: SortOrder.DESCEND, sortTarget: SortTarget.KEY, limit: 1, keysOnly: true };
    const { header, kvs } = await this.client.kv.range({ ...prefix(under(base, '')), ...last }, options);
    const revision = header?.revision ?? 0;
    if (kvs[0] === undefined) return { number: 0, revision };
    const number = Number(kvs[0].key.subarray(base.length + 1).toString());
    if (!Number.isSafeInteger(number)) throw new UnreadableError(kvs[0].key, 'is no item of a priority queue');
    return { number: number + 1, revision };
  }
}
