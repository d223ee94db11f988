/**
 * Fills a member to its quota, deletes everything and writes again, on etsd and on etcd: what an operator has to do in
 * between is what the two differ in. Prints what happened when.
 *
 *     node tests/hostile/nospace.ts [etsd] [etcd]
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type Message } from '../support/client.ts';
import { type Product, startServer } from '../support/server.ts';

const QUOTA = 32 * 1024 * 1024;
const VALUE = Buffer.alloc(200_000, 120);
const PREFIX = { key: Buffer.from('app/jobs/'), range_end: Buffer.from('app/jobs0') };
/** etsd is given so long to get out of its alarm by itself; etcd never does. */
const PATIENCE_MS = 60_000;

async function run(product: Product): Promise<void> {
  const server = await startServer({ product, flags: ['--quota-backend-bytes', String(QUOTA)] });
  const client = new Client(server.address);
  const startMs = performance.now();
  const say = (text: string): void => {
    console.log(`${product}  ${((performance.now() - startMs) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  };
  const put = (key: string) => client.call('KV/Put', { key: Buffer.from(key), value: VALUE });
  const alarms = async () => (await client.expect('Maintenance/Alarm', { action: 'GET' }))['alarms'] as Message[];
  let steps = 0;
  const step = async (command: string, work: () => Promise<unknown>): Promise<void> => {
    await work();
    steps++;
    say(`operator: ${command}`);
    const outcome = await put('app/jobs/again');
    say(outcome.code === 0 ? 'a put is taken' : `a put is refused: ${outcome.message}`);
  };
  try {
    let count = 0;
    let refused = '';
    while (refused === '') {
      const outcome = await put(`app/jobs/${count}`);
      if (outcome.code === 0) count++;
      else refused = outcome.message;
    }
    say(`put ${count} of 200 kB is refused: ${refused}`);
    const { deleted } = await client.expect('KV/DeleteRange', PREFIX);
    say(`deleted ${deleted} keys`);
    if (product === 'etsd') {
      let stands = true;
      while (stands && performance.now() - startMs < PATIENCE_MS) {
        await sleep(100);
        stands = (await alarms()).length > 0;
      }
      say(stands ? 'the alarm still stands' : 'the alarm is gone');
    } else {
      const first = await put('app/jobs/again');
      say(`a put is refused: ${first.message}`);
      let revision = '';
      await step('endpoint status (for the revision)', async () => {
        revision = ((await client.expect('Maintenance/Status', {}))['header'] as Message)['revision'] as string;
      });
      await step(`compaction ${revision}`, () => client.expect('KV/Compact', { revision, physical: true }));
      await step('defrag', () => client.expect('Maintenance/Defragment', {}, 60_000));
      await step('alarm disarm', async () => {
        for (const alarm of await alarms())
          await client.expect('Maintenance/Alarm', { ...alarm, action: 'DEACTIVATE' });
      });
    }
    const last = await put('app/jobs/again');
    say(last.code === 0 ? `a put is taken; steps of the operator: ${steps}` : `still refused: ${last.message}`);
    for (const line of server.logs.filter((text) => /NOSPACE|of its quota/.test(text))) say(`log: ${line}`);
  } finally {
    client.close();
    await server.dispose();
  }
}

const products = process.argv.slice(2).filter((name): name is Product => name === 'etsd' || name === 'etcd');
for (const product of products.length > 0 ? products : (['etsd', 'etcd'] as const)) await run(product);
