/** The store as one would write it without a thought for speed: every version of every key in arrays. */
import { crc32c, inRange, type Key, type U64, U64_ZERO } from '@etsd/base';
import { encodeKeyValue } from '@etsd/proto';
import type { RangeOptions } from './range.ts';
import { revisionKey } from './revision.ts';

export interface ModelVersion {
  key: Key;
  main: number;
  sub: number;
  create: number;
  version: number;
  value: string;
  lease: U64;
  /** A tombstone's is the key alone. */
  record: Buffer;
  deleted: boolean;
}

export class Model {
  revision = 1;
  compactRevision = -1;
  changes = 0;
  /** All versions ever, in order. */
  versions: ModelVersion[] = [];
  readonly byKey = new Map<Key, ModelVersion[]>();

  get readRevision(): number {
    return this.changes > 0 ? this.revision + 1 : this.revision;
  }

  end(): number {
    if (this.changes > 0) this.revision++;
    this.changes = 0;
    return this.revision;
  }

  put(key: Key, value: string, lease: U64): void {
    const before = this.at(key, this.readRevision);
    const main = this.revision + 1;
    const create = before?.create ?? main;
    const version = (before?.version ?? 0) + 1;
    const bytes = Buffer.from(value, 'latin1');
    const record = encodeKeyValue(key, create, main, version, bytes, 0, bytes.length, lease);
    this.push({ key, main, sub: this.changes++, create, version, value, lease, record, deleted: false });
  }

  deleteRange(key: Key, rangeEnd: Key): number {
    const present = this.keysIn(key, rangeEnd, this.readRevision);
    for (const { key: name } of present) {
      const record = Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name, 'latin1')]);
      const main = this.revision + 1;
      this.push({
        key: name,
        main,
        sub: this.changes++,
        create: 0,
        version: 0,
        value: '',
        lease: U64_ZERO,
        record,
        deleted: true,
      });
    }
    return present.length;
  }

  at(key: Key, revision: number): ModelVersion | null {
    const found = this.byKey.get(key)?.findLast((version) => version.main <= revision);
    return found === undefined || found.deleted ? null : found;
  }

  keysIn(key: Key, rangeEnd: Key, revision: number): ModelVersion[] {
    const found: ModelVersion[] = [];
    for (const name of [...this.byKey.keys()].sort()) {
      const version = inRange(name, key, rangeEnd) ? this.at(name, revision) : null;
      if (version !== null) found.push(version);
    }
    return found;
  }

  /** Ranges with the rules of etcd, in the order etcd applies them. */
  range(key: Key, rangeEnd: Key, options: RangeOptions): { records: Buffer[]; count: number; more: boolean } | string {
    if (options.revision > this.readRevision) return 'future';
    const revision = options.revision <= 0 ? this.readRevision : options.revision;
    if (options.revision > 0 && revision < this.compactRevision) return 'compacted';
    let found = this.keysIn(key, rangeEnd, revision);
    const count = found.length;
    if (options.countOnly) return { records: [], count, more: false };
    const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision, limit } = options;
    const filtered = minModRevision + maxModRevision + minCreateRevision + maxCreateRevision > 0;
    if (options.sortOrder === 0 && !filtered && limit > 0) found = found.slice(0, limit + 1);
    if (maxModRevision > 0) found = found.filter((v) => v.main <= maxModRevision);
    if (minModRevision > 0) found = found.filter((v) => v.main >= minModRevision);
    if (maxCreateRevision > 0) found = found.filter((v) => v.create <= maxCreateRevision);
    if (minCreateRevision > 0) found = found.filter((v) => v.create >= minCreateRevision);
    let order = options.sortOrder;
    if (order === 0 && options.sortTarget !== 0) order = 1;
    if (order !== 0) {
      const sign = order === 2 ? -1 : 1;
      const by = [
        (v: ModelVersion) => v.key,
        (v: ModelVersion) => v.version,
        (v: ModelVersion) => v.create,
        (v: ModelVersion) => v.main,
        (v: ModelVersion) => v.value,
      ][options.sortTarget] as (v: ModelVersion) => string | number;
      found = found.slice().sort((a, b) => (by(a) < by(b) ? -sign : by(a) > by(b) ? sign : 0));
    }
    const more = limit > 0 && found.length > limit;
    if (more) found = found.slice(0, limit);
    return { records: found.map((version) => version.record), count, more };
  }

  compact(revision: number): string | null {
    if (revision <= this.compactRevision) return 'compacted';
    if (revision > this.revision) return 'future';
    this.compactRevision = revision;
    return null;
  }

  /** What a finished compaction leaves of the records. */
  survivors(): ModelVersion[] {
    const limit = this.compactRevision;
    return this.versions.filter((version) => {
      if (version.main > limit) return true;
      const newest = this.byKey.get(version.key)?.findLast((other) => other.main <= limit);
      if (newest !== version) return false;
      return !version.deleted || version.main === limit;
    });
  }

  /** HashKV over the given records, by the rules written down for etcd; a compaction keeps deletions of its revision. */
  hashKv(records: readonly ModelVersion[], revision: number, compacting = false): number {
    const kept = new Set<ModelVersion>();
    for (const key of this.byKey.keys()) {
      const version = this.at(key, revision);
      if (version !== null) kept.add(version);
      const newest = this.byKey.get(key)?.findLast((other) => other.main <= revision);
      if (compacting && newest?.main === revision) kept.add(newest);
    }
    let hash = crc32c(Buffer.from('key'));
    for (const version of records) {
      if (version.main > revision) continue;
      if (version.main <= this.compactRevision && !kept.has(version)) {
        // Where there is nothing to keep all counts that is there, but for what the compaction has yet to remove.
        if (kept.size > 0 || this.at(version.key, this.compactRevision) !== version) continue;
      }
      if (version.main === this.compactRevision && version.deleted) continue;
      hash = crc32c(revisionKey(version.main, version.sub, version.deleted), 0, version.deleted ? 18 : 17, hash);
      hash = crc32c(version.record, 0, version.record.length, hash);
    }
    return hash;
  }

  private push(version: ModelVersion): void {
    this.versions.push(version);
    const list = this.byKey.get(version.key);
    if (list === undefined) this.byKey.set(version.key, [version]);
    else list.push(version);
  }
}
