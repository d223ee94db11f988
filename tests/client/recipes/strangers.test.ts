/**
 * Goal: a holder that stood still for longer than its lease does no harm; etcd's own tools stand in the same queues.
 * Method: a thread that is held where it is; real etcdctl as holder, as one who waits, and as observer.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { put } from '@etsd/client';
import { acquire, campaign, leader } from '@etsd/client/recipes';
import { findPeerProgram, needsPeer } from '@etsd/testkit';
import { eventually, within } from '../../support/conditions.ts';
import { type Field, onBothProducts, stillWaits } from './field.ts';
import type { PausedHolderData, PausedHolderReport } from './paused-holder.ts';

const TTL = 30;
/** The shortest that both products grant as it is asked for. */
const SHORT_TTL = 2;

/** etcdctl at work, and the lines it has printed. */
function etcdctl(field: Field, context: TestContext, ...args: string[]): { child: ChildProcess; lines: string[] } {
  const program = findPeerProgram('etcdctl') as string;
  const child = spawn(program, ['--endpoints', field.server.address, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  child.stdout
    .setEncoding('utf8')
    .on('data', (text: string) => lines.push(...text.split('\n').filter((line) => line !== '')));
  return { child, lines };
}

onBothProducts('strangers', {
  'a holder that stood still for longer than its lease is refused when it goes on': async (field) => {
    const { client, name, server } = field;
    const wake = new Int32Array(new SharedArrayBuffer(4));
    const workerData: PausedHolderData = { address: server.address, name, ttlSeconds: SHORT_TTL, wake };
    const worker = new Worker(new URL('./paused-holder.ts', import.meta.url), { workerData });
    try {
      assert.deepEqual(await within(20_000, 'it holds', once(worker, 'message')), ['held']);
      const mine = acquire(client, `${name}lock`, await client.leases.hold(TTL));
      const lock = await within(30_000, 'its successor', mine);
      await lock.write(put(`${name}x`, 'by its successor'));
      const telling = once(worker, 'message');
      Atomics.store(wake, 0, 1);
      Atomics.notify(wake, 0);
      const [report] = (await within(20_000, 'its report', telling)) as [PausedHolderReport];
      const { revision, ...rest } = report;
      assert.ok(revision < lock.revision);
      assert.deepEqual(rest, { isHeld: false, isAborted: true, isRefused: true, isRefusedByStore: true });
      assert.equal((await client.kv.get(`${name}x`))?.value.toString(), 'by its successor');
      await lock.release();
    } finally {
      await worker.terminate();
    }
  },

  'etcdctl lock and acquire take turns': async (field, context) => {
    if (needsPeer('etcdctl') !== false) return context.skip('no etcdctl');
    const { client, name } = field;
    const first = etcdctl(field, context, 'lock', `${name}l`);
    await eventually(20_000, 'etcdctl holds', () => (first.lines.length > 0 ? true : null));
    const waiting = acquire(client, `${name}l`, await client.leases.hold(TTL));
    await stillWaits(waiting);
    const second = etcdctl(field, context, 'lock', `${name}l`);
    await eventually(20_000, 'three in the queue', async () => ((await field.keys('l/')).length === 3 ? true : null));
    first.child.kill('SIGINT');
    const lock = await within(20_000, 'our turn', waiting);
    assert.deepEqual(second.lines, []);
    await lock.release();
    await eventually(20_000, 'etcdctl has its turn', () => (second.lines.length > 0 ? true : null));
    assert.match(second.lines[0] ?? '', /l\/[0-9a-f]+$/);
    second.child.kill('SIGINT');
  },

  'etcdctl elect and campaign stand in one election': async (field, context) => {
    if (needsPeer('etcdctl') !== false) return context.skip('no etcdctl');
    const { client, name } = field;
    const ours = await campaign(client, `${name}e`, await client.leases.hold(TTL), 'ours');
    const observer = etcdctl(field, context, 'elect', '--listen', `${name}e`);
    const theirs = etcdctl(field, context, 'elect', `${name}e`, 'theirs');
    const sees = (value: string) =>
      eventually(20_000, `etcdctl sees ${value}`, () => (observer.lines.includes(value) ? true : null));
    await sees('ours');
    await ours.proclaim('ours again');
    await sees('ours again');
    await eventually(20_000, 'two candidates', async () => ((await field.keys('e/')).length === 2 ? true : null));
    await ours.resign();
    await sees('theirs');
    assert.equal((await leader(client, `${name}e`))?.value.toString(), 'theirs');
    await eventually(20_000, 'etcdctl leads', () => (theirs.lines.includes('theirs') ? true : null));
    theirs.child.kill('SIGINT');
    const again = await within(20_000, 'ours', campaign(client, `${name}e`, await client.leases.hold(TTL), 'back'));
    await sees('back');
    await again.resign();
  },
});
