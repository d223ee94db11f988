/**
 * Two instances of a service, found by who needs them; work goes to the one that has less to do, and to the other once one
 * is gone. `node_modules/.bin/node examples/registry.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { Resolver, register } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
const blue = await register(client, 'example/shop', { id: 'blue', address: '10.0.0.1:80' });
await using _green = await register(client, 'example/shop', { id: 'green', address: '10.0.0.2:80' });

await using shop = await Resolver.open(client, 'example/shop');
{
  using first = shop.pick();
  using second = shop.pick();
  console.log(`two requests at once: ${[first.address, second.address].sort().join(' and ')}`);
}
const changes = shop.changes();
const change = changes.next();
await blue.close();
await change;
using last = shop.pick();
console.log(`one is gone: ${last.address}`);
