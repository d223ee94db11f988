import { type Backend, META_FINISHED_COMPACT_REV } from '@etsd/backend';
import { assert, faultPoint, type Key } from '@etsd/base';
import { type CompactionHashes, KnownHash, type KvHash } from './hash.ts';
import type { KeyIndex } from './key-index.ts';
import { HASH_BYTES_PER_RECORD } from './limits.ts';
import { revisionKey, sharedRevisionKey } from './revision.ts';

/** How many keys are looked at in the time it takes to remove a record. */
const LOOKS_PER_RECORD = 8;

/** What compacting works on. */
export interface CompactSource {
  readonly index: KeyIndex;
  readonly backend: Backend;
  /** The oldest revision that somebody reading in slices still needs; infinite where there is nobody. */
  readonly pinnedRevision: number;
  /** The key in a record, which may be a deletion's. */
  keyOfRecord(main: number, sub: number, isTombstone: boolean): Key;
}

/**
 * Removes what no reader at or above a revision can see, in slices. Of each key the newest revision up to there is
 * kept, unless it is a deletion from before. It goes over the slots of the index, not over the records: only keys that
 * have something to give up cost more than a look.
 *
 * Interrupted anywhere it leaves a store that reads the same: the records of a key are removed oldest first, so that a
 * deletion is never gone before what it deleted. After a restart the work simply begins anew.
 */
export class Compaction {
  private readonly source: CompactSource;
  private readonly targetRevision: number;
  /** Computed before anything is removed; null where it is not wanted, or done. */
  private hash: KvHash | null;
  private readonly hashes: CompactionHashes;
  private slot = 0;
  /** Up to where this pass removes: the target, or less where a reader is in the way. */
  private passRevision = -1;
  private inPass = false;
  removedRecords = 0;

  /** `hash` is driven to its end first and then added to `hashes`. */
  constructor(source: CompactSource, targetRevision: number, hash: KvHash | null, hashes: CompactionHashes) {
    this.source = source;
    this.targetRevision = targetRevision;
    this.hash = hash;
    this.hashes = hashes;
  }

  get target(): number {
    return this.targetRevision;
  }

  /**
   * Removes about `budget` records, or hashes as many, or looks at several times as many keys that have nothing to
   * remove; true once everything is removed and the store says so.
   */
  slice(budget: number): boolean {
    const { index, backend } = this.source;
    if (this.hash !== null) {
      if (!this.hash.slice(budget * HASH_BYTES_PER_RECORD)) return false;
      const { hash, hashRevision, compactRevision, keepsOnlyDeletions } = this.hash;
      // Who has yet to get here computes another one for these revisions, and would be taken for damaged.
      if (!keepsOnlyDeletions) this.hashes.add(new KnownHash(hash, hashRevision, compactRevision));
      this.hash = null;
    }
    if (!this.inPass) {
      const limit = Math.min(this.targetRevision, this.source.pinnedRevision);
      // Nothing new to remove until the reader in the way is gone.
      if (limit <= this.passRevision) return false;
      this.passRevision = limit;
      this.inPass = true;
    }
    faultPoint('compaction.batch');
    let left = budget * LOOKS_PER_RECORD;
    const end = index.slotsEnd;
    while (this.slot < end) {
      if (left <= 0) return false;
      left -= 1 + this.compactSlot(this.slot, Math.ceil(left / LOOKS_PER_RECORD)) * LOOKS_PER_RECORD;
      if (!this.slotDone) continue;
      this.slot++;
    }
    this.slot = 0;
    this.inPass = false;
    if (this.passRevision < this.targetRevision) return false;
    faultPoint('compaction.finish.before');
    backend.put('meta', META_FINISHED_COMPACT_REV, revisionKey(this.targetRevision, 0));
    faultPoint('compaction.finished');
    return true;
  }

  private slotDone = false;

  /** Removes up to `most` records of a slot; returns how many. */
  private compactSlot(slot: number, most: number): number {
    const { index } = this.source;
    this.slotDone = true;
    if (!index.isTaken(slot)) return 0;
    const revision = Math.min(this.passRevision, this.source.pinnedRevision);
    const obsolete = index.obsolete(slot, revision);
    const removed = Math.min(obsolete, most);
    for (let i = 0; i < removed; i++) {
      this.remove(index.formerMain(slot, i), index.formerSub(slot, i), index.formerIsTombstone(slot, i));
    }
    if (removed > 0) index.dropFormer(slot, removed);
    if (removed < obsolete) {
      this.slotDone = false;
      return removed;
    }
    // A deletion at exactly the revision stays: a watcher that begins there must still hear of it.
    const main = index.main(slot);
    if (index.version(slot) > 0 || main >= revision || index.listLength(slot) > 0) return removed;
    const sub = index.sub(slot);
    const key = this.source.keyOfRecord(main, sub, true);
    this.remove(main, sub, true);
    index.remove(key, slot);
    return removed + 1;
  }

  private remove(main: number, sub: number, isTombstone: boolean): void {
    assert(main <= this.targetRevision, 'only the compacted past is removed');
    this.source.backend.delete('key', sharedRevisionKey(main, sub, isTombstone));
    this.removedRecords++;
  }
}
