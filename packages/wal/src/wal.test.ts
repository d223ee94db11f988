/**
 * Goal: the log gives back what was saved, in order, across restarts, cuts and releases, in etcd's bytes. Method: the
 * real disk in a temporary directory, small segments.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CorruptionError, OperatorError } from '@etsd/base';
import { ConfState, Entry, HardState, WalMetadata, WalSnapshot } from '@etsd/proto';
import { hasCode } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { readLog, segmentName, validSnapshots, Wal, type WalOptions } from './index.ts';

const world = nodeWorld();
const root = mkdtempSync(join(tmpdir(), 'etsd-wal-'));
after(() => rmSync(root, { recursive: true, force: true }));
after(() => world.workers.close());

const SMALL: WalOptions = { segmentBytes: 4096, fillAheadBytes: 1024 };
const START = { index: 0, term: 0 };
const METADATA = WalMetadata.encode(WalMetadata.create({ nodeId: '0000000000000001', clusterId: '0000000000000002' }));

let directories = 0;
function newDirectory(): string {
  directories++;
  return join(root, `wal-${directories}`);
}

function entryOf(index: number, data = `value ${index}`, term = 1): Entry {
  return Entry.create({ term, index, data: Buffer.from(data) });
}

function save(wal: Wal, state: HardState | null, entries: Entry[]): Promise<void> {
  return new Promise((resolve, reject) => {
    wal.save(state, entries, 0, entries.length, (error) => (error === null ? resolve() : reject(error)));
  });
}

function saveSnapshot(wal: Wal, index: number, term: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const confState = ConfState.create({ voters: ['0000000000000001'] });
    wal.saveSnapshot(WalSnapshot.create({ index, term, confState }), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

function indexesOf(entries: readonly Entry[]): number[] {
  return entries.map((entry) => entry.index);
}

function segmentFiles(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.endsWith('.wal'));
}

test('what was saved is read back, through two restarts', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  await save(wal, HardState.create({ term: 1, vote: '0000000000000001' }), [entryOf(1), entryOf(2)]);
  await wal.close();
  const second = await Wal.open(world, directory, START, SMALL);
  assert.deepEqual(second.metadata, METADATA);
  assert.deepEqual(second.entries, [entryOf(1), entryOf(2)]);
  assert.equal(second.hardState.vote, '0000000000000001');
  assert.equal(second.repair, null);
  await save(second.wal, HardState.create({ term: 1, vote: '0000000000000001', commit: 2 }), [entryOf(3)]);
  await second.wal.close();
  const third = await Wal.open(world, directory, START, SMALL);
  assert.deepEqual(indexesOf(third.entries), [1, 2, 3]);
  assert.equal(third.hardState.commit, 2);
  await third.wal.close();
});

test('the first bytes are those of etcd', async () => {
  // From a log of etcd 3.5.30: checksum, metadata, snapshot and first hard state of a member.
  const directory = newDirectory();
  const metadata = WalMetadata.create({ nodeId: '01f70d2a93c9a718', clusterId: '0000000000000000' });
  const wal = await Wal.create(world, directory, WalMetadata.encode(metadata), SMALL);
  await wal.close();
  const bytes = readFileSync(join(directory, segmentName(0, 0)));
  assert.equal(bytes.length, 4096);
  assert.equal(bytes.subarray(0, 16).toString('hex'), '04000000000000840804100000000000');
  assert.equal(bytes.readUInt8(16 + 9), 1, 'a metadata record follows the checksum');
});

test('modes are those of etcd: 0700 for the directory, 0600 for files', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.equal(statSync(join(directory, segmentName(0, 0))).mode & 0o777, 0o600);
  await wal.close();
});

test('a full segment is followed by another one, and replay crosses from one to the next', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  const all: number[] = [];
  for (let index = 1; index <= 100; index++) {
    all.push(index);
    await save(wal, HardState.create({ term: 1, commit: index - 1 }), [entryOf(index, 'x'.repeat(300))]);
  }
  await wal.close();
  assert.ok(segmentFiles(directory).length > 5);
  assert.deepEqual(
    readdirSync(directory).filter((name) => !name.endsWith('.wal')),
    [],
  );
  const opened = await Wal.open(world, directory, START, SMALL);
  assert.deepEqual(indexesOf(opened.entries), all);
  assert.equal(opened.hardState.commit, 99);
  await opened.wal.close();
});

test('a batch larger than a segment, and one cut right behind another', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  await save(wal, HardState.create({ term: 1 }), [entryOf(1, 'a'.repeat(9000))]);
  await save(wal, null, [entryOf(2, 'b'.repeat(9000))]);
  await save(wal, null, [entryOf(3, 'c'.repeat(2_000_000))]);
  await wal.close();
  assert.deepEqual(segmentFiles(directory), [segmentName(0, 0), segmentName(1, 2), segmentName(2, 3)]);
  const opened = await Wal.open(world, directory, START, SMALL);
  assert.deepEqual(indexesOf(opened.entries), [1, 2, 3]);
  assert.equal(opened.entries[2]?.data.length, 2_000_000);
  await save(opened.wal, null, [entryOf(4)]);
  await opened.wal.close();
  assert.deepEqual(indexesOf((await readLog(world.disk, directory, START)).entries), [1, 2, 3, 4]);
});

test('entries of a newer leader take the place of those they overwrite', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  await save(wal, HardState.create({ term: 1 }), [entryOf(1), entryOf(2), entryOf(3)]);
  await save(wal, HardState.create({ term: 2 }), [entryOf(2, 'new', 2)]);
  await wal.close();
  const opened = await Wal.open(world, directory, START, SMALL);
  assert.deepEqual(
    opened.entries.map((entry) => [entry.index, entry.term]),
    [
      [1, 1],
      [2, 2],
    ],
  );
  assert.equal(opened.wal.lastIndex, 2);
  await opened.wal.close();
});

test('callbacks come in the order of the calls, also of those with nothing to wait for', async () => {
  const wal = await Wal.create(world, newDirectory(), METADATA, SMALL);
  const order: string[] = [];
  const note = (name: string) => (): void => {
    order.push(name);
  };
  wal.save(HardState.create({ term: 1, commit: 0 }), [entryOf(1)], 0, 1, note('first'));
  wal.save(HardState.create({ term: 1, commit: 1 }), [], 0, 0, note('commit only'));
  wal.save(null, [entryOf(2)], 0, 1, note('second'));
  assert.deepEqual(order, [], 'nothing is durable yet');
  await save(wal, null, [entryOf(3)]);
  assert.deepEqual(order, ['first', 'commit only', 'second']);
  wal.save(HardState.create({ term: 1, commit: 3 }), [], 0, 0, note('at once'));
  assert.equal(order.at(-1), 'at once', 'nobody waits, nothing must be durable');
  await wal.close();
});

test('a save from within a callback comes after all callbacks of that batch', async () => {
  const wal = await Wal.create(world, newDirectory(), METADATA, SMALL);
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    wal.save(HardState.create({ term: 1 }), [entryOf(1)], 0, 1, () => {
      order.push('one');
      wal.save(HardState.create({ term: 1, commit: 1 }), [], 0, 0, () => {
        order.push('nested');
        resolve();
      });
    });
    wal.save(null, [entryOf(2)], 0, 1, () => order.push('two'));
  });
  assert.deepEqual(order, ['one', 'two', 'nested']);
  await wal.close();
});

test('replay starts at a snapshot the log knows, and at no other', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  for (let index = 1; index <= 40; index++)
    await save(wal, HardState.create({ term: 1 }), [entryOf(index, 'y'.repeat(400))]);
  await saveSnapshot(wal, 30, 1);
  await save(wal, HardState.create({ term: 1, commit: 40 }), [entryOf(41)]);
  await wal.close();
  assert.deepEqual(
    (await validSnapshots(world.disk, directory)).map((snapshot) => snapshot.index),
    [0, 30],
  );
  const opened = await Wal.open(world, directory, { index: 30, term: 1 }, SMALL);
  assert.deepEqual(indexesOf(opened.entries), [31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41]);
  await opened.wal.close();
  await assert.rejects(readLog(world.disk, directory, { index: 30, term: 2 }), /wal: snapshot mismatch/);
  await assert.rejects(readLog(world.disk, directory, { index: 29, term: 1 }), /wal: snapshot not found/);
});

test('released segments go, but not the last ones', async () => {
  const directory = newDirectory();
  const options = { ...SMALL, segmentsMax: 2 };
  const wal = await Wal.create(world, directory, METADATA, options);
  for (let index = 1; index <= 60; index++)
    await save(wal, HardState.create({ term: 1 }), [entryOf(index, 'z'.repeat(400))]);
  await saveSnapshot(wal, 50, 1);
  const before = segmentFiles(directory);
  wal.releaseTo(50);
  await wal.close();
  const left = segmentFiles(directory);
  assert.ok(left.length < before.length);
  assert.ok(Number.parseInt((left[0] as string).slice(17, 33), 16) < 50, 'the segment that holds entry 50 is there');
  const opened = await Wal.open(world, directory, { index: 50, term: 1 }, options);
  assert.equal(opened.entries.length, 10);
  await opened.wal.close();
  await assert.rejects(Wal.open(world, directory, START, options), /wal: file not found/);
});

test('a missing segment is damage', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  for (let index = 1; index <= 40; index++)
    await save(wal, HardState.create({ term: 1 }), [entryOf(index, 'y'.repeat(400))]);
  await wal.close();
  rmSync(join(directory, segmentFiles(directory)[1] as string));
  await assert.rejects(Wal.open(world, directory, START, SMALL), (error) => {
    assert.ok(error instanceof CorruptionError);
    assert.match(error.message, /a segment is missing: 0 is followed by 2/);
    return true;
  });
});

test('two at once are refused, and a second log in the same place', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, SMALL);
  await assert.rejects(Wal.open(world, directory, START, SMALL), (error) => hasCode(error, 'ELOCKED'));
  await assert.rejects(Wal.create(world, directory, METADATA, SMALL), OperatorError);
  await wal.close();
  const opened = await Wal.open(world, directory, START, SMALL);
  await opened.wal.close();
});

test('a torn tail is cut off, with a copy kept; appending goes on', async () => {
  const directory = newDirectory();
  const options = { ...SMALL, segmentBytes: 65536 };
  const wal = await Wal.create(world, directory, METADATA, options);
  await save(wal, HardState.create({ term: 1 }), [entryOf(1)]);
  await save(wal, null, [entryOf(2, 'w'.repeat(3000))]);
  await wal.close();
  const path = join(directory, segmentName(0, 0));
  const bytes = readFileSync(path);
  bytes.fill(0, 1024, 1536);
  writeFileSync(path, bytes);
  const opened = await Wal.open(world, directory, START, options);
  assert.deepEqual(indexesOf(opened.entries), [1]);
  assert.equal(opened.repair?.copyPath, `${path}.broken`);
  assert.deepEqual(readFileSync(`${path}.broken`), bytes);
  await save(opened.wal, null, [entryOf(2, 'again')]);
  await opened.wal.close();
  assert.deepEqual((await readLog(world.disk, directory, START)).entries, [entryOf(1), entryOf(2, 'again')]);
});

test('a changed byte in the middle is refused with its place', async () => {
  const directory = newDirectory();
  const wal = await Wal.create(world, directory, METADATA, { ...SMALL, segmentBytes: 65536 });
  for (let index = 1; index <= 9; index++) await save(wal, HardState.create({ term: 1 }), [entryOf(index)]);
  await wal.close();
  const path = join(directory, segmentName(0, 0));
  const bytes = readFileSync(path);
  const at = bytes.indexOf('value 4');
  bytes[at] = 0x56;
  writeFileSync(path, bytes);
  await assert.rejects(Wal.open(world, directory, START, SMALL), (error) => {
    assert.ok(error instanceof CorruptionError);
    assert.match(error.message, /walpb: crc mismatch/);
    const position = Number(/at byte (\d+)$/.exec(error.where)?.[1]);
    assert.ok(position < at && position > at - 40, `byte ${position} begins the record with byte ${at}`);
    assert.match(error.where, new RegExp(segmentName(0, 0)));
    assert.ok(error.advice.length > 20);
    return true;
  });
});

test('a damaged frame head is not taken for a torn tail', async () => {
  const directory = newDirectory();
  const options = { ...SMALL, segmentBytes: 65536 };
  const wal = await Wal.create(world, directory, METADATA, options);
  for (let index = 1; index <= 9; index++) await save(wal, HardState.create({ term: 1 }), [entryOf(index)]);
  await wal.close();
  const path = join(directory, segmentName(0, 0));
  const intact = readFileSync(path);
  const head = Math.floor((intact.indexOf('value 4') - 25) / 8) * 8;
  const longer = Buffer.from(intact);
  longer[head + 2] = 0x70;
  writeFileSync(path, longer);
  await assert.rejects(Wal.open(world, directory, START, options), /intact records stand further on/);
  const impossible = Buffer.from(intact);
  impossible[head + 7] = 0x13;
  writeFileSync(path, impossible);
  await assert.rejects(Wal.open(world, directory, START, options), /a frame head that no writer makes/);
});

test('the benchmark runs', async () => {
  const { run } = await import('./wal.bench.ts');
  const outcome = await run(root, 3, 30, SMALL);
  assert.ok(outcome.entriesPerSecond > 0 && outcome.p99Ms >= outcome.p50Ms);
});
