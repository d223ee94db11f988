/** Keys and values by one codec: what goes in and comes out are the program's own values. */
import type { U64 } from '@etsd/base';
import {
  type Compare,
  type DeleteRangeResponse,
  EtcdError,
  type Event,
  EventType,
  GrpcCode,
  KeyValue,
  type PutResponse,
  type ResponseHeader,
} from '@etsd/proto';
import type { Codec } from './codec.ts';
import { DecodeError } from './errors.ts';
import { type Bytes, type KeyRange, toBytes } from './keys.ts';
import type { GetOptions, Kv, ListOptions, PutOptions } from './kv.ts';
import type { CallOptions } from './options.ts';
import { get, key, type Operation, put, remove, type Subject, type Transaction } from './txn.ts';
import type { Watcher, WatchOptions } from './watch.ts';

/** A key and its value. */
export interface Entry<T> {
  /** As text; a key that is not UTF-8 is found whole in `record`. */
  readonly key: string;
  readonly value: T;
  readonly createRevision: number;
  readonly modRevision: number;
  /** How often it was written since it was created. */
  readonly version: number;
  readonly lease: U64;
  /** As it is stored. */
  readonly record: KeyValue;
}

/** What happened to a key. `previous` only where the watch asked for `prevKv` and it is not compacted. */
export type Change<T> =
  | { readonly type: 'put'; readonly key: string; readonly entry: Entry<T>; readonly previous: Entry<T> | null }
  | { readonly type: 'delete'; readonly key: string; readonly revision: number; readonly previous: Entry<T> | null };

export interface PutOutcome<T> {
  readonly header: ResponseHeader | null;
  /** With `prevKv`, what was there before. */
  readonly previous: Entry<T> | null;
}

export interface DeleteOutcome<T> {
  readonly header: ResponseHeader | null;
  readonly deleted: number;
  /** With `prevKv`, what there was. */
  readonly previous: readonly Entry<T>[];
}

/** Conditions on a key whose value is of a type. */
export interface TypedConditions<T> {
  readonly value: Subject<T>;
  readonly version: Subject<number>;
  readonly createRevision: Subject<number>;
  readonly modRevision: Subject<number>;
  readonly lease: Subject<U64>;
  readonly exists: Compare;
  readonly isMissing: Compare;
}

const UPDATES_MAX = 100;

/** The keys of a client, their values being of one type: `client.as(json<User>())`. */
export class Typed<T> {
  private readonly kv: Kv;
  private readonly startWatch: (keys: Bytes | KeyRange, options: WatchOptions) => Watcher;
  private readonly codec: Codec<T>;

  constructor(kv: Kv, startWatch: (keys: Bytes | KeyRange, options: WatchOptions) => Watcher, codec: Codec<T>) {
    this.kv = kv;
    this.startWatch = startWatch;
    this.codec = codec;
  }

  /** The entry of a key, or null. Throws `DecodeError` where the value is none of the type, as all reads do. */
  async get(at: Bytes, options?: GetOptions): Promise<Entry<T> | null> {
    return this.entryOrNull(await this.kv.get(at, options));
  }

  /** All entries of a range, as `kv.list`. */
  async *list(
    keys: Bytes | KeyRange,
    options?: Omit<ListOptions, 'keysOnly'>,
  ): AsyncGenerator<Entry<T>, void, undefined> {
    for await (const record of this.kv.list(keys, options)) yield this.entry(record);
  }

  async put(at: Bytes, value: T, options?: PutOptions): Promise<PutOutcome<T>> {
    return this.putOutcome(await this.kv.put(at, this.codec.encode(value), options));
  }

  async delete(keys: Bytes | KeyRange, options?: CallOptions & { prevKv?: boolean }): Promise<DeleteOutcome<T>> {
    return this.deleteOutcome(await this.kv.delete(keys, options));
  }

  /**
   * Writes what `change` makes of the present value (undefined where there is none), unless somebody else wrote meanwhile:
   * then again with what is there now, so `change` may run several times. With undefined the key is removed. Resolves to
   * the value that is there afterwards. Nobody else's write is ever lost; a lease of the key stays.
   */
  async update(
    at: Bytes,
    change: (value: T | undefined) => T | undefined,
    options?: CallOptions,
  ): Promise<T | undefined> {
    for (let attempt = 0; attempt < UPDATES_MAX; attempt++) {
      const before = await this.get(at, options);
      const after = change(before?.value);
      if (before === null && after === undefined) return undefined;
      const step =
        after === undefined
          ? remove(at)
          : put(at, this.codec.encode(after), before === null ? {} : { lease: before.lease });
      const unchanged = key(at).modRevision.equals(before?.modRevision ?? 0);
      const { succeeded } = await this.kv.transaction().if(unchanged).do(step).commit(options);
      if (succeeded) return after;
    }
    throw new EtcdError(GrpcCode.Aborted, `others wrote this key ${UPDATES_MAX} times in a row`);
  }

  /** The changes of a range, one by one, as `client.watch` promises them. */
  watch(keys: Bytes | KeyRange, options: WatchOptions = {}): TypedWatcher<T> {
    return new TypedWatcher(this.startWatch(keys, options), (event) => this.change(event));
  }

  // ── in transactions ───────────────────────────────────────────────────────────────────────────────────────────────

  /** As `kv.transaction`; takes operations of any codec. */
  transaction(): Transaction {
    return this.kv.transaction();
  }

  /** Conditions on a key: `users.key('a').value.equals(user)`. */
  key(keys: Bytes | KeyRange): TypedConditions<T> {
    const conditions = key(keys);
    return { ...conditions, value: conditions.value.of((value: T) => toBytes(this.codec.encode(value))) };
  }

  /** Reads one key within a transaction. */
  getting(at: Bytes): Operation<Entry<T> | null> {
    return mapped(get(at), (response) => this.entryOrNull(response.kvs[0] ?? null));
  }

  /** Reads a range within a transaction. */
  listing(keys: Bytes | KeyRange): Operation<Entry<T>[]> {
    return mapped(get(keys), (response) => response.kvs.map((record) => this.entry(record)));
  }

  putting(at: Bytes, value: T, options?: { lease?: U64; prevKv?: boolean }): Operation<PutOutcome<T>> {
    return mapped(put(at, this.codec.encode(value), options), (response) => this.putOutcome(response));
  }

  removing(keys: Bytes | KeyRange, options?: { prevKv?: boolean }): Operation<DeleteOutcome<T>> {
    return mapped(remove(keys, options), (response) => this.deleteOutcome(response));
  }

  // ── decoding ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private entry(record: KeyValue): Entry<T> {
    const { createRevision, lease, modRevision, version } = record;
    const name = record.key.toString('utf8');
    let value: T;
    try {
      value = this.codec.decode(record.value);
    } catch (error) {
      throw new DecodeError(name, modRevision, error);
    }
    return { key: name, value, createRevision, modRevision, version, lease, record };
  }

  private entryOrNull(record: KeyValue | null): Entry<T> | null {
    return record === null ? null : this.entry(record);
  }

  private putOutcome(response: PutResponse): PutOutcome<T> {
    return { header: response.header, previous: this.entryOrNull(response.prevKv) };
  }

  private deleteOutcome(response: DeleteRangeResponse): DeleteOutcome<T> {
    const previous = response.prevKvs.map((record) => this.entry(record));
    return { header: response.header, deleted: response.deleted, previous };
  }

  private change(event: Event): Change<T> {
    const record = event.kv ?? KeyValue.zero;
    const name = record.key.toString('utf8');
    const previous = this.entryOrNull(event.prevKv);
    if (event.type === EventType.PUT) return { type: 'put', key: name, entry: this.entry(record), previous };
    return { type: 'delete', key: name, revision: record.modRevision, previous };
  }
}

function mapped<From, To>(operation: Operation<From>, map: (result: From) => To): Operation<To> {
  return { request: operation.request, result: (response) => map(operation.result(response)) };
}

/** As `Watcher`, change by change. */
export class TypedWatcher<T> implements AsyncIterable<Change<T>>, AsyncDisposable {
  private readonly watcher: Watcher;
  private readonly decode: (event: Event) => Change<T>;

  constructor(watcher: Watcher, decode: (event: Event) => Change<T>) {
    this.watcher = watcher;
    this.decode = decode;
  }

  /** The revision from which a later watch would go on after the revisions that were read whole. */
  get resumeRevision(): number {
    return this.watcher.resumeRevision;
  }

  close(): void {
    this.watcher.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Change<T>, void, undefined> {
    for await (const event of this.watcher.events()) yield this.decode(event);
  }
}
