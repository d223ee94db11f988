/** Goal: one member that is ill does not make calls slow or lost. Method: scripted members, simulated time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ErrNoLeader, ErrRequestTooManyRequests, GrpcCode, KeyValue } from '@etsd/proto';
import { TimeoutError } from './errors.ts';
import * as methods from './methods.ts';
import { headerAt, Neighbourhood } from './testing/neighbours.ts';

test('a read that a member does not answer is asked of another; the silent one is left alone then', async () => {
  const around = new Neighbourhood();
  const [silent, well] = [await around.member('silent'), await around.member('well')];
  const asked: string[] = [];
  silent.on(methods.Range, 'unary', () => asked.push('silent'));
  well.on(methods.Range, 'unary', (call) => {
    asked.push('well');
    call.answer({ kvs: [KeyValue.create({ key: Buffer.from('k') })], count: 1 });
  });
  const client = around.client(['silent', 'well'], { timeoutMs: 4000 });
  const { simulation } = around.universe;
  const startMs = simulation.nowMs;
  assert.notEqual(await around.outcome(client.kv.get('k')), null);
  const tookMs = simulation.nowMs - startMs;
  assert.ok(tookMs >= 2000 && tookMs < 2200, `half of the time was given to the first: ${tookMs}`);
  for (let i = 0; i < 10; i++) await around.outcome(client.kv.get('k'));
  assert.deepEqual(asked, ['silent', ...new Array<string>(11).fill('well')]);
  assert.equal(client.endpointStates.find(({ endpoint }) => endpoint === 'silent:2379')?.state, 'suspect');

  // Later one call finds out, and the pause is longer the next time.
  await around.pass(300);
  const quick = { attemptTimeoutMs: 100 };
  for (let i = 0; i < 4; i++) await around.outcome(client.kv.get('k', quick));
  assert.equal(asked.filter((name) => name === 'silent').length, 2);
  await around.pass(300);
  for (let i = 0; i < 4; i++) await around.outcome(client.kv.get('k', quick));
  assert.equal(asked.filter((name) => name === 'silent').length, 2);
  await client.close();
});

test('a write is not sent to a second member when the first does not answer', async () => {
  const around = new Neighbourhood();
  let writes = 0;
  for (const name of ['a', 'b']) {
    const member = await around.member(name);
    member.on(methods.Put, 'unary', () => writes++);
  }
  const client = around.client(['a', 'b'], { timeoutMs: 1000 });
  await assert.rejects(around.outcome(client.kv.put('k', 'v')), TimeoutError);
  assert.equal(writes, 1);
  await client.close();
});

test('a member without a leader is left, one that is busy is asked again a little later', async () => {
  const around = new Neighbourhood();
  const lonely = await around.member('lonely');
  const busy = await around.member('busy');
  let refusals = 0;
  lonely.on(methods.Range, 'unary', (call) => call.fail(ErrNoLeader.code, ErrNoLeader.message));
  busy.on(methods.Range, 'unary', (call) => call.answer({}));
  busy.on(methods.Put, 'unary', (call) => {
    if (++refusals <= 3) call.fail(GrpcCode.ResourceExhausted, ErrRequestTooManyRequests.message);
    else call.answer({ header: headerAt(9) });
  });
  const client = around.client(['lonely', 'busy']);
  for (let i = 0; i < 5; i++) assert.equal(await around.outcome(client.kv.get('k')), null);
  const written = await around.outcome(client.kv.put('k', 'v', { endpoint: 'busy:2379' }));
  assert.deepEqual([written.header?.revision, refusals], [9, 4]);
  await client.close();
});
