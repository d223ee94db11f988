/**
 * Goal: the newest snapshot found from the end of the log is the last of all that a full reading finds. Method: logs of
 * many small segments with snapshot records here and there, some ahead of the commit index, none in long stretches.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { Entry, HardState, WalSnapshot } from '@etsd/proto';
import type { Disk } from '@etsd/runtime';
import { SimUniverse } from '@etsd/runtime/sim';
import { listSegments, newestSnapshot, validSnapshots, Wal } from './index.ts';

const SEEDS = 30;

test(`the newest snapshot is found without reading everything (seeds 1 to ${SEEDS})`, async () => {
  let segments = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const prng = new Prng(seed);
    const { simulation, world } = universeOf(seed);
    const rate = prng.pick([0.02, 0.1, 0.5]);
    await simulation.runToEnd(
      (async () => {
        const wal = await Wal.create(world, '/wal', Buffer.from('m'), { segmentBytes: 2048, segmentsMax: 100 });
        for (let index = 1; index <= 100; index++) {
          const entry = Entry.create({ index, term: 1, data: prng.bytes(prng.below(200)) });
          const commit = index - prng.below(3);
          const state = HardState.create({ term: 1, vote: '00000000000000aa', commit: Math.max(commit, 0) });
          const isAhead = prng.chance(0.3);
          await saved((done) => wal.save(state, [entry], 0, 1, done));
          const snapshot = WalSnapshot.create({ index: isAhead ? index : Math.max(1, commit), term: 1 });
          if (prng.chance(rate)) await saved((done) => wal.saveSnapshot(snapshot, done));
        }
        await wal.close();
        const all = await validSnapshots(world.disk, '/wal');
        const opened: string[] = [];
        const open: Disk['open'] = (path, access, options) => {
          opened.push(path);
          return world.disk.open(path, access, options);
        };
        const disk: Disk = Object.assign(Object.create(world.disk), { open });
        const newest = await newestSnapshot(disk, '/wal');
        assert.deepEqual(newest, all.at(-1), `seed ${seed}`);
        assert.equal(new Set(opened).size, opened.length, `seed ${seed}: no segment is read twice`);
        segments += (await listSegments(world.disk, '/wal')).length;
      })(),
    );
  }
  assert.ok(segments > SEEDS * 3, `only ${segments} segments`);
});

test('where there is no log there is no snapshot', async () => {
  const { simulation, world } = universeOf(1);
  assert.equal(await simulation.runToEnd(newestSnapshot(world.disk, '/wal')), null);
});

function universeOf(seed: number): {
  simulation: SimUniverse['simulation'];
  world: ReturnType<SimUniverse['addMachine']>['world'];
} {
  const universe = new SimUniverse(seed);
  return { simulation: universe.simulation, world: universe.addMachine('m').world };
}

function saved(save: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => save((error) => (error === null ? resolve() : reject(error))));
}
