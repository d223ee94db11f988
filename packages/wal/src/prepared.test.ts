/**
 * Goal: a segment that was made ready while the disk failed is not relied on. Method: every sync of zeros fails, no
 * record does; then the power goes, and all that was acknowledged has to be read back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Entry, HardState } from '@etsd/proto';
import { SimUniverse } from '@etsd/runtime/sim';
import { Wal } from './index.ts';

const DIRECTORY = '/d/wal';
const OPTIONS = { segmentBytes: 4096, fillAheadBytes: 2048, segmentsMax: 100 };
const ENTRIES = 60;

function save(wal: Wal, index: number): Promise<void> {
  const entry = Entry.create({ term: 1, index, data: Buffer.alloc(150, 'x') });
  return new Promise((resolve, reject) => {
    wal.save(HardState.create({ term: 1, commit: index - 1 }), [entry], 0, 1, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

test('a segment whose zeros could not be synced does not become the log', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const universe = new SimUniverse(seed);
    const { simulation } = universe;
    const machine = universe.addMachine('m');
    const { world, diskFaults, medium } = machine;
    const create = async (): Promise<Wal> => {
      await world.disk.makeDirectory('/d');
      return Wal.create(world, DIRECTORY, Buffer.from('metadata'), OPTIONS);
    };
    const wal = await simulation.runToEnd(create());
    for (let index = 1; index <= ENTRIES; index++) {
      await simulation.runToEnd(save(wal, index));
      // Nothing is under way now but what gets the log ready ahead.
      diskFaults.syncErrorRate = 1;
      await simulation.runFor(100);
      diskFaults.syncErrorRate = 0;
    }
    assert.ok(medium.failures > 1, 'zeros of more than one segment could not be synced');
    machine.crash();
    const found = await simulation.runToEnd(Wal.open(machine.world, DIRECTORY, { index: 0, term: 0 }, OPTIONS));
    assert.equal(found.entries.length, ENTRIES, `seed ${seed}`);
    await simulation.runToEnd(found.wal.close());
  }
});
