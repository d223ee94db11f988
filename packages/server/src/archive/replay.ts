/** The store of a past moment: a base, and the log behind it, applied by the state machine that members apply it by. */
import { createHash } from 'node:crypto';
import type { Backend } from '@etsd/backend';
import { CorruptionError, OperatorError } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { Store } from '@etsd/mvcc';
import { ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState } from '@etsd/proto';
import { type Disk, joinPath } from '@etsd/runtime';
import { Lessor, State } from '@etsd/state';
import { type LogEnd, RecordType, readSegments, segmentName } from '@etsd/wal';
import { checkSavedSnapshot } from '../snapshots/saved-file.ts';
import { checkStoreFile, type Pause, readBoltIntoBackend } from '../snapshots/store-file.ts';
import { writeNewFile, zstdUnpacked } from '../snapshots/zstd.ts';
import type { Chain } from './chain.ts';
import type { BaseManifest, Manifest, PieceManifest, Sample } from './manifest.ts';

/** Applied between two hand-overs to the backend. */
const COMMIT_ENTRIES = 1000;
const COMPACT_SLICE_RECORDS = 1000;
const ADVICE = 'Restore an earlier moment, from an older base if need be, or use the archive of another member.';

/** Where to end: at the last entry that is known to be committed, if not before. */
export interface ReplayEnd {
  /** The state that this revision left; `Infinity` for none in particular. */
  readonly revision: number;
  /** No entry behind this one; `Infinity` for all. */
  readonly index: number;
}

export const TO_THE_END: ReplayEnd = { revision: Number.POSITIVE_INFINITY, index: Number.POSITIVE_INFINITY };

export interface ReplayParts {
  readonly disk: Disk;
  readonly chain: Chain;
  /** For files that are unpacked; a few segments of the log and a base must fit. */
  readonly temporary: string;
  readonly pause: Pause;
}

/** What is packed in an object; throws at its end where that is not what was archived. */
export async function* contentOf({ disk, chain }: ReplayParts, manifest: Manifest): AsyncGenerator<Buffer> {
  const source = joinPath(chain.path, manifest.name);
  const hash = createHash('sha256');
  let rawBytes = 0;
  let bytes = 0;
  const read = (packed: Buffer): void => {
    hash.update(packed);
    bytes += packed.length;
  };
  for await (const piece of zstdUnpacked(disk, source, read)) {
    rawBytes += piece.length;
    yield piece;
  }
  if (bytes === manifest.bytes && rawBytes === manifest.rawBytes && hash.digest('hex') === manifest.sha256) return;
  throw new CorruptionError('archive: an object is not what its manifest says', source, ADVICE);
}

/** Puts a base into an empty store. */
export async function loadBase(parts: ReplayParts, base: BaseManifest, backend: Backend): Promise<void> {
  const { disk, temporary, pause } = parts;
  const path = joinPath(temporary, `${base.name}.unpacked`);
  try {
    await writeNewFile(disk, path, contentOf(parts, base));
    await checkSavedSnapshot(disk, path, pause);
    const file = await BoltFile.open(disk, path);
    try {
      await checkStoreFile(file, pause);
      await readBoltIntoBackend(file, backend, pause);
    } finally {
      await file.close();
    }
  } finally {
    await disk.remove(path);
  }
}

/**
 * A store that follows the log. Entries count once they are known to be committed: an entry that a later leader overwrote
 * is in the log too, and must not be applied.
 */
export class Replay {
  readonly backend: Backend;
  readonly store: Store;
  readonly state: State;
  /** Hears of every entry that was applied. */
  onApplied: ((index: number, revision: number) => void) | null = null;
  private readonly end: ReplayEnd;
  /** Not known to be committed, without gaps. */
  private pending: Entry[] = [];
  private uncommitted = 0;
  /** The entries behind the last that was applied are missing here, at the first place where they should stand. */
  private gap: string | null = null;

  /** Over a store that `loadBase` filled. */
  constructor(backend: Backend, base: BaseManifest, end: ReplayEnd) {
    this.backend = backend;
    this.end = end;
    this.store = new Store(backend);
    this.store.open();
    const lessor = new Lessor({ store: this.store, backend, ttlMinSeconds: base.leaseTtlMinSeconds });
    lessor.open();
    for (const [key, lease] of this.store.restoredLeases ?? []) lessor.attach(key, lease);
    this.store.restoredLeases = null;
    this.state = new State({ backend, store: this.store, lessor });
  }

  get isAtEnd(): boolean {
    return this.store.revision >= this.end.revision || this.state.appliedIndex >= this.end.index;
  }

  /** Reads the pieces, as `Chain.piecesBehind` has them, until the end is reached or nothing is left. */
  async run(parts: ReplayParts, pieces: readonly PieceManifest[]): Promise<void> {
    for (let first = 0; first < pieces.length && !this.isAtEnd; ) {
      const { sequence } = pieces[first] as PieceManifest;
      const behind = pieces.findIndex((piece, at) => at > first && piece.sequence !== sequence);
      const segment = pieces.slice(first, behind < 0 ? pieces.length : behind);
      await this.readSegment(parts, segment);
      await this.settle(parts.pause);
      first += segment.length;
    }
  }

  private async readSegment(parts: ReplayParts, pieces: readonly PieceManifest[]): Promise<void> {
    const { disk, temporary } = parts;
    const { sequence, index } = pieces[0] as PieceManifest;
    const name = segmentName(sequence, index);
    const path = joinPath(temporary, name);
    const last = pieces.at(-1) as PieceManifest;
    try {
      await writeNewFile(disk, path, joined(parts, pieces));
      const end = await readSegments(disk, temporary, [{ name, sequence, index }], this.record);
      checkEnd(end, last, joinPath(parts.chain.path, last.name));
    } finally {
      await disk.remove(path);
    }
    for (const { samples } of pieces) for (const sample of samples) this.applied(sample);
    if (this.gap !== null && !this.isAtEnd) throw new OperatorError(this.gap, ADVICE);
  }

  private readonly record = (type: number, data: Buffer): void => {
    if (type === RecordType.entry) this.entry(Entry.decode(data));
    else if (type === RecordType.hardState) this.commit(HardState.decode(data).commit);
  };

  /** An entry with an index that was there before comes from a newer leader and takes the place of all from there on. */
  private entry(entry: Entry): void {
    const applied = this.state.appliedIndex;
    if (entry.index <= applied || this.isAtEnd || this.gap !== null) return;
    const at = entry.index - applied - 1;
    if (at > this.pending.length) {
      const last = applied + this.pending.length;
      this.gap = `the log goes from entry ${last} to ${entry.index}: its member was sent the state between as a snapshot`;
      return;
    }
    this.pending.length = at;
    this.pending.push(entry);
  }

  /** The member had applied this entry, so it is committed, if it is the one that is here. */
  private applied({ index, term }: Sample): void {
    const at = index - this.state.appliedIndex - 1;
    if (at >= 0 && this.pending[at]?.term === term) this.commit(index);
  }

  private commit(index: number): void {
    const { pending, state, end } = this;
    const first = state.appliedIndex + 1;
    let count = 0;
    while (count < pending.length && first + count <= Math.min(index, end.index) && !this.isAtEnd) {
      this.apply(pending[count] as Entry);
      count++;
    }
    if (count > 0) this.pending = pending.slice(count);
  }

  private apply({ type, index, term, data }: Entry): void {
    const { state, store, backend } = this;
    // Who the members are is of no account: what is restored is another cluster.
    const sameMembers = (): ConfState => state.confState ?? new ConfState();
    if (type === EntryType.EntryConfChange) {
      state.applyConfChange(index, term, ConfChange.decode(data), sameMembers, null);
    } else if (type === EntryType.EntryConfChangeV2) {
      state.applyWideChange(index, term, ConfChangeV2.decode(data), sameMembers, null);
    } else if (data.length > 0) {
      state.apply(index, term, data, null);
    } else {
      state.applyEmpty(index, term);
    }
    if (++this.uncommitted % COMMIT_ENTRIES === 0) backend.commit();
    this.onApplied?.(index, store.revision);
  }

  /** Lets the store come after, so that no more waits in memory than one segment brings. */
  async settle(pause: Pause): Promise<void> {
    const { store, backend, state } = this;
    while (store.compacting && !store.compactSlice(COMPACT_SLICE_RECORDS)) {
      backend.commit();
      await pause();
    }
    state.saveProgress();
    await new Promise<void>((resolve, reject) => {
      backend.commit((error) => (error === null ? resolve() : reject(error)));
    });
  }
}

async function* joined(parts: ReplayParts, pieces: readonly PieceManifest[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield* contentOf(parts, piece);
}

/** The records must reach as far as the pieces do: an archive holds nothing but what is whole. */
function checkEnd({ position, torn }: LogEnd, last: PieceManifest, where: string): void {
  if (torn === null && (last.isEnd || position === last.to)) return;
  const text = torn ?? `the records end at byte ${position} of ${last.to}`;
  throw new CorruptionError(`archive: a piece of the log that is not whole: ${text}`, where, ADVICE);
}
