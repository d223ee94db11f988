/**
 * The leases as the log says they are: which exist, which keys hang on them, what a revoke deletes, and how much time a
 * checkpoint left. Every member has the same; what time it is now is known to the leader alone, which keeps deadlines
 * (`server/duties/lease-expiry.ts`) and says through the log which leases are to be revoked.
 *
 * Each lease is a record in the bucket `lease`, as etcd's: the id in eight bytes, big-endian, and a `leasepb.Lease`.
 * Which keys hang on it is not stored there: each key's record names its lease.
 */
import { type Key, ShardedMap, type U64, U64_ZERO, u64WriteBytes } from '@etsd/base';
import {
  ErrLeaseExist,
  ErrLeaseNotFound,
  ErrLeaseTTLTooLarge,
  type EtcdError,
  type LeaseCheckpointRequest,
  type LeaseGrantRequest,
  LeaseRecord,
  type LeaseRevokeRequest,
} from '@etsd/proto';

import { type Lease, LeaseTable } from './lease-table.ts';

/** The longest time to live that can be granted, in seconds. */
export const LEASE_TTL_MAX_SECONDS = 9_000_000_000;

const BUCKET = 'lease';
const NO_KEYS: readonly Key[] = [];

/** What the lessor needs of the store of keys: one transaction that deletes. */
export interface LessorStore {
  readonly revision: number;
  begin(): void;
  deleteRange(key: Key, rangeEnd: Key): number;
  end(): number;
}

/** Where leases are kept. */
export interface LessorBackend {
  put(bucket: 'lease', key: Buffer, value: Buffer): void;
  delete(bucket: 'lease', key: Buffer): void;
  scan(bucket: 'lease', from: Buffer | null, to: Buffer | null, visit: (key: Buffer, value: Buffer) => boolean): void;
}

/** Who keeps deadlines. Called while an entry is applied. */
export interface LeaseListener {
  granted(lease: Lease): void;
  revoked(lease: Lease): void;
  /** All leases were replaced by those of a snapshot. */
  replaced(): void;
}

/** Who waits for an entry's result. */
interface Waiter {
  done(result: unknown): void;
  fail(error: EtcdError): void;
}

/** Outcome of a grant, a revoke or a checkpoint; reused, valid only during `Waiter.done`. */
export class LeaseResult {
  id: U64 = U64_ZERO;
  /** Seconds, as granted. */
  ttl = 0;
  /** The store's revision afterwards. */
  revision = 0;
}

export interface LessorOptions {
  readonly store: LessorStore;
  readonly backend: LessorBackend;
  /** Shorter grants are raised to this, in seconds. The same on all members, since applying depends on it. */
  readonly ttlMinSeconds: number;
}

/** The shortest time to live for members that elect a leader in this time: one and a half elections, in seconds. */
export function leaseTtlMinSeconds(electionMs: number): number {
  return Math.ceil((1.5 * electionMs) / 1000);
}

export class Lessor {
  /** Hears of grants and revokes; null while nobody keeps deadlines. */
  listener: LeaseListener | null = null;
  /** By id. The order is that of the table: no one may rely on it for what the log says. */
  readonly leases = new LeaseTable();
  private readonly byKey = new ShardedMap<Lease>();
  private readonly options: LessorOptions;
  private readonly result = new LeaseResult();

  constructor(options: LessorOptions) {
    this.options = options;
  }

  /** Number of leases. */
  get size(): number {
    return this.leases.size;
  }

  /** Keys attached to any lease. */
  get attachedCount(): number {
    return this.byKey.size;
  }

  /**
   * Reads the leases from the backend, in place of those known before. The keys that hang on them are attached by
   * whoever reads the keys, in any order, before the first entry is applied.
   */
  open(): void {
    this.leases.clear();
    this.byKey.clear();
    this.options.backend.scan(BUCKET, null, null, (_key, value) => {
      const record = LeaseRecord.decode(value);
      this.leases.add(record.ID, record.TTL, record.remainingTTL);
      return true;
    });
    this.listener?.replaced();
  }

  /** Takes leases that were read aside in place of all known before. */
  adopt(reload: LessorReload): void {
    this.leases.become(reload.leases);
    this.byKey.become(reload.byKey);
    this.listener?.replaced();
  }

  has(id: U64): boolean {
    return this.leases.has(id);
  }

  get(id: U64): Lease | undefined {
    return this.leases.get(id);
  }

  /** The lease a key hangs on, or `U64_ZERO`. */
  leaseOf(key: Key): U64 {
    const lease = this.byKey.get(key);
    return lease === undefined ? U64_ZERO : lease.id;
  }

  /** The keys that hang on a lease, in no order; none where there is no such lease. */
  keysOf(id: U64): Iterable<Key> {
    return this.leases.get(id)?.keys() ?? NO_KEYS;
  }

  /** Hangs a key on a lease, and on no other. An unknown lease is none: such keys are left over from old stores. */
  attach(key: Key, id: U64): void {
    const lease = this.leases.get(id);
    const former = this.byKey.get(key);
    if (former !== undefined) {
      if (former === lease) return;
      former.letGo(key);
      this.byKey.delete(key);
    }
    if (lease === undefined) return;
    lease.hold(key);
    this.byKey.set(key, lease);
  }

  /** The key hangs on no lease any more. */
  detach(key: Key): void {
    const lease = this.byKey.get(key);
    if (lease === undefined) return;
    lease.letGo(key);
    this.byKey.delete(key);
  }

  // -- entries of the log ---------------------------------------------------------------------------------------------

  applyGrant(request: LeaseGrantRequest, waiter: Waiter | null): void {
    const id = request.ID;
    const error = this.refusal(id, request.TTL);
    if (error !== null) {
      waiter?.fail(error);
      return;
    }
    const lease = this.leases.add(id, Math.max(request.TTL, this.options.ttlMinSeconds), 0);
    this.persist(lease);
    this.listener?.granted(lease);
    this.answer(waiter, lease.id, lease.ttl);
  }

  private refusal(id: U64, ttl: number): EtcdError | null {
    if (id === U64_ZERO) return ErrLeaseNotFound;
    if (ttl > LEASE_TTL_MAX_SECONDS) return ErrLeaseTTLTooLarge;
    return this.leases.has(id) ? ErrLeaseExist : null;
  }

  /** Deletes the lease and, in one transaction, the keys that hang on it, in their order. */
  applyRevoke(request: LeaseRevokeRequest, waiter: Waiter | null): void {
    const lease = this.leases.get(request.ID);
    if (lease === undefined) {
      waiter?.fail(ErrLeaseNotFound);
      return;
    }
    const keys = lease.sortedKeys();
    if (keys.length > 0) {
      const store = this.options.store;
      store.begin();
      for (let index = 0; index < keys.length; index++) {
        const key = keys[index] as Key;
        store.deleteRange(key, '');
        this.byKey.delete(key);
      }
      store.end();
    }
    this.leases.delete(lease);
    this.options.backend.delete(BUCKET, idBytes(lease.id));
    this.listener?.revoked(lease);
    this.answer(waiter, lease.id, lease.ttl);
  }

  /** Notes how much time leases have left, so that the next leader does not start from the full time. */
  applyCheckpoint(request: LeaseCheckpointRequest, waiter: Waiter | null): void {
    for (const checkpoint of request.checkpoints) {
      const lease = this.leases.get(checkpoint.ID);
      if (lease === undefined) continue;
      lease.remaining = checkpoint.remainingTTL;
      this.persist(lease);
    }
    this.answer(waiter, U64_ZERO, 0);
  }

  private persist(lease: Lease): void {
    const record = LeaseRecord.create({ ID: lease.id, TTL: lease.ttl, remainingTTL: lease.remaining });
    this.options.backend.put(BUCKET, idBytes(lease.id), LeaseRecord.encode(record));
  }

  private answer(waiter: Waiter | null, id: U64, ttl: number): void {
    if (waiter === null) return;
    const result = this.result;
    result.id = id;
    result.ttl = ttl;
    result.revision = this.options.store.revision;
    waiter.done(result);
  }
}

/** Reads the leases of another state, and what hangs on them, in slices, while the present ones are in use. */
export class LessorReload {
  readonly leases = new LeaseTable();
  readonly byKey = new ShardedMap<Lease>();
  private readonly source: Pick<LessorBackend, 'scan'>;
  private readonly attached: Iterator<[Key, U64]>;
  private from: Buffer | null = null;
  private isRead = false;

  /** `attached` says of each key that has one its lease, as `Store.restoredLeases` does. */
  constructor(source: Pick<LessorBackend, 'scan'>, attached: Iterable<[Key, U64]>) {
    this.source = source;
    this.attached = attached[Symbol.iterator]();
  }

  /** Reads on for so many leases or keys; true once there are no more. */
  slice(count: number): boolean {
    let left = count;
    if (!this.isRead) {
      let next: Buffer | null = null;
      this.source.scan(BUCKET, this.from, null, (key, value) => {
        if (left-- === 0) {
          next = Buffer.from(key);
          return false;
        }
        const record = LeaseRecord.decode(value);
        this.leases.add(record.ID, record.TTL, record.remainingTTL);
        return true;
      });
      this.from = next;
      this.isRead = next === null;
      if (!this.isRead) return false;
    }
    for (; left > 0; left--) {
      const entry = this.attached.next();
      if (entry.done === true) return true;
      const [key, id] = entry.value;
      const lease = this.leases.get(id);
      if (lease === undefined) continue;
      lease.hold(key);
      this.byKey.set(key, lease);
    }
    return false;
  }
}

function idBytes(id: U64): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  u64WriteBytes(id, bytes, 0);
  return bytes;
}
