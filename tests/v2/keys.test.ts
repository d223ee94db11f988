import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { Prng } from '@etsd/base';
import { ask } from '../gateway/http.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type Node, tree, v2 } from './keys-client.ts';

/** One member for all that follows, each test finding the keys of those before. */
let server: TestServer;
before(async () => {
  server = await startServer({ product: 'etsd', flags: ['--enable-v2', '--max-request-bytes', '100000'] });
});
after(() => server.dispose());

/** Without the index: a member that starts says who it is, which is a change as well. */
function keysOf(shown: string): string {
  return shown.slice(shown.indexOf('{'));
}

/** Takes jobs, oldest first, until all are taken by somebody: whoever removes a job has it. */
async function consume(port: number, taken: string[], all: number): Promise<void> {
  let since = 0;
  while (taken.length < all) {
    const { node, index } = await v2(port, 'GET', '/jobs', { sorted: true });
    const jobs: readonly Node[] = node?.nodes ?? [];
    for (const { key = '', value = '', modifiedIndex } of jobs) {
      const { status } = await v2(port, 'DELETE', key, { prevIndex: modifiedIndex });
      assert.ok(status === 200 || status === 404, `a job is there or is not: ${status}`);
      if (status === 200) taken.push(value);
    }
    if (jobs.length > 0 || taken.length >= all) continue;
    // Nothing to do: wait for the next job, from where this member was asked, so that none is missed.
    since = index + 1;
    const path = `/v2/keys/jobs?wait=true&recursive=true&waitIndex=${since}`;
    await ask(port, { method: 'GET', path });
  }
}

/** Sends bytes as they are for a target and a body, and takes whatever comes; a refused connection is an answer too. */
function poke(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: Buffer,
): Promise<number> {
  return new Promise((resolve) => {
    const outgoing = request(
      { port, host: '127.0.0.1', method, path, headers, agent: false, timeout: 300 },
      (incoming) => {
        incoming
          .resume()
          .on('end', () => resolve(incoming.statusCode ?? 0))
          .on('error', () => resolve(0));
      },
    );
    outgoing.on('timeout', () => outgoing.destroy());
    outgoing.on('error', () => resolve(0)).end(body);
  });
}

// Goal: whatever stands in paths, queries and bodies, the member goes on, answers no 500 of its own making and keeps its tree whole.
// Method: requests of random parts, some of them hostile; the next test restarts the member, which must read the same tree.
test('hostile paths and bodies do no harm', async () => {
  const seed = Number(process.env['ETSD_TEST_SEED'] ?? Date.now() % 1e6);
  console.log(`seed ${seed}`);
  const random = new Prng(seed);
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)] as T;
  const port = server.clientPort;
  const segments = [
    'a',
    '_b',
    '%00',
    '%ff',
    '%2e%2e',
    '%2F',
    '%',
    '%zz',
    'x'.repeat(3000),
    '\u00e4',
    '__proto__',
    'constructor',
    '.',
    '%0a',
  ];
  const fields = [
    'ttl',
    'dir',
    'prevExist',
    'prevIndex',
    'prevValue',
    'recursive',
    'sorted',
    'quorum',
    'refresh',
    'value',
    '__proto__',
    '',
  ];
  const values = [
    'true',
    'false',
    '',
    '1',
    '-1',
    '18446744073709551615',
    '9223372036',
    '1e9',
    '%00',
    '%ff%fe',
    'NaN',
    '\u00fc',
    ';',
    'v'.repeat(20_000),
  ];
  const types = ['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data', ';;;', 'application/json'];
  const query = (): string =>
    Array.from({ length: random.below(5) }, () => `${pick(fields)}=${pick(values)}`).join('&');
  const latin1 = (text: string): string =>
    Buffer.from(text, 'utf8')
      .toString('latin1')
      .replace(/[^\x21-\xff]/g, '');
  const statuses = new Set<number>();
  for (let i = 0; i < 250; i++) {
    const path = `/v2/keys${Array.from({ length: random.below(6) }, () => `/${pick(segments)}`).join('')}`;
    const method = pick(['GET', 'PUT', 'PUT', 'POST', 'DELETE', 'HEAD']);
    const target = latin1(`${path}?${query()}`).slice(0, 15_000);
    const body = method === 'PUT' || method === 'POST' ? Buffer.from(query(), 'latin1') : Buffer.alloc(0);
    statuses.add(
      await poke(port, method, target, { 'content-type': pick(types), 'content-length': String(body.length) }, body),
    );
  }
  const deep = `/v2/keys${'/d'.repeat(257)}`;
  assert.equal((await ask(port, { method: 'PUT', path: deep })).status, 400, 'too deep');
  assert.equal((await ask(port, { method: 'PUT', path: `/v2/keys/${'k'.repeat(8192)}` })).status, 400, 'too long');
  const large = await v2(port, 'PUT', '/large', { value: 'v'.repeat(150_000) });
  assert.deepEqual([large.status, large.errorCode], [500, 300]);
  const huge = await v2(port, 'PUT', '/huge', { value: 'v'.repeat(2_000_000) });
  assert.deepEqual([huge.status, huge.errorCode], [400, 210]);
  assert.ok(statuses.has(200) && statuses.has(400), `statuses ${[...statuses].join(' ')}`);
  await eventually(20_000, 'what had no time is gone', async () => {
    const { node } = await v2(port, 'GET', '/', { recursive: true });
    return JSON.stringify(node).includes('"expiration"') ? null : true;
  });
});

// Goal: keys, their times and the history outlive the process, and times go on while it is down.
test('a restart keeps keys, times and history', async () => {
  const port = server.clientPort;
  const first = await v2(port, 'PUT', '/kept/b', { value: 'kept' });
  await v2(port, 'PUT', '/long', { value: 'x', ttl: 5000 });
  const whole = keysOf(await tree(port));
  await v2(port, 'PUT', '/short', { value: 'x', ttl: 1 });
  await v2(port, 'PUT', '/dir', { dir: true, ttl: 1 });
  await v2(port, 'PUT', '/dir/in', { value: 'x' });
  await server.stop();
  const stoppedMs = Date.now();
  await server.start();
  const long = await v2(port, 'GET', '/long');
  const downMs = Date.now() - stoppedMs;
  assert.ok((long.node.ttl ?? 0) <= 5000 && (long.node.ttl ?? 0) > 4990 - downMs / 1000, `ttl ${long.node.ttl}`);
  await eventually(20_000, 'what is over goes', async () => {
    const answers = await Promise.all(['/short', '/dir', '/dir/in'].map((key) => v2(port, 'GET', key)));
    return answers.every(({ errorCode }) => errorCode === 100) ? true : null;
  });
  assert.equal(keysOf(await tree(port)), whole);
  const path = `/v2/keys/kept/b?wait=true&waitIndex=${first.index}`;
  const { body } = await ask(port, { method: 'GET', path });
  assert.equal(JSON.parse(body).node.value, 'kept');
  // Who streams from the past is told of all of it, in order, and of what comes.
  const stream = ask(port, {
    method: 'GET',
    path: `/v2/keys/?wait=true&recursive=true&stream=true&waitIndex=${first.index}`,
    lines: 8,
  });
  await v2(port, 'PUT', '/end', { value: 'end' });
  const events = (await stream).body
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const told = events.map(({ action, node }) => `${action} ${node.key}`);
  assert.deepEqual(told.slice(0, 5), ['set /kept/b', 'set /long', 'set /short', 'set /dir', 'set /dir/in']);
  assert.deepEqual(told.slice(5).sort(), ['expire /dir', 'expire /short', 'set /end']);
});

// Goal: a queue of in-order keys with two consumers gives every job to exactly one of them, also when the member is killed
// in between. Method: consumers that remove a job under the condition that it is as they saw it.
test('a queue loses nothing and gives nothing twice', async () => {
  const port = server.clientPort;
  const all = 120;
  for (let job = 0; job < 40; job++) await v2(port, 'POST', '/jobs', { value: `job ${job}` });
  const before = await tree(port);
  await server.kill();
  await server.start();
  assert.ok(keysOf(await tree(port)) === keysOf(before), 'a killed member has the same keys');
  const taken: string[] = [];
  const consumers = [consume(port, taken, all), consume(port, taken, all)];
  for (let job = 40; job < all; job++) await v2(port, 'POST', '/jobs', { value: `job ${job}` });
  // Whoever waits when the last job is taken is woken by one that is none.
  await eventually(30_000, 'all jobs are taken', () => (taken.length >= all ? true : null));
  await v2(port, 'PUT', '/jobs/end', { value: 'end', ttl: 1 });
  await Promise.all(consumers.map((consumer) => consumer.catch(() => {})));
  const jobs = taken.filter((job) => job !== 'end');
  assert.equal(new Set(jobs).size, all);
  assert.equal(jobs.length, all, 'none twice');
});

// Goal: with authentication on nobody but root reaches these keys, by password or token, and waits end that have begun.
test('under authentication all of it is for root', async () => {
  const client = server.connect();
  try {
    const port = server.clientPort;
    for (const name of ['root', 'alice']) await client.expect('Auth/UserAdd', { name, password: `${name}-pw` });
    await client.expect('Auth/RoleAdd', { name: 'root' });
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    await v2(port, 'PUT', '/secret', { value: '1' });
    const waiting = ask(port, { method: 'GET', path: '/v2/keys/secret?wait=true' }).catch((error: Error) => error);
    await eventually(20_000, 'it waits', async () => {
      const { body } = await ask(port, { method: 'GET', path: '/v2/stats/store' });
      return body.endsWith('"watchers":1}') ? true : null;
    });
    await client.expect('Auth/AuthEnable', {});
    const basic = (name: string, password: string): Record<string, string> => ({
      authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
    });
    const root = basic('root', 'root-pw');
    const refused = [{}, basic('alice', 'alice-pw'), { authorization: 'no token' }];
    // Once: who guesses on is not heard for a while.
    assert.equal((await v2(port, 'GET', '/secret', {}, basic('root', 'wrong'))).status, 401);
    for (const headers of refused) {
      for (const [method, key] of [
        ['GET', '/secret'],
        ['PUT', '/secret'],
        ['DELETE', '/secret'],
        ['POST', '/q'],
      ] as const) {
        const { status, errorCode } = await v2(port, method, key, {}, headers);
        assert.deepEqual([status, errorCode], [401, 110]);
      }
      for (const path of ['/v2/members', '/v2/machines', '/v2/stats/self', '/v2/auth/enable']) {
        assert.equal((await ask(port, { method: 'GET', path, headers })).status, 401);
      }
    }
    assert.equal((await v2(port, 'PUT', '/secret', { value: '2' }, root)).status, 200);
    const told = await waiting;
    assert.ok(!(told instanceof Error) && told.body === '', 'who waited is told nothing any more');
    const { token } = await client.expect('Auth/Authenticate', { name: 'root', password: 'root-pw' });
    const byToken = { authorization: `Bearer ${token}` };
    assert.equal((await v2(port, 'GET', '/secret', {}, byToken)).node.value, '2');
    const enabled = await ask(port, { method: 'GET', path: '/v2/auth/enable', headers: root });
    assert.equal(enabled.body, '{"enabled":true}\n');
  } finally {
    client.close();
  }
});
