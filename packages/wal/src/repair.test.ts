/** Goal: a torn end is mended also where it is hard: on a full disk, and where old records stand behind it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Entry, HardState } from '@etsd/proto';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { Wal } from './index.ts';

const OPTIONS = { segmentBytes: 1 << 16, fillAheadBytes: 0 };
const START = { index: 0, term: 0 };
const PATH = '/d/wal/0000000000000000-0000000000000000.wal';

function entryOf(index: number): Entry {
  return Entry.create({ term: 1, index, data: Buffer.alloc(700, index) });
}

async function saveBatch(wal: Wal, entries: readonly Entry[]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const done = (error: Error | null): void => (error === null ? resolve() : reject(error));
    wal.save(HardState.create({ term: 1 }), entries, 0, entries.length, done);
  });
}

async function saveMany(wal: Wal, from: number, to: number): Promise<void> {
  for (let index = from; index <= to; index++) await saveBatch(wal, [entryOf(index)]);
}

/**
 * A log of ten entries, those from `together` on written at once, all others alone; `damage` changes the bytes of its only
 * segment, which are given from its first entry on.
 */
async function damaged(
  damage: (bytes: Buffer) => void,
  together = 10,
): Promise<{ universe: SimUniverse; machine: SimMachine }> {
  const universe = new SimUniverse(1);
  const machine = universe.addMachine('m');
  const work = async (): Promise<void> => {
    await machine.world.disk.makeDirectory('/d');
    const wal = await Wal.create(machine.world, '/d/wal', Buffer.from('m'), OPTIONS);
    await saveMany(wal, 1, together - 1);
    await saveBatch(
      wal,
      Array.from({ length: 11 - together }, (_unused, place) => entryOf(together + place)),
    );
    await wal.close();
  };
  await universe.simulation.runToEnd(work());
  const bytes = machine.medium.peek(PATH);
  damage(bytes);
  machine.medium.poke(PATH, bytes);
  return { universe, machine };
}

/** The sector in which entry 4 begins holds zeros from there on. */
function loseSectorOf4(bytes: Buffer): void {
  const head = Math.floor((dataOf(bytes, 4) - 25) / 8) * 8;
  bytes.fill(0, head, Math.ceil((head + 1) / 512) * 512);
}

/** Where the data of an entry begins. */
function dataOf(bytes: Buffer, index: number): number {
  return bytes.indexOf(Buffer.alloc(700, index));
}

test('a full disk has no room for the copy, but the member starts', async () => {
  const { universe, machine } = await damaged((bytes) => bytes.fill(0, dataOf(bytes, 10), dataOf(bytes, 10) + 1024));
  machine.diskFaults.capacityBytes = machine.medium.allocatedBytes() + 40_000;
  const opened = await universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  assert.equal(opened.entries.length, 9);
  assert.equal(opened.repair?.copyPath, null);
  assert.equal(machine.medium.find(`${PATH}.broken`), null);
});

test('records behind the end of the log are gone before anything is written', async () => {
  // The first sector of a batch was lost in a crash, the rest of it was not.
  const { universe, machine } = await damaged(loseSectorOf4, 4);
  const opened = await universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  assert.equal(opened.entries.length, 3);
  await universe.simulation.runToEnd(saveMany(opened.wal, 4, 4));
  machine.crash();
  const again = await universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  assert.equal(again.entries.length, 4);
  assert.equal(again.repair, null);
  assert.equal(machine.medium.peek(PATH).indexOf(Buffer.alloc(100, 6)), -1);
});

test('a hole with later batches behind it is damage', async () => {
  for (const together of [5, 7, 10]) {
    const { universe, machine } = await damaged(loseSectorOf4, together);
    const opening = universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
    await assert.rejects(opening, /zeros in place of a record; what was written later stands at byte \d+/);
  }
});

test('a torn record with later batches behind it is damage', async () => {
  const tear = (bytes: Buffer): void => {
    const sector = Math.ceil((dataOf(bytes, 4) + 1) / 512) * 512;
    bytes.fill(0, sector, sector + 512);
  };
  const { universe, machine } = await damaged(tear, 5);
  const opening = universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  await assert.rejects(opening, /a sector of it was never written; what was written later stands at byte \d+/);
  const last = await damaged(tear, 4);
  const opened = await last.universe.simulation.runToEnd(Wal.open(last.machine.world, '/d/wal', START, OPTIONS));
  assert.equal(opened.entries.length, 3);
});

test('a head of zeros within a sector that was written is damage', async () => {
  const { universe, machine } = await damaged((bytes) => {
    const head = Math.floor((dataOf(bytes, 4) - 25) / 8) * 8;
    bytes.fill(0, head, head + 8);
  });
  const opening = universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  await assert.rejects(opening, /a frame head of zeros that something follows/);
});

test('a file that was cut behind a whole record is not the end of the log', async () => {
  const { universe, machine } = await damaged(() => {});
  const bytes = machine.medium.peek(PATH);
  const head = Math.floor((dataOf(bytes, 8) - 25) / 8) * 8;
  machine.medium.poke(PATH, bytes.subarray(0, head));
  const opening = universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  await assert.rejects(opening, /was cut to \d+ bytes: nothing stands behind its last record/);
});
