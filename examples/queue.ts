/**
 * Work that is done once each, though a worker dies with its item: the item is lent, and its effect is written by the same
 * transaction that removes it. `node_modules/.bin/node examples/queue.ts [host:port]`
 */
import { EtcdClient, put } from '@etsd/client';
import { Queue } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
const mails = new Queue(client, 'example/mails');
for (const name of ['ada', 'grace', 'edsger']) await mails.enqueue(name);

const dying = await client.leases.hold(2);
const first = await mails.take(dying);
console.log(`a worker takes ${first.value} and is gone`);
await dying.abandon();

await using lease = await client.leases.hold(10);
while ((await mails.length()) > 0) {
  await using mail = await mails.take(lease);
  await mail.complete(put(`example/sent/${mail.value}`, new Date().toISOString()));
  console.log(`sent to ${mail.value}`);
}
