import { type U64, U64_ZERO } from '@etsd/base';
import {
  CompactionRequest,
  type CompactionResponse,
  DeleteRangeRequest,
  type DeleteRangeResponse,
  type KeyValue,
  PutRequest,
  type PutResponse,
  RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
} from '@etsd/proto';
import { toId, toWhole } from './checks.ts';
import { type Bytes, type KeyRange, toBytes, toRange } from './keys.ts';
import * as methods from './methods.ts';
import type { UnaryCaller } from './namespace.ts';
import type { CallOptions } from './options.ts';
import { Transaction } from './txn.ts';

/** What to read, and as of when. */
export interface GetOptions extends CallOptions {
  /** As of this revision; default the newest. */
  readonly revision?: number;
  /** Answered by any one member from what it knows, perhaps of the past: faster, and while there is no majority too. */
  readonly serializable?: boolean;
}

export interface ListOptions extends GetOptions {
  readonly keysOnly?: boolean;
  /** Keys fetched at a time. Default 1000. */
  readonly pageSize?: number;
}

export interface PutOptions extends CallOptions {
  /** The key goes when this lease ends. */
  readonly lease?: U64;
  /** The answer shall hold what was there before. */
  readonly prevKv?: boolean;
}

const PAGE_KEYS = 1000;

/** Keys and values. */
export class Kv {
  private readonly caller: UnaryCaller;

  constructor(caller: UnaryCaller) {
    this.caller = caller;
  }

  /** The record of a key, or null. */
  async get(key: Bytes, options: GetOptions = {}): Promise<KeyValue | null> {
    const { revision = 0, serializable = false } = options;
    toWhole('revision', revision);
    const response = await this.range({ key: toBytes(key), revision, serializable }, options);
    return response.kvs[0] ?? null;
  }

  /**
   * All records of a range in the order of their keys, page by page, all of one revision: what is written meanwhile does
   * not show. Throws `ErrCompacted` where the revision is compacted before the end is reached.
   */
  async *list(keys: Bytes | KeyRange, options: ListOptions = {}): AsyncGenerator<KeyValue, void, undefined> {
    const { rangeEnd, key: first } = toRange(keys);
    const { serializable = false, keysOnly = false, pageSize = PAGE_KEYS } = options;
    toWhole('pageSize', pageSize);
    let revision = toWhole('revision', options.revision ?? 0);
    let key = first;
    for (;;) {
      const page = await this.range({ key, rangeEnd, revision, serializable, keysOnly, limit: pageSize }, options);
      yield* page.kvs;
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return;
      if (revision === 0) revision = page.header?.revision ?? 0;
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** How many keys a range holds. */
  async count(keys: Bytes | KeyRange, options: GetOptions = {}): Promise<number> {
    const { revision = 0, serializable = false } = options;
    toWhole('revision', revision);
    return (await this.range({ ...toRange(keys), revision, serializable, countOnly: true }, options)).count;
  }

  put(key: Bytes, value: Bytes, options: PutOptions = {}): Promise<PutResponse> {
    const { lease = U64_ZERO, prevKv = false } = options;
    const request = PutRequest.create({ key: toBytes(key), value: toBytes(value), lease: toId(lease), prevKv });
    return this.caller.unary(methods.Put, request, options);
  }

  /** Removes a key or a range of keys; the answer says how many there were. */
  delete(keys: Bytes | KeyRange, options: CallOptions & { prevKv?: boolean } = {}): Promise<DeleteRangeResponse> {
    const request = DeleteRangeRequest.create({ ...toRange(keys), prevKv: options.prevKv ?? false });
    return this.caller.unary(methods.DeleteRange, request, options);
  }

  /** If, do, otherwise: `kv.transaction().if(key('a').version.equals(0)).do(put('a', '1')).commit()`. */
  transaction(): Transaction {
    return new Transaction(this);
  }

  /** Forgets what was overwritten before a revision; `physical` waits until the space is free. */
  compact(revision: number, options: CallOptions & { physical?: boolean } = {}): Promise<CompactionResponse> {
    const request = CompactionRequest.create({
      revision: toWhole('revision', revision),
      physical: options.physical ?? false,
    });
    return this.caller.unary(methods.Compact, request, options);
  }

  // ── the requests as they are on the wire ──────────────────────────────────────────────────────────────────────────

  range(request: Partial<RangeRequest>, options?: CallOptions): Promise<RangeResponse> {
    return this.caller.unary(methods.Range, RangeRequest.create(request), options);
  }

  putRaw(request: Partial<PutRequest>, options?: CallOptions): Promise<PutResponse> {
    return this.caller.unary(methods.Put, PutRequest.create(request), options);
  }

  txnRaw(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    const readOnly = [...request.success, ...request.failure].every((op) => op.requestRange !== null);
    return this.caller.unary(readOnly ? methods.ReadTxn : methods.Txn, request, options);
  }
}
