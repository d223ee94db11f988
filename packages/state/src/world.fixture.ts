/** The simplest possible parts for tests of applying: everything in plain maps, every version kept. */
import { inRange, type Key, type U64, U64_ZERO } from '@etsd/base';
import {
  ErrCompacted,
  ErrFutureRev,
  ErrLeaseExist,
  ErrLeaseNotFound,
  type EtcdError,
  encodeKeyValue,
  type LeaseGrantRequest,
  type LeaseRevokeRequest,
  writeRaftRequest,
} from '@etsd/proto';
import { State } from './apply.ts';
import type { BackendPort, LessorPort, RangeAnswer, RangeQuery, StorePort } from './ports.ts';
import type { Waiter } from './results.ts';

interface Version {
  readonly main: number;
  readonly sub: number;
  readonly create: number;
  readonly version: number;
  /** Null: a tombstone. */
  readonly record: Buffer | null;
}

/** A store that keeps every version of every key in a sorted map of arrays. */
export class PlainStore implements StorePort {
  revision = 1;
  compactRevision = -1;
  changes = 0;
  found = { mainRevision: 0, subRevision: 0, createRevision: 0, version: 0 };
  readonly keys = new Map<Key, Version[]>();

  get readRevision(): number {
    return this.revision + (this.changes > 0 ? 1 : 0);
  }

  begin(): void {
    this.changes = 0;
  }

  end(): number {
    if (this.changes > 0) this.revision++;
    this.changes = 0;
    return this.revision;
  }

  put(key: Key, value: Buffer, valueStart: number, valueEnd: number, lease: U64): void {
    const last = this.at(key, this.readRevision);
    const main = this.revision + 1;
    const create = last === undefined ? main : last.create;
    const version = last === undefined ? 1 : last.version + 1;
    const record = encodeKeyValue(key, create, main, version, value, valueStart, valueEnd, lease);
    this.append(key, { main, sub: this.changes++, create, version, record });
  }

  deleteRange(key: Key, rangeEnd: Key): number {
    const present = this.presentKeys(key, rangeEnd, this.readRevision);
    for (const name of present) {
      this.append(name, { main: this.revision + 1, sub: this.changes++, create: 0, version: 0, record: null });
    }
    return present.length;
  }

  lookup(key: Key, atRevision: number): boolean {
    const version = this.at(key, atRevision === 0 ? this.readRevision : atRevision);
    if (version === undefined) return false;
    this.found = {
      mainRevision: version.main,
      subRevision: version.sub,
      createRevision: version.create,
      version: version.version,
    };
    return true;
  }

  record(main: number, sub: number): Buffer {
    for (const versions of this.keys.values()) {
      for (const version of versions) {
        if (version.main === main && version.sub === sub && version.record !== null) return version.record;
      }
    }
    throw new Error('no such record');
  }

  recordToKeep(main: number, sub: number): Buffer {
    return this.record(main, sub);
  }

  range(key: Key, rangeEnd: Key, query: RangeQuery, answer: RangeAnswer): EtcdError | null {
    if (query.revision > this.readRevision) return ErrFutureRev;
    const revision = query.revision <= 0 ? this.readRevision : query.revision;
    if (revision < this.compactRevision) return ErrCompacted;
    const keys = this.presentKeys(key, rangeEnd, revision);
    answer.count = keys.length;
    answer.more = query.limit > 0 && keys.length > query.limit && !query.countOnly;
    const shown = query.countOnly ? [] : query.limit > 0 ? keys.slice(0, query.limit) : keys;
    answer.records = shown.map((name) => this.at(name, revision)?.record as Buffer);
    return null;
  }

  compact(revision: number): EtcdError | null {
    if (revision <= this.compactRevision) return ErrCompacted;
    if (revision > this.revision) return ErrFutureRev;
    this.compactRevision = revision;
    return null;
  }

  private append(key: Key, version: Version): void {
    const versions = this.keys.get(key);
    if (versions === undefined) this.keys.set(key, [version]);
    else versions.push(version);
  }

  private at(key: Key, revision: number): Version | undefined {
    const version = this.keys.get(key)?.findLast((candidate) => candidate.main <= revision);
    return version === undefined || version.record === null ? undefined : version;
  }

  private presentKeys(key: Key, rangeEnd: Key, revision: number): Key[] {
    return [...this.keys.keys()].filter((name) => inRange(name, key, rangeEnd) && this.at(name, revision)).sort();
  }
}

/** Buckets in maps. `commit` runs the hooks. */
export class PlainBackend implements BackendPort {
  readonly buckets = new Map<string, Map<string, Buffer>>();
  private readonly hooks: (() => void)[] = [];

  put(bucket: string, key: Buffer, value: Buffer): void {
    this.bucket(bucket).set(key.toString('latin1'), value);
  }

  delete(bucket: string, key: Buffer): void {
    this.bucket(bucket).delete(key.toString('latin1'));
  }

  get(bucket: string, key: Buffer): Buffer | null {
    return this.bucket(bucket).get(key.toString('latin1')) ?? null;
  }

  scan(bucket: string, from: Buffer | null, to: Buffer | null, visit: (key: Buffer, value: Buffer) => boolean): void {
    const entries = [...this.bucket(bucket)].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, value] of entries) {
      if (from !== null && name < from.toString('latin1')) continue;
      if (to !== null && name >= to.toString('latin1')) return;
      if (!visit(Buffer.from(name, 'latin1'), value)) return;
    }
  }

  beforeCommit(hook: () => void): void {
    this.hooks.push(hook);
  }

  commit(): void {
    for (const hook of this.hooks) hook();
  }

  text(bucket: string, key: string): string | undefined {
    return this.bucket(bucket).get(key)?.toString('latin1');
  }

  private bucket(name: string): Map<string, Buffer> {
    let bucket = this.buckets.get(name);
    if (bucket === undefined) {
      bucket = new Map();
      this.buckets.set(name, bucket);
    }
    return bucket;
  }
}

/** Leases without time. */
export class PlainLessor implements LessorPort {
  readonly leases = new Set<U64>();
  readonly attached = new Map<Key, U64>();

  get attachedCount(): number {
    return this.attached.size;
  }

  has(id: U64): boolean {
    return this.leases.has(id);
  }

  attach(key: Key, id: U64): void {
    this.attached.set(key, id);
  }

  detach(key: Key): void {
    this.attached.delete(key);
  }

  leaseOf(key: Key): U64 {
    return this.attached.get(key) ?? U64_ZERO;
  }

  keysOf(id: U64): Key[] {
    return [...this.attached].filter(([, lease]) => lease === id).map(([key]) => key);
  }

  applyGrant(request: LeaseGrantRequest, waiter: Waiter | null): void {
    if (this.leases.has(request.ID)) {
      waiter?.fail(ErrLeaseExist);
      return;
    }
    this.leases.add(request.ID);
    waiter?.done(request.ID);
  }

  applyRevoke(request: LeaseRevokeRequest, waiter: Waiter | null): void {
    if (!this.leases.delete(request.ID)) waiter?.fail(ErrLeaseNotFound);
    else waiter?.done(request.ID);
  }

  applyCheckpoint(_request: unknown, waiter: Waiter | null): void {
    waiter?.done(null);
  }
}

/** A waiter that keeps a deep copy of what it is told, since results are reused. */
export class Probe implements Waiter {
  result: unknown = undefined;
  error: EtcdError | null = null;
  answers = 0;

  done(result: unknown): void {
    this.answers++;
    this.result = copy(result);
  }

  fail(error: EtcdError): void {
    this.answers++;
    this.error = error;
  }
}

function copy(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(copy);
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) out[name] = copy(field);
  return out;
}

/** A state over plain parts, and the log that made it. */
export class Bench {
  readonly backend = new PlainBackend();
  readonly store = new PlainStore();
  readonly lessor = new PlainLessor();
  readonly state = new State({ backend: this.backend, store: this.store, lessor: this.lessor });
  readonly log: Buffer[] = [];
  index = 0;

  /** Applies one request as the next entry of term 1. */
  apply(field: number, body: Buffer, waited = true): Probe {
    return this.applyAs('', 0, field, body, waited);
  }

  /** The same for a user, as it was known at an auth revision. */
  applyAs(user: string, authRevision: number, field: number, body: Buffer, waited = true): Probe {
    const probe = new Probe();
    const data = writeRaftRequest(field, body, 0, body.length, 1, this.index + 1, user, authRevision);
    this.log.push(data);
    this.state.apply(++this.index, 1, data, waited ? probe : null);
    return probe;
  }
}
