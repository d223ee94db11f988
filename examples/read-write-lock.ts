/**
 * Many read at once, one writes alone, and who came first is served first.
 * `node_modules/.bin/node examples/read-write-lock.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { ReadWriteLock } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
await using lease = await client.leases.hold(10);
const catalogue = new ReadWriteLock(client, 'example/catalogue');

const first = await catalogue.read(lease);
const second = await catalogue.read(lease);
console.log('two read');
const writing = catalogue.write(lease).then(async (held) => {
  console.log('one writes');
  await held.release();
});
await first.release();
console.log('one reads still');
await second.release();
await writing;
await using _third = await catalogue.read(lease);
console.log('one reads again');
