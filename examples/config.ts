/**
 * A configuration that follows its keys: read once, then kept up by a watch from the revision of the reading on.
 * `node_modules/.bin/node examples/config.ts [host:port]`
 */
import { EtcdClient, EventType, prefix } from '@etsd/client';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379', namespace: 'example/config/' });
await client.kv.put('level', 'info');

const config = new Map<string, string>();
const { header, kvs } = await client.kv.range(prefix(''));
for (const kv of kvs) config.set(kv.key.toString(), kv.value.toString());
console.log(`read: ${JSON.stringify(Object.fromEntries(config))}`);

await client.kv.put('level', 'debug');
await client.kv.put('color', 'green');
await client.kv.delete('level');

const startRevision = (header?.revision ?? 0) + 1;
for await (const { kv, type } of client.watch(prefix(''), { startRevision }).events()) {
  if (kv === null) continue;
  if (type === EventType.PUT) config.set(kv.key.toString(), kv.value.toString());
  else config.delete(kv.key.toString());
  console.log(`now: ${JSON.stringify(Object.fromEntries(config))}`);
  if (!config.has('level')) break;
}
