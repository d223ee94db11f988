/**
 * The write-ahead log: what a member has promised, in the order it promised it, in etcd's format. Rule 1 of the house
 * (nothing is acknowledged before it is durable) is kept here: a callback of `save` without an error is the promise that
 * the entries can be read back after any crash.
 */
import {
  assert,
  CorruptionError,
  EMPTY,
  faultPoint,
  type Logger,
  OperatorError,
  silentLogger,
  U64_ZERO,
} from '@etsd/base';
import { type Entry, HardState, WalSnapshot } from '@etsd/proto';
import {
  type DiskCallback,
  type DiskFile,
  joinPath,
  type LockedFiles,
  parentPath,
  SEAL_HEAD_BYTES,
  type Sealing,
  type World,
} from '@etsd/runtime';
import { ADVICE_DAMAGED } from './advice.ts';
import { type Batch, type BatchSink, GroupCommit } from './group-commit.ts';
import { FILL_AHEAD_BYTES, FILL_PIECE_BYTES, SEGMENT_BYTES, SEGMENTS_MAX, SLOW_SYNC_MS } from './limits.ts';
import { NextSegment, temporaryPath } from './next-segment.ts';
import { readSegments } from './reader.ts';
import { BatchBuffer, RecordEncoder } from './record.ts';
import { clearFrom, isCut, keepCopy, type Repair, rewriteEnd, synced } from './repair.ts';
import { finish, LogCollector, type LogPosition, type ReplayedLog } from './replay.ts';
import { Room } from './room.ts';
import { SegmentSealer, sealedBytes } from './sealed-segment.ts';
import {
  type FillOptions,
  type HeldSegment,
  listSegments,
  openTail,
  type SegmentName,
  segmentName,
  segmentsFrom,
  type TailSegment,
} from './segment.ts';

/** Is told of every batch that reached the disk. */
export interface WalObserver {
  /**
   * `durationMs` from the call into the system to its answer, for `bytes` of records. They end at `end` of the content of
   * the segment with this sequence number; what lies before that is on disk and never changes.
   */
  synced(durationMs: number, bytes: number, sequence: number, end: number): void;
  /**
   * There was no room to get more of the log ready ahead of its use. What is ready still takes records, a few megabytes
   * at least; a record beyond that would be the end of the log.
   */
  outOfSpace?(): void;
}

export interface WalOptions {
  /** Length of a segment; see `SEGMENT_BYTES`. */
  readonly segmentBytes?: number;
  /** Segments kept though released; see `SEGMENTS_MAX`. */
  readonly segmentsMax?: number;
  /** Zeros kept written ahead; 0 for none. See `FILL_AHEAD_BYTES`. */
  readonly fillAheadBytes?: number;
  /** Report as durable what is only handed to the system: a crash of the machine may lose or damage the log. */
  readonly unsafeNoSync?: boolean;
  readonly observer?: WalObserver;
  readonly logger?: Logger;
  /** An entry that the log is known to have held: where it ends before that, it is not mended but refused. */
  readonly leastIndex?: number;
  /** Whether the member with this metadata is the only voter: what its log says is committed was durable here before. */
  readonly isAlone?: (metadata: Buffer) => boolean;
}

/** A log that was opened, and what was in it. */
export interface OpenedWal {
  readonly wal: Wal;
  /** What `Wal.create` was given: an encoded `WalMetadata`. */
  readonly metadata: Buffer;
  /** The last one saved; all zero where none was. */
  readonly hardState: HardState;
  /** In order and without gaps, beginning right behind the snapshot. */
  readonly entries: Entry[];
  /** What was done if a crash had left the end of the log torn; worth telling the operator. */
  readonly repair: Repair | null;
}

interface Settings {
  readonly fill: FillOptions;
  readonly segmentsMax: number;
  readonly durable: boolean;
  readonly observer: WalObserver | null;
  readonly logger: Logger;
}

function settingsOf(options: WalOptions): Settings {
  const fill = {
    segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
    aheadBytes: options.fillAheadBytes ?? FILL_AHEAD_BYTES,
    pieceBytes: FILL_PIECE_BYTES,
    outOfSpace: () => options.observer?.outOfSpace?.(),
  };
  return {
    fill,
    segmentsMax: options.segmentsMax ?? SEGMENTS_MAX,
    durable: options.unsafeNoSync !== true,
    observer: options.observer ?? null,
    logger: options.logger ?? silentLogger,
  };
}

/** Where an open log stands. */
interface Standing {
  readonly metadata: Buffer;
  readonly hardState: HardState;
  readonly lastIndex: number;
  readonly crc: number;
  /** Where the next record goes in the last segment. */
  readonly position: number;
  /** Bytes of records in it. */
  readonly content: number;
  /** What encrypts it; `null` while it is plain. */
  readonly sealer: SegmentSealer | null;
}

export class Wal implements BatchSink {
  /** Of the last entry saved, or of a snapshot ahead of it. */
  lastIndex: number;
  private readonly world: World;
  private readonly directory: string;
  private readonly settings: Settings;
  private readonly metadata: Buffer;
  private readonly encoder: RecordEncoder;
  private readonly commits: GroupCommit;
  /** The last hard state saved; a copy, since callers may reuse theirs. */
  private readonly hardState = new HardState();
  /** All segments on disk, in order; the last one is the tail. Those before the snapshot we started from are not held. */
  private readonly segments: HeldSegment[];
  private readonly files: LockedFiles;
  private tail: TailSegment;
  private readonly room: Room;
  private readonly next: NextSegment;
  /** Where the next batch goes, and where the one under way went. */
  private position: number;
  private batchPosition = 0;
  /** Bytes of records in the segment up to the end of the last batch: what `position` is, unless it is encrypted. */
  private content: number;
  /** Keys, where segments are to be encrypted; and what encrypts the last one. */
  private readonly sealing: Sealing | null;
  private sealer: SegmentSealer | null;
  /** Bytes at the start of the gathering batch that only open a segment or mark it, and alone are not worth writing. */
  private headBytes = 0;
  private batch: Batch | null = null;
  private batchDone: DiskCallback | null = null;
  /** Of the batch being written, as it lies on the disk. */
  private startedBytes: Buffer = EMPTY;
  private startedLength = 0;
  private startedMs = 0;
  private purging: Promise<void> = Promise.resolve();
  private isClosed = false;

  private constructor(
    place: { world: World; directory: string; settings: Settings },
    segments: HeldSegment[],
    tail: TailSegment,
    standing: Standing,
  ) {
    this.world = place.world;
    this.directory = place.directory;
    this.settings = place.settings;
    this.segments = segments;
    this.files = place.world.disk.lockedFiles(place.directory);
    this.files.prepare();
    this.tail = tail;
    const { durable, fill } = place.settings;
    this.room = new Room(place.world.timers, fill.outOfSpace);
    this.next = new NextSegment({ ...place, files: this.files, durable, fill, room: this.room });
    this.metadata = standing.metadata;
    this.lastIndex = standing.lastIndex;
    this.position = standing.position;
    this.content = standing.content;
    this.sealing = sealingOf(place.world);
    this.sealer = standing.sealer;
    this.encoder = new RecordEncoder(standing.crc);
    this.commits = new GroupCommit(this, place.world.timers);
    this.keepState(standing.hardState);
    const { gathering } = this.commits;
    if (standing.position >= this.settings.fill.segmentBytes || this.isKeyOutdated()) {
      this.openSegmentWith(gathering, tail.segment.sequence + 1);
      return;
    }
    if (standing.position === 0) this.writeHead(gathering);
    this.tail.filler.advance(this.position);
  }

  /** Whether there is a log in the directory. */
  static async exists(world: World, directory: string): Promise<boolean> {
    return (await listSegments(world.disk, directory)).length > 0;
  }

  /**
   * Makes an empty log. It is made under another name, synced and then moved, so that a crash leaves either nothing or
   * all of it. Fails where a log exists.
   */
  static async create(world: World, directory: string, metadata: Buffer, options: WalOptions = {}): Promise<Wal> {
    const { disk } = world;
    if (await Wal.exists(world, directory)) {
      throw new OperatorError(
        `wal: metadata already exists: there is a log in ${directory}`,
        'Start with the existing data, or choose an empty data directory.',
      );
    }
    const settings = settingsOf(options);
    const { durable, fill } = settings;
    const temporary = `${directory}.tmp`;
    const segment = { name: segmentName(0, 0), sequence: 0, index: 0 };
    const encoder = new RecordEncoder();
    const head = new BatchBuffer(1024, 1024);
    encoder.checksum(head);
    encoder.metadata(head, metadata);
    encoder.snapshot(head, new WalSnapshot());
    const sealing = sealingOf(world);
    const sealer = sealing === null ? null : SegmentSealer.begin(sealing, segment.name);
    const { bytes, length } = sealer === null ? head : sealer.seal(head, 0);
    await disk.remove(temporary);
    await disk.makeDirectory(temporary);
    const file = await disk.open(joinPath(temporary, segment.name), 'create');
    try {
      await file.truncate(Math.max(fill.segmentBytes, length));
      await writeAt(file, bytes, length, 0);
      await synced(file);
    } finally {
      await file.close();
    }
    await disk.syncDirectory(temporary);
    await disk.rename(temporary, directory);
    await disk.syncDirectory(parentPath(directory));
    const lock = await disk.lock(joinPath(directory, segment.name));
    const tail = await openTail(disk, joinPath(directory, segment.name), segment, length, { durable, fill });
    const place = { position: length, content: head.length, sealer };
    const standing = { metadata, hardState: HardState.zero, lastIndex: 0, crc: encoder.crc, ...place };
    return new Wal({ world, directory, settings }, [{ segment, lock }], tail, standing);
  }

  /**
   * Opens the log and reads what follows `start`, the position of the snapshot that is restored (index 0, term 0 for
   * none). A torn tail is cut off. Fails with `CorruptionError` on damage anywhere else, with `OperatorError` if the log
   * does not belong to that snapshot, and with code `ELOCKED` if another process has it open.
   */
  static async open(world: World, directory: string, start: LogPosition, options: WalOptions = {}): Promise<OpenedWal> {
    const { disk } = world;
    const settings = settingsOf(options);
    const all = await listSegments(disk, directory);
    const wanted = segmentsFrom(directory, all, start.index);
    const segments: HeldSegment[] = [];
    for (const segment of all) {
      const isWanted = wanted.includes(segment);
      segments.push({ segment, lock: isWanted ? await disk.lock(joinPath(directory, segment.name)) : null });
    }
    try {
      const collector = new LogCollector(start);
      const end = await readSegments(disk, directory, wanted, collector.visit);
      const log = finish(collector, end, directory, start);
      checkEnd(joinPath(directory, end.segment.name), log, collector.lastIndex, options);
      const repair = await keepCopy(disk, directory, end);
      const path = joinPath(directory, end.segment.name);
      const tail = await openTail(disk, path, end.segment, end.position, settings);
      await rewriteEnd(tail.plainFile, end.position);
      await clearFrom(tail.plainFile, end.position, settings.fill.segmentBytes);
      await disk.remove(temporaryPath(directory, 0));
      await disk.remove(temporaryPath(directory, 1));
      // A process killed between a rename and the sync of the directory leaves names that only look durable.
      await disk.syncDirectory(directory);
      await disk.syncDirectory(parentPath(directory));
      const { metadata, hardState, entries } = log;
      const { crc, position, content, sealed } = end;
      const sealer = sealed === null ? null : SegmentSealer.resume(sealed.head, sealed.tag);
      const standing = { metadata, hardState, lastIndex: collector.lastIndex, crc, position, content, sealer };
      const wal = new Wal({ world, directory, settings }, segments, tail, standing);
      return { wal, metadata, hardState, entries, repair };
    } catch (error) {
      for (const segment of segments) await segment.lock?.release();
      throw error;
    }
  }

  /** Why the log takes nothing any more, or `null` while it does. */
  get failure(): Error | null {
    return this.commits.failure;
  }

  /**
   * Saves `entries[from, to)` and the hard state, unless that is `null`. `done` is called when both are durable, or with
   * the reason why the log has failed for good; in the order of the calls. It is called before this returns if nothing
   * has to be durable (no entries, term and vote as before) and nobody waits.
   *
   * What is saved until the end of this turn of the event loop, or while the disk is busy, shares one write and sync.
   * Nothing of the arguments is kept.
   */
  save(hardState: HardState | null, entries: readonly Entry[], from: number, to: number, done: DiskCallback): void {
    assert(!this.isClosed, 'nothing is saved to a closed log');
    const batch = this.commits.gathering;
    let mustSync = to > from;
    for (let index = from; index < to; index++) this.encoder.entry(batch, entries[index] as Entry);
    if (to > from) this.lastIndex = (entries[to - 1] as Entry).index;
    if (hardState !== null && !isEmptyState(hardState)) {
      mustSync ||= hardState.term !== this.hardState.term || hardState.vote !== this.hardState.vote;
      this.keepState(hardState);
      this.encoder.hardState(batch, hardState);
    }
    this.commits.add(mustSync, done);
  }

  /** Notes that a snapshot of this position is on disk: replay can start from it. Durable when `done` is called. */
  saveSnapshot(snapshot: WalSnapshot, done: DiskCallback): void {
    assert(!this.isClosed, 'nothing is saved to a closed log');
    this.encoder.snapshot(this.commits.gathering, snapshot);
    if (this.lastIndex < snapshot.index) this.lastIndex = snapshot.index;
    this.commits.add(true, done);
  }

  /** Starts writing what has been saved now, not at the end of the turn, if the disk is free. */
  flush(): void {
    this.commits.flush();
  }

  /**
   * Says that nothing before the entry at `index` will be read again. The oldest segments that are not needed any more
   * are removed in the background, as long as there are more than `segmentsMax`.
   */
  releaseTo(index: number): void {
    this.purging = this.purging
      .then(() => this.purge(index))
      .catch((error: unknown) => {
        this.settings.logger.log('warn', 'failed to remove an old log segment', { error: String(error) });
      });
  }

  /** Writes what has been saved, closes the files and gives up the locks. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.room.close();
    if (this.failure === null && (this.commits.gathering.length > this.headBytes || !this.commits.isIdle)) {
      await new Promise<void>((resolve) => {
        this.commits.add(true, () => resolve());
        this.commits.flush();
      });
    }
    await this.purging;
    await this.next.drop();
    await this.files.close();
    await this.tail.close();
    for (const segment of this.segments) await segment.lock?.release();
  }

  // -- batches --------------------------------------------------------------------------------------------------------

  /** Part of `BatchSink`: decides where the batch goes, and whether the next one opens a segment. */
  sealed(batch: Batch, next: Batch): void {
    const isNew = batch.opens !== null;
    this.batchPosition = isNew ? 0 : this.position;
    this.position = this.batchPosition + this.bytesOnDisk(batch);
    this.content = (isNew ? 0 : this.content) + batch.length;
    this.headBytes = 0;
    const mustCut = this.position >= this.settings.fill.segmentBytes || (!isNew && this.isKeyOutdated());
    if (mustCut) this.openSegmentWith(next, (batch.opens ?? this.tail.segment).sequence + 1);
    else if (this.settings.durable && this.sealing === null) this.markBegin(next);
  }

  /**
   * A batch begins with the checksum of all before it. It is not written before that is durable, so whoever finds it
   * behind a hole knows that the hole is no unfinished write. Encrypted batches have frames that say the same.
   */
  private markBegin(batch: Batch): void {
    this.encoder.checksum(batch);
    this.headBytes = batch.length;
  }

  /** Part of `BatchSink`. */
  writeBatch(batch: Batch, done: DiskCallback): void {
    this.batch = batch;
    this.batchDone = done;
    if (batch.opens !== null) {
      this.cut(batch, batch.opens).then(
        () => this.batchWritten(null),
        (error: Error) => this.batchWritten(error),
      );
    } else {
      this.tail.filler.claim(this.position, this.startWrite);
    }
  }

  private readonly startWrite = (): void => {
    const batch = this.batch as Batch;
    this.startedMs = this.world.clock.nowMs();
    const { bytes, length } = this.sealer === null ? batch : this.sealer.seal(batch, this.batchPosition);
    this.startedBytes = bytes;
    this.startedLength = length;
    this.tail.file.write(bytes, 0, length, this.batchPosition, this.batchTaken);
  };

  private readonly batchTaken = (error: Error | null): void => {
    if (error === null || !this.room.retry(error, this.writeAgain)) this.batchWritten(error);
  };

  private readonly writeAgain = (): void => {
    this.tail.file.write(this.startedBytes, 0, this.startedLength, this.batchPosition, this.batchTaken);
  };

  /** What a batch takes of its segment. */
  private bytesOnDisk(batch: Batch): number {
    if (this.sealing === null) return batch.length;
    return sealedBytes(batch.length) + (batch.opens === null ? 0 : SEAL_HEAD_BYTES);
  }

  /** Whether what is written now is to be encrypted with another key than the last segment is, or than none. */
  private isKeyOutdated(): boolean {
    return this.sealing !== null && this.sealer?.keyId !== this.sealing.keys.newest?.id;
  }

  private readonly batchWritten = (error: Error | null): void => {
    const done = this.batchDone as DiskCallback;
    const bytes = (this.batch as Batch).length;
    const end = this.position;
    this.batch = null;
    this.batchDone = null;
    if (error !== null) {
      done(this.brokenBy(error));
      return;
    }
    this.observe(bytes);
    this.tail.filler.advance(end);
    if (!this.isClosed) this.next.keepUp(this.tail, end);
    done(null);
  };

  private observe(bytes: number): void {
    const { observer, logger } = this.settings;
    const durationMs = this.world.clock.nowMs() - this.startedMs;
    observer?.synced(durationMs, bytes, this.tail.segment.sequence, this.content);
    if (durationMs > SLOW_SYNC_MS) logger.log('warn', 'slow fdatasync', { tookMs: durationMs, bytes });
  }

  private brokenBy(error: Error): OperatorError {
    const path = joinPath(this.directory, this.tail.segment.name);
    return new OperatorError(
      `wal: cannot write ${path}: ${error.message}`,
      'The log takes nothing any more, since what is on the disk is unknown. Mend the disk or make room, then restart.',
      { cause: error },
    );
  }

  // -- segments -------------------------------------------------------------------------------------------------------

  /** Lets `batch`, which is empty, begin with the head of a new segment. */
  private openSegmentWith(batch: Batch, sequence: number): void {
    const index = this.lastIndex + 1;
    batch.opens = { name: segmentName(sequence, index), sequence, index };
    this.writeHead(batch);
  }

  /** The records every segment begins with: the checksum to go on from, whose log it is, what was promised last. */
  private writeHead(batch: Batch): void {
    this.encoder.checksum(batch);
    this.encoder.metadata(batch, this.metadata);
    if (!isEmptyState(this.hardState)) this.encoder.hardState(batch, this.hardState);
    this.headBytes = batch.length;
  }

  /**
   * Makes a new segment the tail and `batch` its content. It gets its name only when the content is durable: a segment
   * that has its name has its head.
   */
  private async cut(batch: Batch, segment: SegmentName): Promise<void> {
    const { disk, clock } = this.world;
    const { tail, lock, path } = await this.next.take(this.tail, this.bytesOnDisk(batch));
    const finalPath = joinPath(this.directory, segment.name);
    faultPoint('wal.cut.before');
    this.sealer = this.sealing === null ? null : SegmentSealer.begin(this.sealing, segment.name);
    const { bytes, length } = this.sealer === null ? batch : this.sealer.seal(batch, 0);
    this.startedMs = clock.nowMs();
    await this.room.insist(() => writeAt(tail.file, bytes, length, 0));
    await this.room.insist(() => disk.rename(path, finalPath));
    if (this.settings.durable) await disk.syncDirectory(this.directory);
    const old = this.tail;
    this.tail = tail;
    tail.segment = segment;
    this.segments.push({ segment, lock });
    this.next.used();
    faultPoint('wal.cut.after');
    await old.close();
    this.settings.logger.log('info', 'created a new WAL segment', { path: finalPath });
  }

  private async purge(index: number): Promise<void> {
    const { disk } = this.world;
    const segments = this.segments;
    // The last segment that begins before `index` may hold the entry itself.
    while (segments.length > this.settings.segmentsMax && (segments[1] as HeldSegment).segment.index < index) {
      const oldest = segments[0] as HeldSegment;
      const path = joinPath(this.directory, oldest.segment.name);
      faultPoint('wal.release.before');
      if (oldest.lock === null) await disk.remove(path);
      else await this.files.remove(path, oldest.lock);
      segments.splice(0, 1);
      faultPoint('wal.release.after');
      this.settings.logger.log('info', 'purged a log segment', { path });
    }
  }

  private keepState(state: HardState): void {
    this.hardState.term = state.term;
    this.hardState.vote = state.vote;
    this.hardState.commit = state.commit;
  }
}

/**
 * Refuses an end that no crash can have left, before anything is mended: one that was promised to reach further, or that
 * of a file which somebody cut, since it was made longer than what was written to it.
 */
function checkEnd(path: string, { end, metadata }: ReplayedLog, lastIndex: number, options: WalOptions): void {
  const { leastIndex = 0, segmentBytes = SEGMENT_BYTES } = options;
  const where = `${path} at byte ${end.position}`;
  if (isCut(end, segmentBytes)) {
    const problem = `wal: the file was cut to ${end.fileBytes} bytes: ${end.torn ?? 'nothing stands behind its last record'}`;
    throw new CorruptionError(problem, where, ADVICE_DAMAGED);
  }
  const why = end.torn === null ? '' : `, at ${end.torn}`;
  if (end.promised > lastIndex && options.isAlone?.(metadata) === true) {
    const problem = `intact records behind it say that entry ${end.promised} is committed, the log ends at ${lastIndex}${why}`;
    throw new CorruptionError(problem, where, ADVICE_DAMAGED);
  }
  if (lastIndex >= leastIndex) return;
  const problem = `the database contains entry ${leastIndex}, but the log ends at ${lastIndex}${why}`;
  throw new CorruptionError(problem, where, ADVICE_DAMAGED);
}

function sealingOf({ disk }: World): Sealing | null {
  return disk.sealing?.isOn === true ? disk.sealing : null;
}

function isEmptyState(state: HardState): boolean {
  return state.term === 0 && state.vote === U64_ZERO && state.commit === 0;
}

function writeAt(file: DiskFile, bytes: Buffer, length: number, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(bytes, 0, length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}
