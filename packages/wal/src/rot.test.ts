/**
 * Goal: what a disk changes behind our back is never taken for the log. Method: logs on simulated disks, of several segments; one bit
 * anywhere is turned over at rest, or writes go where they were not sent; then the log is opened. It has to be refused, or to be
 * what was written but for the last batch: one that a crash has torn looks the same.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, OperatorError } from '@etsd/base';
import { Entry, HardState } from '@etsd/proto';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { Wal } from './wal.ts';

const DIRECTORY = '/data/wal';
const OPTIONS = { segmentBytes: 4096, segmentsMax: 10, fillAheadBytes: 4096 };
const ENTRIES = 60;
const RUNS = 120;

function entry(index: number): Entry {
  return Entry.create({ index, term: 1, data: Buffer.alloc(150, index) });
}

/** Writes entries 1 to ENTRIES, each on its own. */
async function write(machine: SimMachine): Promise<void> {
  const { world } = machine;
  await world.disk.makeDirectory('/data');
  const wal = await Wal.create(world, DIRECTORY, Buffer.from('metadata'), OPTIONS);
  for (let index = 1; index <= ENTRIES; index++) {
    const state = HardState.create({ term: 1, commit: index - 1 });
    await new Promise<void>((resolve, reject) => {
      wal.save(state, [entry(index)], 0, 1, (error) => (error === null ? resolve() : reject(error)));
    });
  }
  await wal.close();
}

/** How many entries there are; −1 where the log is refused, with a reason. */
async function read(machine: SimMachine): Promise<number> {
  try {
    const { wal, entries, metadata } = await Wal.open(machine.world, DIRECTORY, { index: 0, term: 0 }, OPTIONS);
    await wal.close();
    assert.equal(metadata.toString(), 'metadata');
    entries.forEach((found, place) => {
      assert.deepEqual(Entry.encode(found), Entry.encode(entry(place + 1)), `entry ${place + 1}`);
    });
    return entries.length;
  } catch (error) {
    assert.ok(error instanceof CorruptionError || error instanceof OperatorError, String(error));
    return -1;
  }
}

test('a bit that turned over in the log is found, or lies where nothing is', async () => {
  const outcomes = { refused: 0, cut: 0, whole: 0 };
  for (let seed = 1; seed <= RUNS; seed++) {
    const universe = new SimUniverse(seed);
    const machine = universe.addMachine('m');
    const found = await universe.simulation.runToEnd(
      write(machine).then(() => {
        machine.kill();
        assert.ok(machine.medium.rot((path) => path.startsWith(DIRECTORY)) !== null);
      }),
    );
    assert.equal(found, undefined);
    const count = await universe.simulation.runToEnd(read(machine));
    assert.ok(count < 0 || count >= ENTRIES - 1, `seed ${seed}: ${count} of ${ENTRIES} entries`);
    if (count < 0) outcomes.refused++;
    else if (count < ENTRIES) outcomes.cut++;
    else outcomes.whole++;
  }
  // Nothing but the last segment can end early.
  assert.ok(outcomes.refused > outcomes.cut && outcomes.refused > RUNS / 4, JSON.stringify(outcomes));
});

test('a log of which some writes went elsewhere is refused, or lacks the last one', async () => {
  let refused = 0;
  let misdirected = 0;
  for (let seed = 1; seed <= RUNS; seed++) {
    const universe = new SimUniverse(seed);
    const machine = universe.addMachine('m');
    machine.diskFaults.misdirectRate = 0.03;
    await universe.simulation.runToEnd(write(machine));
    misdirected += universe.simulation.counts.get('disk.misdirected') > 0 ? 1 : 0;
    machine.diskFaults.misdirectRate = 0;
    const count = await universe.simulation.runToEnd(read(machine));
    assert.ok(count < 0 || count >= ENTRIES - 1, `seed ${seed}: ${count} of ${ENTRIES} entries`);
    if (count < 0) refused++;
  }
  assert.ok(misdirected > RUNS / 2 && refused > RUNS / 10, `${misdirected} misdirected, ${refused} refused`);
});
