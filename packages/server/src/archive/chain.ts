/** Reading what is in an archive. */
import { CorruptionError, errorFrom, OperatorError } from '@etsd/base';
import { type Disk, joinPath, MissingKeyError } from '@etsd/runtime';
import {
  type BaseManifest,
  type ChainName,
  decodeManifest,
  MANIFEST_SUFFIX,
  type Manifest,
  type PieceManifest,
  parseChainName,
  type Sample,
} from './manifest.ts';

/** Pieces that follow each other without a gap, as the log they were taken from. */
export interface Run {
  readonly pieces: readonly PieceManifest[];
}

/** What one member has archived. */
export class Chain {
  readonly name: ChainName;
  /** Where its objects are. */
  readonly path: string;
  /** By how far they are applied. */
  readonly bases: readonly BaseManifest[];
  /** In the order of the log. */
  readonly runs: readonly Run[];
  /** Manifests that cannot be read, and why. */
  readonly problems: readonly Error[];

  constructor(name: ChainName, path: string, manifests: readonly Manifest[], problems: readonly Error[] = []) {
    this.name = name;
    this.path = path;
    this.problems = problems;
    this.bases = manifests.filter((each) => each.kind === 'base').sort((a, b) => a.at.index - b.at.index);
    this.runs = runsOf(manifests.filter((each) => each.kind === 'piece'));
  }

  get manifests(): Manifest[] {
    return [...this.bases, ...this.runs.flatMap(({ pieces }) => pieces)];
  }

  /**
   * The pieces to read for what follows a base, in order; empty where the log behind it is not archived. The first is the
   * beginning of a segment.
   */
  piecesBehind({ at }: BaseManifest): readonly PieceManifest[] {
    for (const { pieces } of this.runs) {
      const first = pieces.findLastIndex(({ from, index }) => from === 0 && index <= at.index + 1);
      const isBefore = first >= 0 && lastSampleIndex(pieces) >= at.index;
      if (isBefore) return pieces.slice(first);
    }
    return [];
  }

  /** Everything that is known of moments, in the order of the log. */
  samples(): Sample[] {
    const samples = [...this.bases.map(({ at }) => at), ...this.runs.flatMap(({ pieces }) => samplesOf(pieces))];
    return samples.sort((a, b) => a.index - b.index || a.timeMs - b.timeMs);
  }

  /** The last moment of which everything is here; null where nothing is. */
  get end(): Sample | null {
    return this.samples().at(-1) ?? null;
  }
}

export function samplesOf(pieces: readonly PieceManifest[]): Sample[] {
  return pieces.flatMap(({ samples }) => samples);
}

function lastSampleIndex(pieces: readonly PieceManifest[]): number {
  for (let at = pieces.length - 1; at >= 0; at--) {
    const sample = pieces[at]?.samples.at(-1);
    if (sample !== undefined) return sample.index;
  }
  return -1;
}

function runsOf(pieces: PieceManifest[]): Run[] {
  pieces.sort((a, b) => a.sequence - b.sequence || a.from - b.from);
  const runs: PieceManifest[][] = [];
  let before: PieceManifest | null = null;
  for (const piece of pieces) {
    const current = runs.at(-1);
    if (current !== undefined && before !== null && follows(piece, before)) current.push(piece);
    else runs.push([piece]);
    before = piece;
  }
  return runs.map((each) => ({ pieces: each }));
}

/** Whether a piece begins where the one before ends. */
export function follows(piece: PieceManifest, before: PieceManifest): boolean {
  if (before.isEnd) return piece.sequence === before.sequence + 1 && piece.from === 0;
  return piece.sequence === before.sequence && piece.from === before.to;
}

const RENAMED = 'Give it back the name it had.';

/** Reads all manifests of a directory; those that cannot be read are among the problems. */
export async function readChain(disk: Disk, archive: string, name: ChainName): Promise<Chain> {
  const path = joinPath(archive, name.directory);
  const names = new Set(await disk.list(path));
  const manifests: Manifest[] = [];
  const problems: Error[] = [];
  for (const file of names) {
    if (!file.endsWith(MANIFEST_SUFFIX) || !names.has(file.slice(0, -MANIFEST_SUFFIX.length))) continue;
    const place = joinPath(path, file);
    try {
      const manifest = decodeManifest(await disk.readFile(place), place);
      if (`${manifest.name}${MANIFEST_SUFFIX}` !== file) {
        throw new CorruptionError(`archive: the manifest of ${manifest.name} bears another name`, place, RENAMED);
      }
      manifests.push(manifest);
    } catch (error) {
      // What cannot be read for want of a key is no less archived: nobody is to take it for left over.
      if (error instanceof MissingKeyError) throw error;
      problems.push(errorFrom(error));
    }
  }
  return new Chain(name, path, manifests, problems);
}

/** All chains of an archive. Rejects where the directory cannot be read. */
export async function readArchive(disk: Disk, archive: string): Promise<Chain[]> {
  const chains: Chain[] = [];
  for (const directory of await disk.list(archive)) {
    const name = parseChainName(directory);
    if (name !== null) chains.push(await readChain(disk, archive, name));
  }
  if (chains.length === 0) {
    throw new OperatorError(
      `there is no archive in ${archive}`,
      'Give --archive-dir the directory that the server was given.',
    );
  }
  return chains;
}
