/**
 * The store as a bbolt file, in both directions. The buckets are etcd's, with etcd's keys and values; what lies in our
 * backend is the same already, so records only change their container.
 */
import { type Backend, type BackendReader, BUCKETS, type Bucket, type RecordCursor } from '@etsd/backend';
import { CorruptionError, OperatorError } from '@etsd/base';
import { type BoltFile, type BoltPlace, BoltWriter, checkBoltFile } from '@etsd/boltfile';
import { isRevisionKey, isTombstoneKey } from '@etsd/mvcc';
import { KeyValueView } from '@etsd/proto';

/** What is moved between two looks at the clock: about half a millisecond of the event loop. */
const SLICE_RECORDS = 200;
const SLICE_BYTES = 64 * 1024;
/** Of what is read: bytes that may wait for the engine. */
const PENDING_BYTES_MAX = 16 * 1024 * 1024;

/** A bucket that etcd's own tests leave behind. */
const IGNORED_BUCKET = 'test';

/** Written between two syncs: one of everything at the end would hold up whoever syncs to the same disk. */
export const SYNC_BYTES = 1024 * 1024;

/** Gives everybody else their turn, if it is time to (`turns.ts`). */
export type Pause = () => Promise<void>;

export interface WriteOptions {
  /** Awaited between slices. */
  readonly pause: Pause;
  /** Whether file and name are to survive a crash of the machine. */
  readonly isDurable: boolean;
  /** Whether the file is encrypted where the disk encrypts. */
  readonly isSealed?: boolean;
  /** As `BoltWriterOptions`. */
  readonly onlyMeasures?: boolean;
  /** Moved between two pauses; by default what an event loop can bear. */
  readonly sliceBytes?: () => number;
}

/**
 * Writes everything in `source`, which must not change meanwhile, to a new file at `path`; its size in bytes. Leaves
 * nothing behind where that fails. Memory stays within a few slices, whatever the size of the store.
 */
export async function writeStoreToBolt(
  source: BackendReader,
  disk: BoltPlace,
  path: string,
  { pause, isDurable, isSealed = false, onlyMeasures = false, sliceBytes = () => SLICE_BYTES }: WriteOptions,
): Promise<number> {
  const writer = await BoltWriter.create(disk, path, { isSealed, onlyMeasures });
  try {
    for (const bucket of BUCKETS) {
      writer.beginBucket(bucket);
      const cursor = source.cursor?.(bucket);
      const copy =
        cursor === undefined
          ? new BucketCopy(source, bucket, writer, sliceBytes)
          : new CursorCopy(cursor, writer, sliceBytes);
      while (!copy.slice()) {
        if (writer.isBacklogged) await writer.drain();
        await pause();
      }
      writer.endBucket();
    }
    return await writer.finish(isDurable);
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** Moves one bucket, a slice at a time. */
class BucketCopy {
  private readonly source: BackendReader;
  private readonly bucket: Bucket;
  private readonly writer: BoltWriter;
  private readonly sliceBytes: () => number;
  private bytesMax = 0;
  private recordsMax = 0;
  private from: Buffer | null = null;
  private records = 0;
  private bytes = 0;

  constructor(source: BackendReader, bucket: Bucket, writer: BoltWriter, sliceBytes: () => number) {
    this.source = source;
    this.bucket = bucket;
    this.writer = writer;
    this.sliceBytes = sliceBytes;
  }

  /** True once nothing is left. */
  slice(): boolean {
    const { from } = this;
    this.bytesMax = this.sliceBytes();
    this.recordsMax = recordsIn(this.bytesMax);
    this.from = null;
    this.records = 0;
    this.bytes = 0;
    this.source.scan(this.bucket, from, null, this.visit);
    return this.from === null;
  }

  private readonly visit = (key: Buffer, value: Buffer): boolean => {
    if (this.records >= this.recordsMax || this.bytes >= this.bytesMax) {
      this.from = Buffer.from(key);
      return false;
    }
    this.writer.add(key, value);
    this.records++;
    this.bytes += key.length + value.length;
    return true;
  };
}

/** The same with a cursor. */
class CursorCopy {
  private readonly cursor: RecordCursor;
  private readonly writer: BoltWriter;
  private readonly sliceBytes: () => number;

  constructor(cursor: RecordCursor, writer: BoltWriter, sliceBytes: () => number) {
    this.cursor = cursor;
    this.writer = writer;
    this.sliceBytes = sliceBytes;
  }

  /** True once nothing is left. */
  slice(): boolean {
    const { cursor, writer } = this;
    const bytesMax = this.sliceBytes();
    const recordsMax = recordsIn(bytesMax);
    let bytes = 0;
    for (let records = 0; records < recordsMax && bytes < bytesMax; records++) {
      if (!cursor.next()) return true;
      writer.addPlace(cursor);
      bytes += cursor.keyEnd - cursor.keyStart + cursor.valueEnd - cursor.valueStart;
    }
    return false;
  }
}

/** What may be moved at once of records that are small. */
function recordsIn(bytes: number): number {
  return Math.ceil((SLICE_RECORDS * bytes) / SLICE_BYTES);
}

/**
 * Reads the whole file and throws where it is damaged, or is no store that this version can take: better before anybody
 * relies on it than while it is installed. `visit` is shown the records of known buckets on the way, those of one in order;
 * what it is shown is valid for that call.
 */
export async function checkStoreFile(
  file: BoltFile,
  pause: Pause,
  visit: (bucket: Bucket, key: Buffer, value: Buffer) => void = () => {},
): Promise<void> {
  const records = new RecordCheck(file);
  let found = 0;
  await checkBoltFile(file, pause, (bucket, leaf) => {
    if (bucket.depth === 0) {
      for (let index = 0; index < leaf.count; index++) {
        const name = leaf.key(index).toString('latin1');
        if (!leaf.isBucket(index)) throw notStore(file, 'a record lies outside of all buckets', `key ${name}`);
        if (name === 'key' || name === 'meta') found++;
        else if (name !== IGNORED_BUCKET && !isBucket(name)) throw unknownBucket(file, name);
      }
      return;
    }
    const name = bucket.name.toString('latin1');
    const known = isBucket(name) ? name : null;
    for (let index = 0; index < leaf.count; index++) {
      if (leaf.isBucket(index)) throw nestedBucket(file, name);
      const key = leaf.key(index);
      const value = leaf.value(index);
      if (name === 'key') records.check(key, value);
      if (known !== null) visit(known, key, value);
    }
  });
  if (found < 2) throw notStore(file, 'the buckets "key" and "meta" are not both there', 'pages of its root');
}

/** Whether records of the bucket `key` are such. */
class RecordCheck {
  private readonly file: BoltFile;
  private readonly view = new KeyValueView();

  constructor(file: BoltFile) {
    this.file = file;
  }

  check(key: Buffer, value: Buffer): void {
    const { view } = this;
    let isRecord = isRevisionKey(key);
    try {
      view.parse(value, 0, value.length);
    } catch {
      isRecord = false;
    }
    // An empty one is what a restore with `--bump-revision` leaves.
    if (isRecord && (isTombstoneKey(key) || view.version > 0 || value.length === 0)) return;
    throw notStore(this.file, 'a record is none', `bucket key, record ${key.toString('hex', 0, 32)}`);
  }
}

/**
 * Puts everything in the file into `target`, an empty backend, and commits it; flushing is left to the caller. Reading
 * checks the whole of every bucket. Throws a `CorruptionError` where the file is damaged and an `OperatorError` where it
 * holds something that this version does not know.
 */
export async function readBoltIntoBackend(file: BoltFile, target: Backend, pause: Pause): Promise<void> {
  let unsynced = 0;
  for (const bucket of await file.buckets()) {
    const name = bucket.name.toString('latin1');
    if (name === IGNORED_BUCKET) continue;
    if (!isBucket(name)) throw unknownBucket(file, name);
    const cursor = file.leaves(bucket);
    let records = 0;
    let bytes = 0;
    for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
      for (let index = 0; index < leaf.count; index++) {
        if (leaf.isBucket(index)) throw nestedBucket(file, name);
        const key = leaf.key(index);
        const value = leaf.value(index);
        // The value is a view of bytes that nobody changes.
        target.put(name, key, value);
        records++;
        bytes += key.length + value.length;
      }
      if (records < SLICE_RECORDS && bytes < SLICE_BYTES) continue;
      // Not waited for each time: the engine puts several batches into one transaction where the disk is slow.
      if (target.pendingBytes > PENDING_BYTES_MAX) await committed(target);
      else target.commit();
      await pause();
      unsynced += bytes;
      if (unsynced > SYNC_BYTES) {
        await target.flush();
        unsynced = 0;
      }
      records = 0;
      bytes = 0;
    }
  }
  await committed(target);
}

function isBucket(name: string): name is Bucket {
  return (BUCKETS as readonly string[]).includes(name);
}

function unknownBucket(file: BoltFile, name: string): OperatorError {
  return new OperatorError(
    `${file.path} has a bucket "${name}", which this version does not know`,
    'It comes from a newer version; use that one here too.',
  );
}

function nestedBucket(file: BoltFile, name: string): CorruptionError {
  return notStore(file, 'a bucket lies within one of the store', `bucket ${name}`);
}

function notStore(file: BoltFile, what: string, where: string): CorruptionError {
  const advice = 'Use another copy of this file, or take a new snapshot from a healthy member.';
  return new CorruptionError(what, `${file.path}, ${where}`, advice);
}

function committed(target: Backend): Promise<void> {
  return new Promise((resolve, reject) => {
    target.commit((error) => (error === null ? resolve() : reject(error)));
  });
}
