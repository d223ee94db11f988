// Goal: files of received snapshots go, whoever removes them, and those that are still needed stay.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimUniverse } from '@etsd/runtime/sim';
import { hasReceived, receivedPath, removeReceived } from './file-names.ts';

test('two that remove at once what was received do not get in each other’s way', async () => {
  const universe = new SimUniverse(1);
  const { world } = universe.addMachine('m');
  const { disk } = world;
  const work = async (): Promise<void> => {
    await disk.makeDirectory('/snap');
    for (const index of [5, 6, 7]) await disk.writeFileAtomic(receivedPath('/snap', index), Buffer.from('a snapshot'));
    await Promise.all([removeReceived(world, '/snap', 6), removeReceived(world, '/snap', 6)]);
    assert.deepEqual(await disk.list('/snap'), ['0000000000000007.snap.db']);
    await removeReceived(world, '/snap', 7);
    assert.equal(await hasReceived(disk, '/snap'), false);
  };
  await universe.simulation.runToEnd(work());
});
