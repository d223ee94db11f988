/**
 * Three load generators that begin together and are evaluated when all are done.
 * `node_modules/.bin/node examples/double-barrier.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { DoubleBarrier } from '@etsd/client/recipes';

const endpoints = process.argv[2] ?? '127.0.0.1:2379';

async function generator(name: string): Promise<void> {
  await using client = new EtcdClient({ endpoints });
  await using lease = await client.leases.hold(10);
  console.log(`${name} is there`);
  const crossing = await new DoubleBarrier(client, 'example/run', 3).enter(lease);
  console.log(`${name} runs`);
  await crossing.leave();
  console.log(`${name} knows that all are done`);
}

await Promise.all(['a', 'b', 'c'].map(generator));
