/**
 * Services that start only once the schema is migrated. `node_modules/.bin/node examples/barrier.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { Barrier } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
const migrated = new Barrier(client, 'example/migration');

const held = await migrated.hold();
const services = ['billing', 'mail'].map(async (name) => {
  await migrated.wait();
  console.log(`${name} starts`);
});
console.log('the schema is migrated');
await held.release();
await Promise.all(services);
