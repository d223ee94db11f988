/**
 * A configuration that follows its keys and is checked before it counts: what is wrong is not taken.
 * `node_modules/.bin/node examples/config.ts [host:port]`
 */
import { EtcdClient, put } from '@etsd/client';
import { LiveConfig, oneOf, optional, shape, wholeNumber } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
await client.kv.put('example/config/level', 'info');

const parse = shape({ level: oneOf('debug', 'info'), workers: optional(wholeNumber(1, 64), 4) });
await using config = await LiveConfig.open(client, 'example/config/', { parse });
console.log(`read: ${JSON.stringify(config.current)}`);

const changes = config.changes();
const next = async (): Promise<void> => {
  await changes.next();
  console.log(`now: ${JSON.stringify(config.current)}`);
};
const both = next();
await client.kv.transaction().do(put('example/config/level', 'debug'), put('example/config/workers', '8')).commit();
await both;

const repaired = next();
await client.kv.put('example/config/workers', 'many');
while (config.error === null) await new Promise((resolve) => setTimeout(resolve, 5));
console.log(`refused: ${config.error.message}`);
await client.kv.put('example/config/workers', '16');
await repaired;
