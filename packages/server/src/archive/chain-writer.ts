/** Writing the objects of one chain. */
import { createHash } from 'node:crypto';
import type { Logger } from '@etsd/base';
import { type Disk, joinPath } from '@etsd/runtime';
import { listSegments, openContent, type SegmentName } from '@etsd/wal';
import type { Pause } from '../snapshots/store-file.ts';
import { filePieces, writeNewFile, zstdPacked, zstdUnpacked } from '../snapshots/zstd.ts';
import { type Chain, follows } from './chain.ts';
import {
  type BaseManifest,
  baseName,
  encodeManifest,
  MANIFEST_SUFFIX,
  type Manifest,
  type PieceManifest,
  pieceName,
  type Sample,
} from './manifest.ts';

/** As fast as it gets: what is packed here comes at the rate at which clients write. */
const LEVEL = 1;
const PART_SUFFIX = '.part';

/** Counts what flows by. */
class Counted {
  bytes = 0;

  async *of(content: AsyncIterable<Buffer>, pause: Pause): AsyncGenerator<Buffer> {
    for await (const piece of content) {
      this.bytes += piece.length;
      yield piece;
      await pause();
    }
  }
}

/** Takes the digest of what flows by: of what is packed already, which is less. */
class Digested {
  private readonly hash = createHash('sha256');

  async *of(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of content) {
      this.hash.update(piece);
      yield piece;
    }
  }

  get sha256(): string {
    return this.hash.digest('hex');
  }
}

export interface ChainWriterParts {
  readonly disk: Disk;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly pause: Pause;
}

/** A stretch of a segment that is to be archived. */
export interface Stretch {
  readonly segment: SegmentName;
  readonly from: number;
  readonly to: number;
  readonly isEnd: boolean;
}

/** Adds objects to a chain. One at a time. */
export class ChainWriter {
  readonly path: string;
  /** Of the last object. */
  serial: number;
  /** The last piece; null where nothing can be continued. */
  last: PieceManifest | null;
  /** Everything that is in the chain, in no order. */
  readonly manifests: Manifest[];
  private readonly parts: ChainWriterParts;

  constructor(chain: Chain, parts: ChainWriterParts) {
    this.path = chain.path;
    this.parts = parts;
    this.manifests = chain.manifests;
    this.serial = this.manifests.reduce((most, { serial }) => Math.max(most, serial), 0);
    this.last = chain.runs.at(-1)?.pieces.at(-1) ?? null;
  }

  /** Removes what a crash left behind: parts, and objects that never got their manifest. */
  async clean(): Promise<void> {
    const { disk } = this.parts;
    const known = new Set(this.manifests.flatMap(({ name }) => [name, `${name}${MANIFEST_SUFFIX}`]));
    for (const name of await disk.list(this.path)) {
      if (name.endsWith(PART_SUFFIX) || (name.endsWith('.zst') && !known.has(name))) {
        await disk.remove(joinPath(this.path, name));
      }
    }
  }

  /** Puts a stretch of the log into the archive. */
  async addPiece(walDirectory: string, stretch: Stretch, samples: readonly Sample[]): Promise<PieceManifest> {
    const { disk } = this.parts;
    const { segment, from, to, isEnd } = stretch;
    const name = pieceName(segment, from, to);
    const file = await openContent(disk, walDirectory, segment);
    try {
      const written = await this.write(name, filePieces(file, from, to));
      const { sequence, index } = segment;
      const manifest: PieceManifest = { kind: 'piece', ...written, sequence, index, from, to, isEnd, samples };
      await this.register(manifest);
      this.last = manifest;
      return manifest;
    } finally {
      await file.close();
    }
  }

  /** Puts a copy of the store into the archive, as a file that `snapshot restore` takes once it is unpacked. */
  async addBase(content: AsyncIterable<Buffer>, at: Sample, leaseTtlMinSeconds: number): Promise<BaseManifest> {
    const written = await this.write(baseName(at.index), withChecksum(content));
    const manifest: BaseManifest = { kind: 'base', ...written, at, leaseTtlMinSeconds };
    await this.register(manifest);
    return manifest;
  }

  /** Takes an object out, its manifest first: what a crash leaves is removed at the next start. */
  async remove(manifest: Manifest): Promise<void> {
    const { disk } = this.parts;
    await disk.remove(joinPath(this.path, `${manifest.name}${MANIFEST_SUFFIX}`));
    await disk.remove(joinPath(this.path, manifest.name));
    this.manifests.splice(this.manifests.indexOf(manifest), 1);
  }

  private async write(name: string, content: AsyncIterable<Buffer>) {
    const { disk, pause, nowMs } = this.parts;
    const path = joinPath(this.path, name);
    const part = `${path}${PART_SUFFIX}`;
    const raw = new Counted();
    const digested = new Digested();
    await disk.remove(part);
    const bytes = await writeNewFile(disk, part, digested.of(zstdPacked(raw.of(content, pause), LEVEL)));
    await disk.rename(part, path);
    const serial = this.serial + 1;
    return { name, serial, bytes, sha256: digested.sha256, rawBytes: raw.bytes, timeMs: nowMs() };
  }

  /** The manifest makes the object count; its directory is synced with it, and the object's name so too. */
  private async register(manifest: Manifest): Promise<void> {
    const path = joinPath(this.path, `${manifest.name}${MANIFEST_SUFFIX}`);
    await this.parts.disk.writeFileAtomic(path, encodeManifest(manifest), { sealed: true });
    this.serial = manifest.serial;
    this.manifests.push(manifest);
  }

  /**
   * Whether the log in this directory is the one that the chain ends in: what was archived last still stands there, or
   * was removed since. A data directory that was put back from a copy goes another way.
   */
  async isContinuedBy(walDirectory: string): Promise<boolean> {
    const { disk, pause } = this.parts;
    const { last } = this;
    if (last === null) return true;
    const segments = await listSegments(disk, walDirectory);
    const segment = segments.find(({ sequence }) => sequence === last.sequence);
    // Either it was removed long ago, or this log is younger than the chain.
    if (segment === undefined) return (segments.at(-1)?.sequence ?? -1) > last.sequence;
    if (segment.index !== last.index) return false;
    const file = await openContent(disk, walDirectory, segment);
    try {
      if ((await file.size()) < last.to) return false;
      let at = last.from;
      for await (const archived of zstdUnpacked(disk, joinPath(this.path, last.name))) {
        let compared = 0;
        for await (const piece of filePieces(file, at, at + archived.length)) {
          if (!piece.equals(archived.subarray(compared, compared + piece.length))) return false;
          compared += piece.length;
        }
        at += compared;
        await pause();
      }
      return at === last.to;
    } finally {
      await file.close();
    }
  }

  /** Whether a stretch goes on where the chain ends. */
  isNext({ segment, from }: Stretch): boolean {
    const { last } = this;
    return last !== null && follows({ ...last, sequence: segment.sequence, from }, last);
  }
}

/** A bbolt file as it is saved: with its SHA-256 behind it. */
async function* withChecksum(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const piece of content) {
    hash.update(piece);
    yield piece;
  }
  yield hash.digest();
}
