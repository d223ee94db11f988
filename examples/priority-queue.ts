/**
 * What matters most first, and in the order of coming where it matters the same.
 * `node_modules/.bin/node examples/priority-queue.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { PriorityQueue } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
const alarms = new PriorityQueue(client, 'example/alarms');
await alarms.enqueue('a disk is nearly full', 5);
await alarms.enqueue('a lamp is broken', 9);
await alarms.enqueue('fire', 0);
await alarms.enqueue('a disk is full', 5);

for (let item = await alarms.tryDequeue(); item !== null; item = await alarms.tryDequeue()) {
  console.log(item.value.toString());
}
