/**
 * Three workers, one lock: each adds one to a counter under the lock, and the store itself refuses whoever no longer holds
 * it. `node_modules/.bin/node examples/lock.ts [host:port]`
 */
import { EtcdClient, put } from '@etsd/client';
import { acquire } from '@etsd/client/recipes';

const endpoints = process.argv[2] ?? '127.0.0.1:2379';

async function worker(name: string): Promise<void> {
  await using client = new EtcdClient({ endpoints });
  await using lease = await client.leases.hold(10);
  for (let round = 0; round < 3; round++) {
    await using lock = await acquire(client, 'example/counter-lock', lease);
    const before = Number((await client.kv.get('example/counter'))?.value ?? 0);
    // Throws where the lock is lost, so a count is never overwritten by one who came back too late.
    await lock.write(put('example/counter', String(before + 1)));
    console.log(`${name}: ${before + 1}`);
  }
}

await Promise.all(['a', 'b', 'c'].map(worker));
