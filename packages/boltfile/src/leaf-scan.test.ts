// Goal: a scan finds the checksum that reading record by record gives, whole or in parts, for every shape of a tree, and
// refuses what a cursor refuses. Method: files of random records, some with values over many pages, damaged at random.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CorruptionError, crc32c, type Prng } from '@etsd/base';
import type { Disk } from '@etsd/runtime';
import { forSeeds } from '@etsd/testkit';
import { joinDigests, type LeafDigest, LeafScan, type RecordFilter } from './leaf-scan.ts';
import { ELEMENT, PAGE_HEADER } from './page.ts';
import { type BoltBucket, BoltFile } from './reader.ts';
import { numberedKey, pathIn, withDirectory, writeFile } from './testing/files.ts';

const PAGE = 512;
/** More than a window of the scan. */
const LARGE_BYTES = 600 * 1024;

function records(prng: Prng): (readonly [Buffer, Buffer])[] {
  const large = prng.below(400);
  return Array.from({ length: prng.between(0, 400) }, (_, i) => {
    const bytes = i === large ? LARGE_BYTES : prng.chance(0.05) ? prng.between(400, 3000) : prng.below(60);
    return [numberedKey(i, prng.between(5, 18)), Buffer.alloc(bytes, i)] as const;
  });
}

async function byCursor(file: BoltFile, bucket: BoltBucket): Promise<{ crc: number; bytes: number; records: number }> {
  const sum = { crc: 0, bytes: 0, records: 0 };
  const cursor = file.leaves(bucket);
  for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
    for (let index = 0; index < leaf.count; index++) {
      for (const bytes of [leaf.key(index), leaf.value(index)]) {
        sum.crc = crc32c(bytes, 0, bytes.length, sum.crc);
        sum.bytes += bytes.length;
      }
      sum.records++;
    }
  }
  return sum;
}

function byScan(file: BoltFile, bucket: BoltBucket, parts: number, filter: RecordFilter | null = null): LeafDigest {
  const bytes = readFileSync(file.path);
  const { pageSize, pageCount } = file.meta;
  const scan = new LeafScan(
    { path: file.path, pageSize, pageCount },
    (target, position) => bytes.copy(target, 0, position),
    filter,
  );
  if (bucket.inline !== null) return scan.digestInline(bucket.inline);
  const whole = { page: bucket.rootPage, low: null, high: null };
  const digests = scan.split(whole, parts).map((part) => scan.digest(part));
  return joinDigests(digests, () => file.pages.damaged(bucket.rootPage, 'out of order'));
}

async function opened(
  disk: Disk,
  path: string,
  use: (file: BoltFile, bucket: BoltBucket) => Promise<void>,
): Promise<void> {
  const file = await BoltFile.open(disk, path);
  try {
    for (const bucket of await file.buckets()) await use(file, bucket);
  } finally {
    await file.close();
  }
}

test('a scan in parts of any number gives the checksum of all records', async () => {
  await withDirectory(async (disk, directory) => {
    let count = 0;
    await forSeeds(40, async (prng) => {
      const path = pathIn(directory, `file-${count++}.db`);
      await writeFile(disk, path, [['key', records(prng)]], PAGE);
      await opened(disk, path, async (file, bucket) => {
        const expected = await byCursor(file, bucket);
        for (const parts of [1, 2, prng.between(3, 500)]) {
          const { crc, bytes, records: found, firstKey, lastKey } = byScan(file, bucket, parts);
          assert.deepEqual({ crc, bytes, records: found }, expected);
          assert.equal(firstKey === null, expected.records === 0);
          assert.equal(lastKey === null, expected.records === 0);
        }
      });
    });
  });
});

test('what a filter leaves out does not count', async () => {
  await withDirectory(async (disk, directory) => {
    const path = pathIn(directory);
    const all = Array.from({ length: 300 }, (_, i) => [numberedKey(i), Buffer.alloc(i % 50, i)] as const);
    await writeFile(disk, path, [['key', all]], PAGE);
    const isWanted = (number: number): boolean => number % 3 !== 0 && number < 200;
    const filter: RecordFilter = (bytes, keyStart) => isWanted(bytes.readUInt32BE(keyStart));
    let expected = 0;
    for (const [key, value] of all.filter((_, i) => isWanted(i))) {
      expected = crc32c(value, 0, value.length, crc32c(key, 0, key.length, expected));
    }
    await opened(disk, path, async (file, bucket) => {
      const { crc, records: found, lastKey } = byScan(file, bucket, 5, filter);
      assert.equal(crc, expected);
      assert.equal(found, all.filter((_, i) => isWanted(i)).length);
      assert.deepEqual(lastKey, numberedKey(299), 'the last key there is');
    });
  });
});

test('keys out of order, within a page or between two, and elements outside of it are refused', async () => {
  await withDirectory(async (disk, directory) => {
    const path = pathIn(directory);
    const all = Array.from({ length: 100 }, (_, i) => [numberedKey(i), Buffer.alloc(20, i)] as const);
    await writeFile(disk, path, [['key', all]], PAGE);
    const whole = readFileSync(path);
    const second = whole.indexOf(numberedKey(1));
    const page = Math.floor(second / PAGE) * PAGE;
    const firstOfNext = whole.indexOf(numberedKey(whole.readUInt16LE(page + 10)));
    const damages: Readonly<Record<string, (bytes: Buffer) => void>> = {
      'is out of order': (bytes) => bytes.writeUInt32BE(0, second),
      'out of order with those of other pages': (bytes) => bytes.writeUInt32BE(0, firstOfNext),
      'lies outside of the page': (bytes) => bytes.writeUInt32LE(PAGE, page + PAGE_HEADER + ELEMENT + 12),
      'has no key': (bytes) => bytes.writeUInt32LE(0, page + PAGE_HEADER + ELEMENT + 8),
      'bears another number': (bytes) => bytes.writeUInt32LE(1, page),
      'pages of overflow': (bytes) => bytes.writeUInt32LE(0xffff_ffff, page + 12),
      'elements do not fit': (bytes) => bytes.writeUInt16LE(0xffff, page + 10),
    };
    for (const [what, damage] of Object.entries(damages)) {
      const bytes = Buffer.from(whole);
      damage(bytes);
      writeFileSync(path, bytes);
      await opened(disk, path, async (file, bucket) => {
        const isExpected = (error: unknown): boolean =>
          error instanceof CorruptionError && error.message.includes(what);
        assert.throws(() => byScan(file, bucket, 1), isExpected, what);
      });
    }
  });
});
