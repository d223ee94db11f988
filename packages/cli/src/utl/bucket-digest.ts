/** The checksum of a bucket's keys and values, taken by several threads at once. */
import { availableParallelism } from 'node:os';
import {
  type BoltBucket,
  type BoltFile,
  joinDigests,
  type LeafDigest,
  PageSet,
  type ScannedFile,
  type Subtree,
} from '@etsd/boltfile';
import { nodeWorld } from '@etsd/runtime/node';
import { digestParts, type PartsResult, type PartsTask, upTo, withScan } from './part-digests.ts';
import { threadModule } from './world.ts';

/** Threads, with this one. Each costs a tenth of a second to start and some ten megabytes. */
const THREADS_MAX = 3;
/** Below this nothing is gained by starting one. */
const SHARED_BYTES_MIN = 64 * 1024 * 1024;
/** What is taken at once should be small beside the whole: the last thread to end is waited for. */
const PARTS_MIN = 64;

/**
 * All of one bucket, which must lie in a plain file, or its records up to a revision. Throws a `CorruptionError` where the
 * file is damaged.
 */
export async function digestBucket(
  file: BoltFile,
  bucket: BoltBucket,
  revision: number | null = null,
): Promise<LeafDigest> {
  const scanned = scannedFile(file);
  const filter = upTo(revision);
  const { inline, rootPage } = bucket;
  if (inline !== null) return withScan(scanned, filter, (scan) => scan.digestInline(inline));
  const whole: Subtree = { page: rootPage, low: null, high: null };
  if (file.size < SHARED_BYTES_MIN) return withScan(scanned, filter, (scan) => scan.digest(whole));
  const parts = withScan(scanned, filter, (scan) => scan.split(whole, PARTS_MIN));
  const task: PartsTask = { file: scanned, parts, next: new Int32Array(new SharedArrayBuffer(4)), revision };
  const results = await shared(task, Math.min(THREADS_MAX, availableParallelism(), parts.length));
  for (const { damaged } of results) {
    if (damaged >= 0) withScan(scanned, filter, (scan) => scan.digest(parts[damaged] as Subtree));
  }
  const outOfOrder = (): Error => file.pages.damaged(rootPage, 'its parts are out of order, or one is there twice');
  mergeSeen(file, results, outOfOrder);
  const digests = parts.map((_, part) => results.flatMap(({ digests: own }) => own.get(part) ?? [])[0] as LeafDigest);
  return joinDigests(digests, outOfOrder);
}

export function scannedFile({ path, meta: { pageSize, pageCount } }: BoltFile): ScannedFile {
  return { path, pageSize, pageCount };
}

/** This thread takes its share too, and the first parts while the others begin. */
async function shared(task: PartsTask, threads: number): Promise<PartsResult[]> {
  const { workers } = nodeWorld();
  try {
    const module = threadModule('part-digests');
    const others = Array.from({ length: threads - 1 }, () => workers.run(module, 'digestParts', [task]));
    // Whoever waits for all of them hears of it.
    for (const other of others) other.catch(() => {});
    const own = digestParts(task);
    return [own, ...((await Promise.all(others)) as PartsResult[])];
  } finally {
    await workers.close();
  }
}

/** No page belongs to two parts. */
function mergeSeen(file: BoltFile, results: readonly PartsResult[], twice: () => Error): void {
  const all = new PageSet(file.meta.pageCount);
  for (const { seen } of results) {
    for (let at = 0; at < seen.length; at++) {
      if (((all.bits[at] as number) & (seen[at] as number)) !== 0) throw twice();
      all.bits[at] = (all.bits[at] as number) | (seen[at] as number);
    }
  }
}
