import type { Compare } from '@etsd/proto';
import type { Client } from '../core.ts';
import { type Bytes, toBytes } from '../keys.ts';
import type { CallOptions } from '../options.ts';
import { get, key, put } from '../txn.ts';
import { LostError, UnreadableError } from './errors.ts';
import { Backoff } from './persist.ts';

export interface AddOptions extends CallOptions {
  /** What has to hold besides, such as `lock.held`; `LostError` says that it does not. */
  readonly conditions?: readonly Compare[];
}

/** What a counter was, and when it was set; revision 0 where there is none. */
interface Reading {
  readonly value: number;
  readonly revision: number;
}

/** Pauses after somebody else was faster, at first and at most. */
const CONFLICT_PAUSE_MS = 1;
const CONFLICT_PAUSE_MAX_MS = 100;

/**
 * A whole number that many add to at once, none of whose additions is lost. Those who collide try again, so it is for
 * hundreds of additions a second, not for hundred thousands.
 *
 * Key: `NAME` itself, with the number as text; a counter that is not there is 0.
 */
export class Counter {
  private readonly client: Client;
  private readonly at: Buffer;
  /** As last seen: right more often than not where few count, and then an addition is one call. */
  private seen: Reading = { value: 0, revision: 0 };

  constructor(client: Client, name: Bytes) {
    this.client = client;
    this.at = toBytes(name);
  }

  async get(options?: CallOptions): Promise<number> {
    const record = await this.client.kv.get(this.at, options);
    this.seen = record === null ? { value: 0, revision: 0 } : this.reading(record);
    return this.seen.value;
  }

  /**
   * Adds, and answers the sum, which nobody else is answered if all add something above 0. Throws `RangeError` beyond
   * 2^53 − 1. `UnavailableError` leaves open whether it was added.
   */
  async add(amount = 1, { conditions = [], ...options }: AddOptions = {}): Promise<number> {
    if (!Number.isSafeInteger(amount)) throw new RangeError('a counter counts whole numbers');
    const backoff = new Backoff(this.client, CONFLICT_PAUSE_MS, CONFLICT_PAUSE_MAX_MS);
    for (;;) {
      const before = this.seen;
      const value = before.value + amount;
      if (!Number.isSafeInteger(value))
        throw new RangeError(`${before.value} + ${amount} is more than a counter holds`);
      const outcome = await this.client.kv
        .transaction()
        .if(key(this.at).modRevision.equals(before.revision), ...conditions)
        .do(put(this.at, String(value)))
        .otherwise(get(this.at))
        .commit(options);
      if (outcome.succeeded) {
        this.seen = { value, revision: outcome.header?.revision ?? 0 };
        return value;
      }
      const record = outcome.results[0].kvs[0];
      this.seen = record === undefined ? { value: 0, revision: 0 } : this.reading(record);
      // Nobody counted meanwhile, so it is another condition that fails.
      if (this.seen.revision === before.revision) throw new LostError('a condition of the addition does not hold');
      await backoff.pause(options.signal);
    }
  }

  private reading(record: { readonly value: Buffer; readonly modRevision: number }): Reading {
    const text = record.value.toString();
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value)) throw new UnreadableError(this.at, 'holds no whole number');
    return { value, revision: record.modRevision };
  }
}
