/**
 * Goal: nothing is renamed before its content is durable, no directory sync is forgotten. Method: every call to the disk
 * during a short life of a log, compared with testdata/disk-calls.txt.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Entry, HardState, RaftSnapshot, SnapshotMetadata, WalSnapshot } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import { SimUniverse } from '@etsd/runtime/sim';
import { GoldenDisk, matchSnapshot } from '@etsd/testkit';
import { segmentName, Wal, writeSnapshotFile } from './index.ts';

const OPTIONS = { segmentBytes: 2048, fillAheadBytes: 512, segmentsMax: 1 };
const DIRECTORY = '/d/wal';

function save(wal: Wal, index: number, bytes: number): Promise<void> {
  const entry = Entry.create({ term: 1, index, data: Buffer.alloc(bytes, 'x') });
  return new Promise((resolve, reject) => {
    wal.save(HardState.create({ term: 1, commit: index - 1 }), [entry], 0, 1, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

test('the calls to the disk, in order', async () => {
  const universe = new SimUniverse(1);
  const machine = universe.addMachine('m');
  const golden = new GoldenDisk(machine.world.disk, '/d');
  const world: World = { ...machine.world, disk: golden };
  const chapters: string[] = [];
  const chapter = async (title: string, work: () => Promise<void>): Promise<void> => {
    await universe.simulation.runToEnd(work());
    chapters.push(`# ${title}\n${golden.take()}\n`);
  };
  await universe.simulation.runToEnd(machine.world.disk.makeDirectory('/d/snap'));
  let wal: Wal | null = null;
  const log = (): Wal => wal as Wal;
  await chapter('create', async () => {
    wal = await Wal.create(world, DIRECTORY, Buffer.from('metadata'), OPTIONS);
  });
  await chapter('save', () => save(log(), 1, 100));
  await chapter('save until the segment is full', () => save(log(), 2, 2000));
  await chapter('save into a new segment', () => save(log(), 3, 100));
  await chapter('snapshot: the file, then the record', async () => {
    const metadata = SnapshotMetadata.create({ index: 3, term: 1 });
    await writeSnapshotFile(world.disk, '/d/snap', RaftSnapshot.create({ metadata }));
    await new Promise<void>((resolve) => {
      log().saveSnapshot(WalSnapshot.create({ index: 3, term: 1 }), () => resolve());
    });
  });
  await chapter('release and close', async () => {
    log().releaseTo(4);
    await save(log(), 4, 600);
    await log().close();
  });
  const path = `${DIRECTORY}/${segmentName(1, 3)}`;
  // The sector behind the head of the record was never written.
  const before = machine.medium.peek(path);
  machine.medium.poke(path, Buffer.concat([before.subarray(0, 512), Buffer.alloc(before.length - 512)]));
  await chapter('open with a torn tail', async () => {
    const opened = await Wal.open(world, DIRECTORY, { index: 3, term: 1 }, OPTIONS);
    assert.deepEqual(opened.entries, []);
    await opened.wal.close();
  });
  matchSnapshot(join(import.meta.dirname, 'testdata', 'disk-calls.txt'), chapters.join('\n'));
});
