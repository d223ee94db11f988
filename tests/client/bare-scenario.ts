/** What a page in a browser would do with the client; run by `bare-runtime.ts`. */
import { EtcdClient, json, key, prefix, put, text } from '@etsd/client/fetch';

/** Fails unless the condition holds: this runs where there is no `node:assert`. */
function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}

export async function run(address: string): Promise<string> {
  const client = new EtcdClient({ endpoints: `http://${address}` }).within('bare/');
  await client.kv.put('ключ', 'значение');
  const record = await client.kv.get('ключ');
  check(record?.value.toString() === 'значение', 'text survives');
  check(record?.key.toString('hex') === 'd0bad0bbd18ed187', 'keys survive');
  const binary = Uint8Array.from({ length: 256 }, (_unused, i) => i);
  await client.kv.put(binary, binary);
  const back = (await client.kv.get(binary))?.value ?? new Uint8Array();
  check(back.length === 256 && back.every((byte, i) => byte === i), 'bytes survive');

  const numbers = client.as(json<number>());
  const seen: string[] = [];
  const { header } = await numbers.put('n', 1);
  const watch = numbers.watch(prefix('n'), { startRevision: header?.revision ?? 0 });
  await numbers.update('n', (before = 0) => before + 1);
  await client.kv.transaction().if(key('n').exists).do(put('n2', '3')).commit();
  for await (const change of watch) {
    if (change.type === 'put') seen.push(`${change.key}=${change.entry.value}`);
    if (seen.length === 3) break;
  }
  check(seen.join() === 'n=1,n=2,n2=3', `changes in order: ${seen.join()}`);
  const listed: string[] = [];
  for await (const entry of client.as(text).list(prefix('n'), { pageSize: 1 })) listed.push(entry.key);
  check(listed.join() === 'n,n2', 'pages');

  const lease = await client.leases.hold(2);
  await client.kv.put('leased', '', { lease: lease.id });
  await new Promise((resolve) => setTimeout(resolve, 3000));
  check(lease.isAlive && (await client.kv.get('leased')) !== null, 'the lease is kept');
  await lease.release();
  check((await client.kv.get('leased')) === null, 'the lease is given up');
  const { members } = await client.cluster.list();
  check(/^[0-9a-f]{16}$/.test(members[0]?.ID ?? ''), 'ids are whole');
  await client.kv.delete(prefix(''));
  return 'done: keys, text, watch, lease, ids';
}
