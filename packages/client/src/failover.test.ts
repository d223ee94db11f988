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

test('a member that cannot be reached is tried in the background, and used again once it is there', async () => {
  const around = new Neighbourhood();
  const [first, second] = [await around.member('first'), await around.member('second')];
  let answered = 0;
  const serve = (): void => {
    first.on(methods.Range, 'unary', (call) => {
      answered++;
      call.answer({});
    });
  };
  serve();
  second.on(methods.Range, 'unary', (call) => call.answer({}));
  const client = around.client(['first', 'second']);
  const { simulation } = around.universe;
  for (let i = 0; i < 20; i++) await around.outcome(client.kv.get('k'));
  assert.ok(answered >= 9 && answered <= 12, `both have their share: ${answered} of 20`);
  first.kill();
  // Whatever is asked in the next minute finds the other one without waiting.
  for (let i = 0; i < 60; i++) {
    const startMs = simulation.nowMs;
    await around.outcome(client.kv.get('k'));
    assert.ok(simulation.nowMs - startMs < 100, `read ${i} took ${simulation.nowMs - startMs} ms`);
    await around.pass(1000);
  }
  serve();
  await around.outcome(first.listen());
  const before = answered;
  for (let i = 0; i < 60 && answered < before + 2; i++) {
    await around.outcome(client.kv.get('k'));
    await around.pass(1000);
  }
  assert.equal(answered, before + 2);
  await client.close();
});

test('endpoints that are left have time to end what runs', async () => {
  const around = new Neighbourhood();
  const [old, young] = [await around.member('old'), await around.member('young')];
  const { timers } = around.home.world;
  old.on(methods.Put, 'unary', (call) => timers.after(2000, () => call.answer({ header: headerAt(5) })));
  young.on(methods.Put, 'unary', (call) => call.answer({ header: headerAt(6) }));
  const client = around.client(['old']);
  const running = client.kv.put('k', 'v');
  await around.pass(100);
  client.useEndpoints(['young:2379']);
  assert.equal((await around.outcome(client.kv.put('k', 'v'))).header?.revision, 6);
  assert.equal((await around.outcome(running)).header?.revision, 5);
  await client.close();
});
