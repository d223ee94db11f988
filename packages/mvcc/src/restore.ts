import type { BackendSnapshot } from '@etsd/backend';
import { META_FINISHED_COMPACT_REV, META_SCHEDULED_COMPACT_REV } from '@etsd/backend';
import { CorruptionError, type Key, keyFromBytes, type U64, U64_ZERO } from '@etsd/base';
import { KeyValueView } from '@etsd/proto';
import type { KeyIndex } from './key-index.ts';
import { isRevisionKey, isTombstoneKey, revisionMain, revisionSub } from './revision.ts';

/**
 * Builds the index from the records of a store, in slices. Records lie in the order of revisions, so each one is the
 * newest of its key so far. Closes the snapshot at the end.
 */
export class Restore {
  /** Set at the end. */
  revision = 1;
  compactRevision = -1;
  /** A compaction that was begun and not finished, or 0. */
  scheduledCompactRevision = 0;
  /** The lease each key hangs on; keys without one are left out. */
  readonly leases = new Map<Key, U64>();

  readonly index: KeyIndex;
  private readonly source: BackendSnapshot;
  private readonly view = new KeyValueView();
  private next: Buffer | null = null;
  private left = 0;

  constructor(index: KeyIndex, source: BackendSnapshot) {
    this.index = index;
    this.source = source;
    const finished = this.readMeta(META_FINISHED_COMPACT_REV);
    const scheduled = this.readMeta(META_SCHEDULED_COMPACT_REV);
    this.compactRevision = finished;
    if (scheduled > Math.max(0, finished)) this.scheduledCompactRevision = scheduled;
    this.revision = Math.max(1, finished, scheduled);
  }

  /** Reads on for this many records; true once all is read. */
  slice(records: number): boolean {
    this.left = records;
    const from = this.next;
    this.next = null;
    this.source.scan('key', from, null, (key, value) => this.visit(key, value));
    if (this.next !== null) return false;
    this.source.close();
    return true;
  }

  private visit(key: Buffer, value: Buffer): boolean {
    if (this.left-- === 0) {
      this.next = Buffer.from(key);
      return false;
    }
    if (!isRevisionKey(key)) throw corrupt(key, 'its key is no revision');
    const main = revisionMain(key);
    const sub = revisionSub(key);
    const view = this.view;
    try {
      view.parse(value, 0, value.length);
    } catch (cause) {
      throw corrupt(key, 'it is no KeyValue', cause);
    }
    const name = keyFromBytes(value, view.keyStart, view.keyEnd);
    const index = this.index;
    if (isTombstoneKey(key)) {
      index.restore(name, main, sub, 0, 0, 0);
      if (this.leases.size > 0) this.leases.delete(name);
    } else {
      // An empty record is what a restore with `--bump-revision` leaves: it lifts the revision, and belongs to a key
      // without a name, which no request can ask for but hashes count.
      const version = value.length === 0 ? 1 : view.version;
      if (version < 1) throw corrupt(key, 'it has no version');
      index.restore(name, main, sub, view.createRevision, version, value.length);
      if (view.lease !== U64_ZERO) this.leases.set(name, view.lease);
      else if (this.leases.size > 0) this.leases.delete(name);
    }
    if (main > this.revision) this.revision = main;
    return true;
  }

  private readMeta(name: Buffer): number {
    const value = this.source.get('meta', name);
    return value === null ? -1 : revisionMain(value);
  }
}

function corrupt(key: Buffer, what: string, cause?: unknown): CorruptionError {
  return new CorruptionError(
    `a record of the store cannot be read: ${what}`,
    `bucket key, record ${key.toString('hex')}`,
    'Restore this member from a snapshot, or remove it and add it anew.',
    { cause },
  );
}
