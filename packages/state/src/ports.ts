/**
 * What applying needs of the parts underneath, narrowed to what is used: the store of keys, the backend that holds
 * everything else, the leases. Production hands in one class for each, so calls stay monomorphic.
 */
import type { Key, U64 } from '@etsd/base';
import type { EtcdError, LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest } from '@etsd/proto';
import type { Waiter } from './results.ts';

/** Where a version of a key was found; reused, valid until the next lookup. */
export interface FoundVersion {
  readonly mainRevision: number;
  readonly subRevision: number;
  readonly createRevision: number;
  readonly version: number;
}

/** What a range asks for; a decoded RangeRequest satisfies it. */
export interface RangeQuery {
  readonly limit: number;
  readonly revision: number;
  readonly sortOrder: number;
  readonly sortTarget: number;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  readonly minModRevision: number;
  readonly maxModRevision: number;
  readonly minCreateRevision: number;
  readonly maxCreateRevision: number;
}

/** What a range answers; filled in by the store. */
export interface RangeAnswer {
  records: Buffer[];
  count: number;
  more: boolean;
}

/** The keys and their history (mvcc's Store). */
export interface StorePort {
  readonly revision: number;
  /** -1 where there never was a compaction. */
  readonly compactRevision: number;
  /** Within a write transaction: the revision that reads in it see, one more than before once it has changed anything. */
  readonly readRevision: number;
  /** Changes of the running write transaction. */
  readonly changes: number;
  readonly found: FoundVersion;
  begin(): void;
  put(key: Key, value: Buffer, valueStart: number, valueEnd: number, lease: U64): void;
  deleteRange(key: Key, rangeEnd: Key): number;
  end(): number;
  lookup(key: Key, atRevision: number): boolean;
  /** The stored bytes of a record, valid until the next call. */
  record(mainRevision: number, subRevision: number): Buffer;
  /** The same, to keep: the bytes stay as they are. */
  recordToKeep(mainRevision: number, subRevision: number): Buffer;
  range(key: Key, rangeEnd: Key, query: RangeQuery, answer: RangeAnswer): EtcdError | null;
  compact(revision: number): EtcdError | null;
}

/** Ordered buckets of bytes. */
export interface BackendPort {
  put(bucket: string, key: Buffer, value: Buffer): void;
  delete(bucket: string, key: Buffer): void;
  get(bucket: string, key: Buffer): Buffer | null;
  scan(bucket: string, from: Buffer | null, to: Buffer | null, visit: (key: Buffer, value: Buffer) => boolean): void;
  beforeCommit(hook: () => void): void;
}

/** Which leases exist and which keys hang on them. */
export interface LeasePort {
  /** Keys attached to any lease. */
  readonly attachedCount: number;
  has(id: U64): boolean;
  attach(key: Key, id: U64): void;
  detach(key: Key): void;
  /** The lease a key hangs on, or `U64_ZERO`. */
  leaseOf(key: Key): U64;
  /** The keys that hang on a lease, in no order; none where there is no such lease. */
  keysOf(id: U64): Iterable<Key>;
}

/** The leases as the log changes them. */
export interface LessorPort extends LeasePort {
  applyGrant(request: LeaseGrantRequest, waiter: Waiter | null): void;
  applyRevoke(request: LeaseRevokeRequest, waiter: Waiter | null): void;
  applyCheckpoint(request: LeaseCheckpointRequest, waiter: Waiter | null): void;
}
