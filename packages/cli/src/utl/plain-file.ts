/** Saved files may be packed with zstd; what reads them needs to jump about in them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isZstd, writeNewFile, zstdUnpacked } from '@etsd/server/files';
import { world } from './world.ts';

/**
 * Gives `use` the path of the file's content: the file itself, or where that is packed, a temporary file of what is in it,
 * made in `place` (by default where the system keeps such).
 */
export async function withPlainFile<T>(
  path: string,
  use: (plain: string) => Promise<T>,
  place: string = tmpdir(),
): Promise<T> {
  const { disk } = world;
  if (!(await isZstd(disk, path))) return await use(path);
  const directory = mkdtempSync(join(place, 'etsdutl-'));
  try {
    const plain = join(directory, 'unpacked.db');
    await writeNewFile(disk, plain, zstdUnpacked(disk, path));
    return await use(plain);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
