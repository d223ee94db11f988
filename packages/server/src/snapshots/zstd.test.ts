// Goal: what is packed comes out again byte by byte, whoever packed it, and what was damaged or cut does not.
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { CorruptionError, Prng } from '@etsd/base';
import { nodeWorld } from '@etsd/runtime/node';
import { isZstd, writeNewFile, zstdPacked, zstdUnpacked } from './zstd.ts';

const { disk } = nodeWorld();

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function unpacked(path: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of zstdUnpacked(disk, path)) pieces.push(piece);
  return Buffer.concat(pieces);
}

function sample(bytes: number): Buffer {
  const random = new Prng(7);
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) content[at] = random.below(at % 1000 < 500 ? 256 : 3);
  return content;
}

async function withFile(run: (path: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'zstd-'));
  try {
    await run(join(directory, 'file.zst'));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('what is packed comes out again, in one frame or several', () =>
  withFile(async (path) => {
    const content = sample(1_300_000);
    const bytes = await writeNewFile(disk, path, zstdPacked(inPieces(content, 40_000)));
    const file = readFileSync(path);
    assert.equal(file.length, bytes);
    assert.ok(bytes < content.length * 0.9);
    assert.ok(zstdDecompressSync(file).equals(content), 'a frame like any other');
    assert.ok(await isZstd(disk, path));
    assert.ok((await unpacked(path)).equals(content));
    const more = sample(70_000);
    for (let frame = 0; frame < 20; frame++) appendFileSync(path, zstdCompressSync(more));
    assert.ok((await unpacked(path)).equals(Buffer.concat([content, ...Array.from({ length: 20 }, () => more)])));
  }));

test('an empty content is a file too, and a short file is none of these', () =>
  withFile(async (path) => {
    await writeNewFile(disk, path, zstdPacked(inPieces(Buffer.alloc(0), 1)));
    assert.equal((await unpacked(path)).length, 0);
    writeFileSync(path, 'abc');
    assert.equal(await isZstd(disk, path), false);
  }));

test('what was cut, changed or followed by something else is refused', () =>
  withFile(async (path) => {
    const content = sample(600_000);
    await writeNewFile(disk, path, zstdPacked(inPieces(content, 100_000)));
    const file = readFileSync(path);
    for (const length of [file.length - 1, file.length >> 1, 5]) {
      truncateSync(path, length);
      await assert.rejects(unpacked(path), CorruptionError, `cut to ${length}`);
    }
    for (let at = 10; at < file.length; at += 29_989) {
      const changed = Buffer.from(file);
      changed[at] = (changed[at] as number) ^ 0x10;
      writeFileSync(path, changed);
      await assert.rejects(unpacked(path), CorruptionError, `byte ${at}`);
    }
    writeFileSync(path, Buffer.concat([file, Buffer.from('something else')]));
    await assert.rejects(unpacked(path), CorruptionError);
  }));

test('a content that fails takes the file with it', () =>
  withFile(async (path) => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield sample(100_000);
      throw new Error('no more of it');
    }
    await assert.rejects(writeNewFile(disk, path, zstdPacked(failing())), /no more of it/);
    assert.equal(await disk.stat(path), null);
  }));

test('who stops reading is not read to', () =>
  withFile(async (path) => {
    writeFileSync(path, zstdCompressSync(sample(3_000_000)));
    for await (const piece of zstdUnpacked(disk, path)) {
      assert.ok(piece.length > 0);
      break;
    }
  }));
