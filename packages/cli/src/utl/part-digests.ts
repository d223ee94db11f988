/** The checksums of a file's parts, as far as one thread takes them. */
import { closeSync, openSync, readSync } from 'node:fs';
import { CorruptionError } from '@etsd/base';
import { type LeafDigest, LeafScan, type RecordFilter, type ScannedFile, type Subtree } from '@etsd/boltfile';

export interface PartsTask {
  readonly file: ScannedFile;
  readonly parts: readonly Subtree[];
  /** One number, shared by all threads: the first part that nobody has taken. */
  readonly next: Int32Array;
  /** Only records up to this revision count; null for all, and where keys are no revisions. */
  readonly revision: number | null;
}

const TWO_32 = 0x1_0000_0000;

/** What a thread found. */
export interface PartsResult {
  /** By number of the part. */
  readonly digests: ReadonlyMap<number, LeafDigest>;
  /** The pages that were reached, a bit each. */
  readonly seen: Uint8Array;
  /** A part that is damaged, or −1. */
  readonly damaged: number;
}

/** Gives `use` a scan of the file, of the records that pass the filter. */
export function withScan<T>(file: ScannedFile, filter: RecordFilter | null, use: (scan: LeafScan) => T): T {
  const fd = openSync(file.path, 'r');
  const read = (target: Buffer, position: number): number => readSync(fd, target, 0, target.length, position);
  try {
    return use(new LeafScan(file, read, filter));
  } finally {
    closeSync(fd);
  }
}

/** The main part of the revision that begins here. */
export function revisionAt(bytes: Buffer, start: number): number {
  return bytes.readUInt32BE(start) * TWO_32 + bytes.readUInt32BE(start + 4);
}

export function upTo(revision: number | null): RecordFilter | null {
  return revision === null ? null : (bytes, keyStart) => revisionAt(bytes, keyStart) <= revision;
}

/** Takes parts until none is left. Also runs in threads of its own. */
export function digestParts({ file, parts, next, revision }: PartsTask): PartsResult {
  const digests = new Map<number, LeafDigest>();
  const take = (): number => Atomics.add(next, 0, 1);
  return withScan(file, upTo(revision), (scan) => {
    const seen = scan.seen.bits;
    for (let part = take(); part < parts.length; part = take()) {
      try {
        digests.set(part, scan.digest(parts[part] as Subtree));
      } catch (error) {
        // An error loses its class on its way between threads: whoever started them looks at that part again.
        if (error instanceof CorruptionError) return { digests, seen, damaged: part };
        throw error;
      }
    }
    return { digests, seen, damaged: -1 };
  });
}
