/** What a transaction in memory has read, and what it is about to write. */
import { inRange, type Key, keyFromBytes, type U64 } from '@etsd/base';
import type { Compare, KeyValue, RangeResponse } from '@etsd/proto';
import type { Codec } from '../codec.ts';
import type { Client } from '../core.ts';
import { type Bytes, type KeyRange, toBytes } from '../keys.ts';
import type { CallOptions } from '../options.ts';
import { get, key, type Operation, put, remove } from '../txn.ts';
import type { Isolation } from './stm.ts';

/** Records that were read, of one key or of a range, and the revision as of which. */
interface Read {
  readonly range: Bytes | KeyRange;
  readonly records: readonly KeyValue[];
  readonly revision: number;
  readonly isRange: boolean;
}

interface Write {
  readonly key: Buffer;
  /** Null for a key that is removed. */
  readonly value: Buffer | null;
  readonly lease: U64 | undefined;
}

/** The store as a transaction sees it: as it was, with its own writes on top. */
export class Memory {
  private readonly client: Client;
  private readonly isolation: Isolation;
  private readonly options: CallOptions;
  private readonly reads = new Map<string, Read>();
  private readonly writes = new Map<Key, Write>();
  /** What an attempt that failed was told about the keys it had read. */
  private readonly known: ReadonlyMap<string, Read>;
  private learned = new Map<string, Read>();
  /** As of when everything is read; 0 while nothing was. */
  private revision: number;
  /** The first read, while it is under way. */
  private opening: Promise<unknown> | null = null;

  constructor(client: Client, isolation: Isolation, before: Memory | null, options: CallOptions) {
    const { endpoint, signal, timeoutMs } = options;
    this.client = client;
    this.isolation = isolation;
    this.options = {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(signal === undefined ? {} : { signal }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    };
    this.known = before?.learned ?? new Map();
    this.revision = this.isSnapshot ? ([...this.known.values()][0]?.revision ?? 0) : 0;
  }

  /** The value of a key, or null. */
  async get(at: Bytes): Promise<Buffer | null> {
    const own = this.writes.get(keyFromBytes(toBytes(at)));
    return own === undefined ? ((await this.record(at))?.value ?? null) : own.value;
  }

  /** The value of a key as text, or null. */
  async text(at: Bytes): Promise<string | null> {
    return (await this.get(at))?.toString() ?? null;
  }

  /** Reads and writes with values of this kind: `memory.as(json<Account>()).get('ada')`. */
  as<T>(codec: Codec<T>) {
    return {
      /** The value of a key, or null. */
      get: async (at: Bytes): Promise<T | null> => {
        const value = await this.get(at);
        return value === null ? null : codec.decode(value);
      },
      put: (at: Bytes, value: T, options: { lease?: U64 } = {}): void => this.put(at, codec.encode(value), options),
    };
  }

  /** The record of a key as it is in the store, without this transaction's own writes; or null. */
  async record(at: Bytes): Promise<KeyValue | null> {
    return (await this.read(toBytes(at), false))[0] ?? null;
  }

  /**
   * Keys and values of a range, in the order of the keys. The range counts as read whole: also a key that appears in it
   * meanwhile makes the transaction try again.
   */
  async list(range: KeyRange): Promise<readonly { readonly key: Buffer; readonly value: Buffer }[]> {
    const values = new Map<Key, Buffer>();
    for (const record of await this.read(range, true)) values.set(keyFromBytes(record.key), record.value);
    for (const [at, write] of this.writes) {
      if (!isWithin(at, range)) continue;
      if (write.value === null) values.delete(at);
      else values.set(at, write.value);
    }
    return [...values.keys()].sort().map((at) => ({ key: Buffer.from(at, 'latin1'), value: values.get(at) as Buffer }));
  }

  put(at: Bytes, value: Bytes, options: { lease?: U64 } = {}): void {
    const bytes = toBytes(at);
    this.writes.set(keyFromBytes(bytes), { key: bytes, value: toBytes(value), lease: options.lease });
  }

  delete(at: Bytes): void {
    const bytes = toBytes(at);
    this.writes.set(keyFromBytes(bytes), { key: bytes, value: null, lease: undefined });
  }

  /** Writes what is to be written. `condition`: nothing that was relied on has changed, so it is a condition that fails. */
  async commit(conditions: readonly Compare[]): Promise<'done' | 'conflict' | 'condition'> {
    const relied = this.reliedOn();
    if (this.writes.size === 0 && conditions.length === 0) {
      // What was read as of one revision was true then; more is not claimed.
      if (relied.length === 0 || this.isSnapshot) return 'done';
    }
    const looks = [...this.reads.values()].map((read) => get(read.range));
    // Of keys only written we have to know, too, whether they were the reason.
    const others = this.isolation === 'serializable-snapshot' ? this.unreadWrites() : [];
    const outcome = await this.client.kv
      .transaction()
      .if(...relied, ...conditions)
      .do(...this.operations())
      .otherwise(...looks, ...others.map((write) => get(write.key, { keysOnly: true })))
      .commit(this.options);
    if (outcome.succeeded) return 'done';
    const revision = outcome.header?.revision ?? 0;
    const found = outcome.results as readonly RangeResponse[];
    let hasChanged = false;
    for (const [index, [id, read]] of [...this.reads].entries()) {
      const records = (found[index] as RangeResponse).kvs;
      hasChanged ||= !isSame(read.records, records);
      this.learned.set(id, { ...read, records, revision });
    }
    for (const response of found.slice(looks.length)) {
      hasChanged ||= this.revision > 0 && (response.kvs[0]?.modRevision ?? 0) > this.revision;
    }
    if (relied.length === 0) return 'condition';
    return hasChanged || conditions.length === 0 ? 'conflict' : 'condition';
  }

  private get isSnapshot(): boolean {
    return this.isolation === 'serializable-snapshot' || this.isolation === 'serializable';
  }

  private async read(range: Bytes | KeyRange, isRange: boolean): Promise<readonly KeyValue[]> {
    const id = idOf(range);
    const isFresh = this.isolation === 'read-committed';
    const cached = this.reads.get(id) ?? this.known.get(id);
    if (cached !== undefined && !isFresh) {
      this.reads.set(id, cached);
      return cached.records;
    }
    // The first read says as of when the others read; those begun beside it wait for that.
    while (this.opening !== null) await this.opening;
    const fetching = this.fetch(range);
    if (this.isSnapshot && this.revision === 0) {
      this.opening = fetching
        .catch(() => {})
        .then(() => {
          this.opening = null;
        });
    }
    const { records, revision } = await fetching;
    const read = isFresh ? undefined : this.reads.get(id);
    // Asked for twice at a time: what was answered first counts.
    if (read === undefined) this.reads.set(id, { range, records, revision, isRange });
    return read?.records ?? records;
  }

  private async fetch(range: Bytes | KeyRange): Promise<{ records: readonly KeyValue[]; revision: number }> {
    const request = { ...get(range, { revision: this.revision }).request.requestRange };
    const { header, kvs } = await this.client.kv.range(request, this.options);
    const revision = this.revision === 0 ? (header?.revision ?? 0) : this.revision;
    if (this.isSnapshot) this.revision = revision;
    return { records: kvs, revision };
  }

  /** What has to hold for the transaction to be as if it had been alone. */
  private reliedOn(): Compare[] {
    if (this.isolation === 'read-committed') return [];
    const compares = new Map<Key, Compare>();
    const ranges: Compare[] = [];
    for (const { isRange, range, records, revision } of this.reads.values()) {
      // Nothing in a range is newer, and everything that was there still is: then nothing has changed.
      if (isRange) ranges.push(key(range).modRevision.isBelow(revision + 1));
      else compares.set(keyFromBytes(toBytes(range as Bytes)), isAsRead(range as Bytes, records[0]));
      if (isRange) for (const record of records) compares.set(keyFromBytes(record.key), isAsRead(record.key, record));
    }
    if (this.isolation === 'serializable-snapshot' && this.revision > 0) {
      for (const write of this.unreadWrites()) ranges.push(key(write.key).modRevision.isBelow(this.revision + 1));
    }
    return [...compares.values(), ...ranges];
  }

  private unreadWrites(): Write[] {
    return [...this.writes.values()].filter((write) => !this.reads.has(idOf(write.key)));
  }

  private operations(): Operation<unknown>[] {
    return [...this.writes.values()].map(({ key: at, lease, value }) => {
      if (value === null) return remove(at);
      return put(at, value, lease === undefined ? {} : { lease });
    });
  }
}

function isAsRead(at: Bytes, record: KeyValue | undefined): Compare {
  return key(at).modRevision.equals(record?.modRevision ?? 0);
}

function isSame(before: readonly KeyValue[], now: readonly KeyValue[]): boolean {
  return (
    before.length === now.length &&
    before.every((record, index) => record.modRevision === now[index]?.modRevision && record.key.equals(now[index].key))
  );
}

function idOf(range: Bytes | KeyRange): string {
  if (typeof range === 'string' || !('rangeEnd' in range)) return `k${keyFromBytes(toBytes(range))}`;
  return `r${range.key.length} ${keyFromBytes(range.key)} ${keyFromBytes(range.rangeEnd)}`;
}

function isWithin(at: Key, { key: start, rangeEnd }: KeyRange): boolean {
  return inRange(at, keyFromBytes(start), keyFromBytes(rangeEnd));
}
