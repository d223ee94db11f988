/**
 * Why a lock alone is not enough: a holder that stands still for longer than its lease believes that it still holds, and
 * what it writes then has to be refused. `node_modules/.bin/node examples/fencing.ts [host:port]`
 */
import { EtcdClient, put } from '@etsd/client';
import { acquire, LostError } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });

const shortLease = await client.leases.hold(2);
const slow = await acquire(client, 'example/report-lock', shortLease);
console.log('the first holds the lock');
// As if its process stood still: nobody renews the lease any more.
await shortLease.abandon();

await using lease = await client.leases.hold(10);
await using lock = await acquire(client, 'example/report-lock', lease);
await lock.write(put('example/report', 'by the second'));
console.log(`the second holds it, with a larger token: ${lock.revision > slow.revision}`);

try {
  await slow.write(put('example/report', 'by the first'));
} catch (error) {
  if (!(error instanceof LostError)) throw error;
  console.log('the first comes back and is refused');
}
console.log(`the report: ${(await client.kv.get('example/report'))?.value}`);
