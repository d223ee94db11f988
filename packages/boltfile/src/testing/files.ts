/** Files for tests: what is to be in one, writing it, and reading everything back. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Disk, joinPath } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { BoltFile, type BoltOptions } from '../reader.ts';
import { BoltWriter } from '../writer.ts';

/** Buckets in order, each with its keys in order. */
export type Content = readonly (readonly [name: string, records: readonly (readonly [Buffer, Buffer])[]])[];

/** A directory on the real disk for the time of a test. */
export async function withDirectory(run: (disk: Disk, directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'boltfile-'));
  const world = nodeWorld();
  try {
    await run(world.disk, directory);
  } finally {
    await world.workers.close();
    rmSync(directory, { recursive: true });
  }
}

export async function writeFile(disk: Disk, path: string, content: Content, pageSize = 4096): Promise<number> {
  const writer = await BoltWriter.create(disk, path, { pageSize });
  for (const [name, records] of content) {
    writer.beginBucket(name);
    for (const [key, value] of records) {
      writer.add(key, value);
      if (writer.isBacklogged) await writer.drain();
    }
    writer.endBucket();
  }
  return await writer.finish(true);
}

export async function readFile(disk: Disk, path: string, options: BoltOptions = {}): Promise<Content> {
  const file = await BoltFile.open(disk, path, options);
  try {
    const content: [string, [Buffer, Buffer][]][] = [];
    for (const bucket of await file.buckets()) {
      const records: [Buffer, Buffer][] = [];
      const cursor = file.leaves(bucket);
      for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
        for (let index = 0; index < leaf.count; index++) {
          if (!leaf.isBucket(index)) records.push([Buffer.from(leaf.key(index)), Buffer.from(leaf.value(index))]);
        }
      }
      content.push([bucket.name.toString('latin1'), records]);
    }
    return content;
  } finally {
    await file.close();
  }
}

export function pathIn(directory: string, name = 'file.db'): string {
  return joinPath(directory, name);
}

/** A key that sorts by its number. */
export function numberedKey(number: number, bytes = 17): Buffer {
  const key = Buffer.alloc(bytes, 0x6b);
  key.writeUInt32BE(number, 0);
  return key;
}

export const NO_PAUSE = (): Promise<void> => Promise.resolve();
