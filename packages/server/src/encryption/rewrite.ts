/** Encrypting, decrypting and rotating what lies on disk, while nobody uses it. */
import { OperatorError } from '@etsd/base';
import { type Disk, joinPath, parentPath, type SealedDisk, SealKind, withoutSealing } from '@etsd/runtime';
import { listSegments, rewriteSegment } from '@etsd/wal';
import { copyFile, layoutOf, lockAll, releaseAll } from '../rescue/layout.ts';
import { type StoredFile, sealedFiles } from './files.ts';

export interface RewriteOptions {
  /** With the keys: the newest one of them writes. */
  readonly disk: SealedDisk;
  /** Data directories, archives, files. */
  readonly paths: readonly string[];
  /** Of the log of a data directory, where it lies elsewhere; '' for below it. */
  readonly walDir: string;
  /** Make everything plain. */
  readonly decrypts: boolean;
  /** Is told of each file that was rewritten. */
  readonly rewritten: (path: string) => void;
}

export interface Rewritten {
  readonly rewritten: number;
  /** Files that were as wanted. */
  readonly kept: number;
  /** Files that are encrypted, and are left so, with the reason. */
  readonly left: readonly string[];
}

/**
 * Rewrites, file by file, each whole or not at all, so that it can be begun anew after a crash. What was plain and can be
 * encrypted is, too.
 */
export async function rewriteAll(options: RewriteOptions): Promise<Rewritten> {
  const { disk, decrypts } = options;
  if (!decrypts && disk.sealing.keys.newest === null) {
    throw new OperatorError(
      'no key is given to encrypt with',
      'Give --encryption-key-file or --encryption-key-command.',
    );
  }
  const counts = { rewritten: 0, kept: 0, left: [] as string[] };
  for (const path of options.paths) {
    if ((await disk.stat(path)) === null) throw new OperatorError(`there is nothing at ${path}`, 'Check the path.');
    const isMember = (await disk.stat(joinPath(path, 'member'))) !== null;
    if (isMember) await rewriteMember(options, path, counts);
    else await rewriteFiles(options, [path], counts);
  }
  return counts;
}

interface Counts {
  rewritten: number;
  kept: number;
  left: string[];
}

async function rewriteMember(options: RewriteOptions, dataDir: string, counts: Counts): Promise<void> {
  const { disk, walDir } = options;
  const { walDirectory, snapDirectory } = layoutOf(dataDir, walDir);
  const segments = await listSegments(disk, walDirectory);
  const held = [joinPath(dataDir, 'member', 'lock'), ...segments.map(({ name }) => joinPath(walDirectory, name))];
  const locks = await lockAll(disk, held, dataDir);
  try {
    // A plain segment never stands behind an encrypted one, also not in between.
    const order = options.decrypts ? segments : segments.toReversed();
    for (const segment of order) {
      const path = joinPath(walDirectory, segment.name);
      for await (const file of sealedFiles(disk.beneath, [path])) {
        if (!isDue(options, file)) counts.kept++;
        else {
          await rewriteSegment(writing(options), walDirectory, segment);
          done(options, path, counts);
        }
      }
    }
    await rewriteFiles(
      options,
      [snapDirectory, walDirectory],
      counts,
      segments.map(({ name }) => name),
    );
  } finally {
    await releaseAll(locks);
  }
}

function done(options: RewriteOptions, path: string, counts: Counts): void {
  counts.rewritten++;
  options.rewritten(path);
}

async function rewriteFiles(
  options: RewriteOptions,
  paths: readonly string[],
  counts: Counts,
  besides: readonly string[] = [],
): Promise<void> {
  const { disk } = options;
  const files: StoredFile[] = [];
  for await (const file of sealedFiles(disk.beneath, paths)) {
    // A file that is named itself is meant, whatever it is called.
    const isNamed = file.state === 'other' && paths.includes(file.path);
    files.push(isNamed ? { ...file, state: 'plain' } : file);
  }
  for (const file of files) {
    const { path, state, head } = file;
    if (besides.some((name) => path.endsWith(`/${name}`)) || state === 'store' || state === 'other') continue;
    if (state === 'damaged' || head?.kind === SealKind.segment) {
      const isOld = head !== null && !isNewest(options, file);
      if (isOld || state === 'damaged') counts.left.push(`${path}: remove it when it is of no use any more`);
      continue;
    }
    if (!isDue(options, file)) {
      counts.kept++;
      continue;
    }
    const fresh = `${path}.rewriting`;
    await disk.remove(fresh);
    await copyFile(writing(options), path, fresh, { sealed: true });
    await disk.rename(fresh, path);
    await disk.syncDirectory(parentPath(path));
    done(options, path, counts);
  }
}

function writing({ disk, decrypts }: RewriteOptions): Disk {
  return decrypts ? withoutSealing(disk) : disk;
}

function isDue(options: RewriteOptions, file: StoredFile): boolean {
  return options.decrypts ? file.state === 'encrypted' : !isNewest(options, file);
}

function isNewest({ disk }: RewriteOptions, { head }: StoredFile): boolean {
  const newest = disk.sealing.keys.newest;
  return head !== null && newest !== null && head.keyId === newest.id && head.fingerprint.equals(newest.fingerprint);
}
