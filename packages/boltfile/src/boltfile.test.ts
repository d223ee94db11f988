// Goal: what is written is read back, whatever its shape, from files that keep bbolt's rules.
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CorruptionError, type Prng } from '@etsd/base';
import type { Disk } from '@etsd/runtime';
import { forSeeds } from '@etsd/testkit';
import { checkBoltFile } from './check.ts';
import { BRANCH, LEAF, META, Page } from './page.ts';
import { BoltFile } from './reader.ts';
import { type Content, NO_PAUSE, numberedKey, pathIn, readFile, withDirectory, writeFile } from './testing/files.ts';
import { BoltWriter } from './writer.ts';

const PAGE = 4096;

async function check(disk: Disk, path: string) {
  const file = await BoltFile.open(disk, path);
  try {
    return await checkBoltFile(file, NO_PAUSE);
  } finally {
    await file.close();
  }
}

test('empty files, empty buckets, inline buckets and trees of several levels are read back', async () => {
  await withDirectory(async (disk, directory) => {
    const many: [Buffer, Buffer][] = [];
    for (let i = 0; i < 60_000; i++) many.push([numberedKey(i), Buffer.alloc(40 + (i % 50), i)]);
    const contents: Record<string, Content> = {
      nothing: [],
      empty: [['alarm', []]],
      inline: [
        ['a', [[Buffer.from('k'), Buffer.from('v')]]],
        ['b', []],
      ],
      tree: [
        ['alarm', []],
        ['key', many],
        ['meta', [[Buffer.from('term'), Buffer.alloc(8)]]],
      ],
    };
    for (const [name, content] of Object.entries(contents)) {
      const path = pathIn(directory, name);
      const size = await writeFile(disk, path, content);
      assert.equal(statSync(path).size, size, 'the size said is the size of the file');
      assert.deepEqual(await readFile(disk, path), content, name);
      const { pages, usedPages, keys } = await check(disk, path);
      assert.equal(usedPages, pages - 2, 'every page but the metas is used');
      assert.equal(
        keys,
        content.reduce((sum, [, records]) => sum + records.length, 0),
      );
    }
  });
});

test('values larger than a page, and than a chunk, lie in overflow pages', async () => {
  await withDirectory(async (disk, directory) => {
    const sizes = [0, 1, 4000, 4096, 5000, 262_144, 1_500_000, 3, 3_000_000, 10];
    const content: Content = [['key', sizes.map((size, i) => [numberedKey(i), Buffer.alloc(size, i + 1)] as const)]];
    await writeFile(disk, pathIn(directory), content);
    assert.deepEqual(await readFile(disk, pathIn(directory)), content);
    await check(disk, pathIn(directory));
  });
});

test('random contents, with every page size, are read back', async () => {
  await withDirectory(async (disk, directory) => {
    await forSeeds(40, async (prng, seed) => {
      const content = randomContent(prng);
      const pageSize = prng.pick([512, 1024, 4096, 16_384, 65_536]);
      const path = pathIn(directory, `random-${seed}`);
      await writeFile(disk, path, content, pageSize);
      assert.deepEqual(await readFile(disk, path), content);
      assert.deepEqual(await readFile(disk, path, { reusesMemory: true }), content);
      await check(disk, path);
      await disk.remove(path);
    });
  });
});

function randomContent(prng: Prng): Content {
  return ['a', 'b', 'c'].map((name) => {
    const keyBytes = prng.pick([4, 17, 300, 1900]);
    const valueBytes = prng.pick([0, 20, 300, 9000]);
    const count = prng.pick([0, 1, 2, 3, 20, 500, 3000]) * (keyBytes + valueBytes > 1000 ? 0.1 : 1);
    const records: [Buffer, Buffer][] = [];
    for (let i = 0; i < count; i++)
      records.push([numberedKey(i * 3, keyBytes), prng.bytes(prng.below(valueBytes + 1))]);
    return [name, records] as const;
  });
}

test('no branch has a single child, which bbolt cannot bear when it merges pages', async () => {
  await withDirectory(async (disk, directory) => {
    const branches: number[] = [];
    // Leaves of one record: the number of children is the number of records, around the points where a branch is full.
    for (const keyBytes of [17, 300, 1900, 5000]) {
      for (const count of [2, 3, 4, 5, 6, 12, 13, 14, 15, 123, 124, 125, 126, 247, 248, 249]) {
        const path = pathIn(directory, `${keyBytes}-${count}`);
        const records = Array.from(
          { length: count },
          (_, i) => [numberedKey(i, keyBytes), Buffer.alloc(4000)] as const,
        );
        await writeFile(disk, path, [['key', records]]);
        const bytes = readFileSync(path);
        for (let at = 0; at < bytes.length; at += PAGE) {
          if (bytes.readUInt16LE(at + 8) === BRANCH && bytes.readUInt32LE(at) === at / PAGE) {
            branches.push(bytes.readUInt16LE(at + 10));
          }
          at += PAGE * bytes.readUInt32LE(at + 12);
        }
        assert.deepEqual((await readFile(disk, path))[0]?.[1].length, count);
      }
    }
    assert.ok(branches.length > 100);
    assert.ok(branches.every((children) => children >= 2));
  });
});

test('either meta alone opens the file, and the newer one counts', async () => {
  await withDirectory(async (disk, directory) => {
    const path = pathIn(directory);
    await writeFile(disk, path, [['a', [[Buffer.from('k'), Buffer.from('v')]]]]);
    const whole = readFileSync(path);
    for (const broken of [0, 1]) {
      const bytes = Buffer.from(whole);
      bytes[broken * PAGE + 20] = 0xff;
      writeFileSync(path, bytes);
      assert.equal((await readFile(disk, path))[0]?.[0], 'a');
      const file = await BoltFile.open(disk, path);
      assert.equal(file.meta.transaction, broken === 0 ? 1 : 2);
      await file.close();
    }
    const bytes = Buffer.from(whole);
    bytes[20] = 0xff;
    bytes[PAGE + 20] = 0xff;
    writeFileSync(path, bytes);
    await assert.rejects(BoltFile.open(disk, path), (error) => {
      return (
        error instanceof CorruptionError && /neither of the two metas is valid .*file\.db, pages 0/.test(error.message)
      );
    });
  });
});

test('a file cut short is refused at once, with its path and the byte', async () => {
  await withDirectory(async (disk, directory) => {
    const path = pathIn(directory);
    const size = await writeFile(disk, path, [['a', [[Buffer.from('k'), Buffer.alloc(9000)]]]]);
    truncateSync(path, size - 1);
    await assert.rejects(
      BoltFile.open(disk, path),
      new RegExp(`the file was cut: it has ${size - 1} bytes of ${size}.*byte`),
    );
  });
});

test('a tree that leads back to itself ends in an error that names the page', async () => {
  await withDirectory(async (disk, directory) => {
    const path = pathIn(directory);
    const records = Array.from({ length: 200 }, (_, i) => [numberedKey(i), Buffer.alloc(100)] as const);
    await writeFile(disk, path, [['key', records]]);
    const bytes = readFileSync(path);
    let branch = 0;
    while (bytes.readUInt16LE(branch + 8) !== BRANCH) branch += PAGE;
    // The second child becomes the branch itself.
    bytes.writeUInt32LE(branch / PAGE, branch + 16 + 16 + 8);
    writeFileSync(path, bytes);
    await assert.rejects(readFile(disk, path), new RegExp(`page ${branch / PAGE} at byte ${branch}`));
  });
});

test('a writer that is given up leaves no file', async () => {
  await withDirectory(async (disk, directory) => {
    const writer = await BoltWriter.create(disk, pathIn(directory));
    writer.beginBucket('a');
    await writer.abandon();
    assert.deepEqual(await disk.list(directory), []);
  });
});

test('a page refuses elements that point out of it, and keys that do not ascend', () => {
  const fail = (what: string) => new Error(what);
  const page = (write: (bytes: Buffer) => void) => {
    const bytes = Buffer.alloc(PAGE);
    bytes.writeUInt16LE(LEAF, 8);
    bytes.writeUInt16LE(2, 10);
    // Two elements: "a" and "b", without values.
    bytes.writeUInt32LE(32, 20);
    bytes.writeUInt32LE(1, 24);
    bytes.writeUInt32LE(17, 36);
    bytes.writeUInt32LE(1, 40);
    bytes.write('ab', 48);
    write(bytes);
    return new Page(7, bytes, fail);
  };
  assert.equal(
    page(() => {})
      .key(1)
      .toString(),
    'b',
  );
  assert.throws(() => page((bytes) => bytes.writeUInt16LE(META, 8)), /a branch or leaf was expected/);
  assert.throws(() => page((bytes) => bytes.writeUInt16LE(60_000, 10)), /60000 elements do not fit/);
  assert.throws(() => page((bytes) => bytes.writeUInt32LE(0xffff_ffff, 28)), /element 0 lies outside/);
  assert.throws(() => page((bytes) => bytes.writeUInt32LE(0, 20)), /element 0 lies outside/);
  assert.throws(() => page((bytes) => bytes.writeUInt32LE(0, 40)), /element 1 has no key/);
  assert.throws(() => page((bytes) => bytes.writeUInt32LE(2, 16)), /element 0 has unknown flags/);
  assert.throws(() => page((bytes) => bytes.write('bb', 48)), /element 1 is out of order/);
});
