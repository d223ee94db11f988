import { SortTarget } from '@etsd/proto';
import type { Client } from '../core.ts';
import { type Bytes, toBytes } from '../keys.ts';
import type { CallOptions } from '../options.ts';
import { key, put } from '../txn.ts';
import { under } from './places.ts';
import { WorkQueue } from './work-queue.ts';

const DIGITS = 6;

/**
 * First in, first out, for any number of producers and consumers; each item is had by one consumer.
 *
 * Keys: `NAME/TIME` (nanoseconds since 1970; what counts is the revision) for each item, as the `Queue` of etcd's Go
 * recipes has them; `__NAME/lent/TIME` while an item is lent. Consumers of etcd's know nothing of lending: they take what
 * is lent too.
 */
export class Queue extends WorkQueue {
  private readonly name: Buffer;

  constructor(client: Client, name: Bytes) {
    super(client, name, SortTarget.MOD);
    this.name = toBytes(name);
  }

  /** Puts a value at the end; answers the item's revision. `UnavailableError` leaves open whether it is in. */
  async enqueue(value: Bytes, options?: CallOptions): Promise<number> {
    const { clock, random } = this.client.world;
    for (;;) {
      const belowMs = String(Math.floor(random.float() * 10 ** DIGITS)).padStart(DIGITS, '0');
      const at = under(this.name, `${Math.floor(clock.wallMs())}${belowMs}`);
      const { succeeded, header } = await this.client.kv
        .transaction()
        .if(key(at).isMissing)
        .do(put(at, value))
        .commit(options);
      if (succeeded) return header?.revision ?? 0;
    }
  }
}
