// Goal: no bytes make the reader crash, hang or grow: it reads the file or says what is wrong. Method: files of ours with
// a few things wrong, anywhere or in the places where wrong numbers hurt most.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CorruptionError, type Prng } from '@etsd/base';
import { forSeeds, mutate } from '@etsd/testkit';
import { checkBoltFile } from './check.ts';
import { LeafScan } from './leaf-scan.ts';
import { ELEMENT, type Meta, PAGE_HEADER, readMeta, writeMeta } from './page.ts';
import { BoltFile } from './reader.ts';
import { NO_PAUSE, numberedKey, pathIn, withDirectory, writeFile } from './testing/files.ts';

const PAGE = 512;

test('a damaged file is read, or refused with the page; never anything else', async () => {
  await withDirectory(async (disk, directory) => {
    const path = pathIn(directory);
    const records = (count: number, size: number) =>
      Array.from({ length: count }, (_, i) => [numberedKey(i), Buffer.alloc(size + (i % 7), i)] as const);
    await writeFile(
      disk,
      path,
      [
        ['alarm', []],
        ['key', [...records(900, 40), [numberedKey(5000), Buffer.alloc(3000)]]],
        ['meta', records(2, 8)],
      ],
      PAGE,
    );
    const whole = readFileSync(path);
    let refused = 0;
    await forSeeds(1500, async (prng) => {
      writeFileSync(path, prng.chance(0.3) ? mutate(prng, whole) : aimed(prng, whole));
      try {
        const file = await BoltFile.open(disk, path, { reusesMemory: prng.chance(0.5) });
        try {
          scanAll(file, readFileSync(path), prng.between(1, 20));
          await checkBoltFile(file, NO_PAUSE);
        } finally {
          await file.close();
        }
      } catch (error) {
        assert.ok(error instanceof CorruptionError, `${error instanceof Error ? error.stack : error}`);
        refused++;
      }
    });
    assert.ok(refused > 300, `${refused} were refused`);
  });
});

/** The buckets that have pages, in parts. */
function scanAll({ meta, path }: BoltFile, bytes: Buffer, count: number): void {
  const scanned = { path, pageSize: meta.pageSize, pageCount: meta.pageCount };
  const scan = new LeafScan(scanned, (target, position) => bytes.copy(target, 0, position));
  for (const part of scan.split({ page: meta.rootPage, low: null, high: null }, count)) scan.digest(part);
  for (let page = 2; page < meta.pageCount; page += 7) {
    const below = new LeafScan(scanned, (target, position) => bytes.copy(target, 0, position));
    for (const part of below.split({ page, low: null, high: null }, count)) below.digest(part);
  }
}

/** Damage behind the checksums: in page headers, elements, and in the numbers of a meta that is otherwise right. */
function aimed(prng: Prng, whole: Buffer): Buffer {
  const bytes = Buffer.from(whole);
  const pages = bytes.length / PAGE;
  const number = () => prng.pick([0, 1, 2, 3, prng.below(pages), pages - 1, pages, 0xffff, 0x7fff_ffff, 0xffff_ffff]);
  const changes = prng.between(1, 3);
  for (let change = 0; change < changes; change++) {
    const page = prng.below(pages) * PAGE;
    switch (prng.below(4)) {
      case 0:
        bytes.writeUInt16LE(prng.pick([0, 1, 2, 4, 0x10, 0xffff]), page + 8);
        break;
      case 1:
        bytes.writeUInt16LE(number() & 0xffff, page + 10);
        break;
      case 2:
        bytes.writeUInt32LE(number(), page + PAGE_HEADER + prng.below(8) * ELEMENT + prng.below(4) * 4);
        break;
      default: {
        const meta = readMeta(whole, 0) as Meta;
        if (prng.chance(0.5)) meta.rootPage = prng.below(pages);
        if (prng.chance(0.3)) meta.freelistPage = prng.below(pages + 2);
        if (prng.chance(0.2)) meta.pageCount = prng.pick([3, pages - 1, pages, pages + 1]);
        writeMeta(bytes, 0, 0, meta);
      }
    }
  }
  return bytes;
}
