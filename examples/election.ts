/**
 * Two candidates; the second leads when the first resigns, and an observer sees both.
 * `node_modules/.bin/node examples/election.ts [host:port]`
 */
import { EtcdClient } from '@etsd/client';
import { campaign, observe } from '@etsd/client/recipes';

await using client = new EtcdClient({ endpoints: process.argv[2] ?? '127.0.0.1:2379' });
const done = new AbortController();
const observing = (async () => {
  for await (const kv of observe(client, 'example/leader', { signal: done.signal })) {
    console.log(`leader: ${kv.value}`);
    if (kv.value.toString() === 'second') done.abort();
  }
})();

await using firstLease = await client.leases.hold(10);
await using secondLease = await client.leases.hold(10);
const first = await campaign(client, 'example/leader', firstLease, 'first');
const second = campaign(client, 'example/leader', secondLease, 'second');
await first.proclaim('first, at work');
await first.resign();
await using _second = await second;
await observing;
