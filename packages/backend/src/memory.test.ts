import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { MemoryBackend } from './memory.ts';
import { backendSuite } from './suite.ts';

backendSuite({ name: 'memory', create: async () => new MemoryBackend(), reopen: null });
backendSuite({ name: 'memory, crashable', create: async () => new MemoryBackend({ crashable: true }), reopen: null });

// Goal: a crash of the machine takes whole batches, newest first, and never what was flushed.
test('memory: a crash loses whole batches from the end', async () => {
  const key = (n: number): Buffer => Buffer.from(`k${n}`);
  for (let survivors = 0; survivors <= 3; survivors++) {
    const backend = new MemoryBackend({ crashable: true });
    backend.put('key', key(0), key(0));
    await backend.flush();
    for (let n = 1; n <= 3; n++) {
      backend.put('key', key(n), key(n));
      backend.put('meta', Buffer.from('consistent_index'), key(n));
      backend.commit();
    }
    backend.put('key', key(4), key(4));
    assert.equal(backend.undurableBatches, 3);
    const restarted = backend.afterCrash(survivors);
    for (let n = 0; n <= 4; n++) assert.equal(restarted.get('key', key(n)) !== null, n <= survivors, `k${n}`);
    const index = restarted.get('meta', Buffer.from('consistent_index'));
    assert.equal(index?.toString() ?? null, survivors === 0 ? null : `k${survivors}`);
    await restarted.close();
  }
});

// Goal: keys that were deleted, and some that came back, are told or not as the newest commit says, in order.
test('a scan tells what is there after many keys went and some came back', () => {
  const backend = new MemoryBackend();
  const random = new Prng(7);
  const model = new Map<string, string>();
  for (let round = 0; round < 60; round++) {
    // Few stay in every third round, so that most of what the table knows is gone.
    const deletes = round % 3 === 0 ? 0.95 : 0.4;
    for (let step = 0; step < 100; step++) {
      const key = `k${random.below(300)}`;
      if (random.chance(deletes)) {
        model.delete(key);
        backend.delete('lease', Buffer.from(key));
      } else {
        model.set(key, `${round}.${step}`);
        backend.put('lease', Buffer.from(key), Buffer.from(`${round}.${step}`));
      }
    }
    backend.commit();
    const seen: [string, string][] = [];
    backend.scan('lease', null, null, (key, value) => seen.push([String(key), String(value)]) > 0);
    assert.deepEqual(
      seen,
      [...model].sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }
});
