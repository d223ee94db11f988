/** Goal: a torn end is mended also where it is hard: on a full disk, and where old records stand behind it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Entry, HardState } from '@etsd/proto';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { Wal } from './index.ts';

const OPTIONS = { segmentBytes: 1 << 16, fillAheadBytes: 0 };
const START = { index: 0, term: 0 };
const PATH = '/d/wal/0000000000000000-0000000000000000.wal';

async function saveMany(wal: Wal, from: number, to: number): Promise<void> {
  for (let index = from; index <= to; index++) {
    const entry = Entry.create({ term: 1, index, data: Buffer.alloc(700, index) });
    await new Promise<void>((resolve, reject) => {
      wal.save(HardState.create({ term: 1 }), [entry], 0, 1, (error) => (error === null ? resolve() : reject(error)));
    });
  }
}

/** A log of ten entries; `damage` changes the bytes of its only segment, which are given from its first entry on. */
async function damaged(damage: (bytes: Buffer) => void): Promise<{ universe: SimUniverse; machine: SimMachine }> {
  const universe = new SimUniverse(1);
  const machine = universe.addMachine('m');
  const work = async (): Promise<void> => {
    await machine.world.disk.makeDirectory('/d');
    const wal = await Wal.create(machine.world, '/d/wal', Buffer.from('m'), OPTIONS);
    await saveMany(wal, 1, 10);
    await wal.close();
  };
  await universe.simulation.runToEnd(work());
  const bytes = machine.medium.peek(PATH);
  damage(bytes);
  machine.medium.poke(PATH, bytes);
  return { universe, machine };
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
  const { universe, machine } = await damaged((bytes) => {
    const head = Math.floor((dataOf(bytes, 4) - 25) / 8) * 8;
    bytes.fill(0, head, Math.ceil((head + 1) / 512) * 512);
  });
  const opened = await universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  assert.equal(opened.entries.length, 3);
  await universe.simulation.runToEnd(saveMany(opened.wal, 4, 4));
  machine.crash();
  const again = await universe.simulation.runToEnd(Wal.open(machine.world, '/d/wal', START, OPTIONS));
  assert.equal(again.entries.length, 4);
  assert.equal(again.repair, null);
  assert.equal(machine.medium.peek(PATH).indexOf(Buffer.alloc(100, 6)), -1);
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
