/**
 * What an archive is made of. Each member of each cluster has a directory of its own in it, its *chain*:
 *
 * ```
 *   DIR/<cluster>-<member>/
 *     000000000000a1f0.db.zst                                             a base: the whole store, as `snapshot save` has it
 *     0000000000000003-000000000000a1e2.000000000000-000000004000.wal.zst a piece: bytes of one segment of the log
 *     ….json                                                              for each of them, its manifest
 * ```
 * An object counts once its manifest is there, which is written after it; neither ever changes. A piece is a stretch of a
 * segment as it stands in the member's log; the pieces of a segment in a row are the segment. What each holds beside is in
 * its manifest: checksum, time, and for some moments how far the log was applied then and which revision that gave.
 */
import { CorruptionError, type U64 } from '@etsd/base';
import { isSealed, refuseSealed } from '@etsd/runtime';

export const MANIFEST_FORMAT = 1;
export const MANIFEST_SUFFIX = '.json';

/** How far the log was applied at a moment. */
export interface Sample {
  /** By the wall clock of the member. */
  readonly timeMs: number;
  /** Of the last entry applied. */
  readonly index: number;
  readonly term: number;
  /** Of the last change then. */
  readonly revision: number;
}

interface ArchivedObject {
  readonly name: string;
  /** Counts the objects of the chain, in the order they were made. */
  readonly serial: number;
  /** Bytes of the object, and their SHA-256 in hexadecimal. */
  readonly bytes: number;
  readonly sha256: string;
  /** Bytes of what is packed in it. */
  readonly rawBytes: number;
  /** When it was made. */
  readonly timeMs: number;
}

/** Bytes `[from, to)` of a segment of the log. */
export interface PieceManifest extends ArchivedObject {
  readonly kind: 'piece';
  /** Of the segment, from its name. */
  readonly sequence: number;
  readonly index: number;
  readonly from: number;
  readonly to: number;
  /** Nothing follows in this segment. */
  readonly isEnd: boolean;
  /** In the order they were taken. */
  readonly samples: readonly Sample[];
}

/** The whole store of one moment, a bbolt file with its checksum. */
export interface BaseManifest extends ArchivedObject {
  readonly kind: 'base';
  readonly at: Sample;
  /** The shortest lease of the cluster in seconds, without which the log does not mean the same. */
  readonly leaseTtlMinSeconds: number;
}

export type Manifest = PieceManifest | BaseManifest;

const ADVICE = 'Remove the manifest and its object; an older base and the log behind it may do instead.';

export function encodeManifest(manifest: Manifest): Buffer {
  const packed =
    manifest.kind === 'piece'
      ? { ...manifest, samples: manifest.samples.map(packSample) }
      : { ...manifest, at: packSample(manifest.at) };
  return Buffer.from(`${JSON.stringify({ format: MANIFEST_FORMAT, ...packed })}\n`);
}

function packSample({ timeMs, index, term, revision }: Sample): number[] {
  return [timeMs, index, term, revision];
}

/** Reads a manifest; throws a `CorruptionError` that names the file where it is none. */
export function decodeManifest(bytes: Buffer, path: string): Manifest {
  let fields: unknown;
  if (isSealed(bytes)) throw refuseSealed(bytes, path);
  try {
    fields = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new CorruptionError('archive: a manifest that cannot be read', path, ADVICE, { cause: error });
  }
  const manifest = isRecord(fields) && fields['format'] === MANIFEST_FORMAT ? fromFields(fields) : null;
  if (manifest === null) throw new CorruptionError('archive: a manifest that says something else', path, ADVICE);
  return manifest;
}

function fromFields(fields: Record<string, unknown>): Manifest | null {
  const number = (name: string): number => {
    const value = fields[name];
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : Number.NaN;
  };
  const { name, sha256 } = fields;
  const common = {
    name: typeof name === 'string' && NAME.test(name) ? name : '',
    serial: number('serial'),
    bytes: number('bytes'),
    rawBytes: number('rawBytes'),
    sha256: typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : '',
    timeMs: number('timeMs'),
  };
  if (common.name === '' || common.sha256 === '') return null;
  if (fields['kind'] === 'base') {
    const at = sampleOf(fields['at']);
    const base = { kind: 'base', ...common, leaseTtlMinSeconds: number('leaseTtlMinSeconds') } as const;
    return at === null || !hasNumbers(base) ? null : { ...base, at };
  }
  if (fields['kind'] !== 'piece' || !Array.isArray(fields['samples'])) return null;
  const samples = fields['samples'].map(sampleOf);
  const [sequence, index, from, to] = ['sequence', 'index', 'from', 'to'].map(number) as [
    number,
    number,
    number,
    number,
  ];
  const piece = { kind: 'piece', ...common, sequence, index, from, to, isEnd: fields['isEnd'] === true } as const;
  if (!hasNumbers(piece) || from > to || to - from !== common.rawBytes || samples.includes(null)) return null;
  return { ...piece, samples: samples as Sample[] };
}

/** What a name may consist of: nothing that leads out of the directory. */
const NAME = /^[0-9a-f][0-9a-f.-]*\.(db|wal)\.zst$/;

function hasNumbers(manifest: object): boolean {
  return !Object.values(manifest).some((value) => Number.isNaN(value));
}

function sampleOf(value: unknown): Sample | null {
  if (!Array.isArray(value) || value.length !== 4 || !value.every((each) => Number.isSafeInteger(each))) return null;
  const [timeMs, index, term, revision] = value as [number, number, number, number];
  return { timeMs, index, term, revision };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

export function baseName(index: number): string {
  return `${hex(index, 16)}.db.zst`;
}

export function pieceName(segment: { sequence: number; index: number }, from: number, to: number): string {
  return `${hex(segment.sequence, 16)}-${hex(segment.index, 16)}.${hex(from, 12)}-${hex(to, 12)}.wal.zst`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** Whose chain a directory is. A chain that could not be continued is followed by one of the next generation. */
export interface ChainName {
  readonly directory: string;
  readonly clusterId: U64;
  readonly memberId: U64;
  /** 1 for the first. */
  readonly generation: number;
}

const CHAIN = /^([0-9a-f]{16})-([0-9a-f]{16})(?:\.([1-9][0-9]{0,5}))?$/;

export function parseChainName(directory: string): ChainName | null {
  const [, clusterId, memberId, generation = '1'] = CHAIN.exec(directory) ?? [];
  if (clusterId === undefined || memberId === undefined) return null;
  return { directory, clusterId, memberId, generation: Number(generation) };
}

export function chainDirectory(clusterId: U64, memberId: U64, generation: number): string {
  return `${clusterId}-${memberId}${generation === 1 ? '' : `.${generation}`}`;
}
