import assert from 'node:assert/strict';
import { test } from 'node:test';
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
