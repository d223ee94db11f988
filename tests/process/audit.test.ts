import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { METHODS } from '@etsd/proto';
import type { Client, Message } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';

const folder = mkdtempSync(join(tmpdir(), 'etsd-audit-'));
after(() => rmSync(folder, { recursive: true }));

const text = (word: string): Buffer => Buffer.from(word);
const CANARY = 'canary-7f3a';

async function metricsOf(server: TestServer): Promise<string> {
  return await (await fetch(`http://${server.address}/metrics`)).text();
}

/** Requests of all services in which everything that is no key is a canary. */
const SECRETS: [method: string, message: Message][] = [
  ['KV/Put', { key: text('k'), value: text(CANARY) }],
  ['KV/Range', { key: text('k') }],
  [
    'KV/Txn',
    {
      compare: [{ key: text('k'), target: 'VALUE', result: 'EQUAL', value: text(CANARY) }],
      success: [
        { request_put: { key: text('k'), value: text(CANARY), prev_kv: true } },
        { request_range: { key: text('k') } },
      ],
    },
  ],
  ['KV/DeleteRange', { key: text('k'), prev_kv: true }],
  ['Lease/LeaseGrant', { ID: 7, TTL: 1000 }],
  ['v3electionpb.Election/Campaign', { name: text('e'), lease: 7, value: text(CANARY) }],
  ['v3electionpb.Election/Leader', { name: text('e') }],
  ['v3lockpb.Lock/Lock', { name: text('l'), lease: 7 }],
  ['Auth/UserAdd', { name: 'ann', password: CANARY }],
  ['Auth/UserChangePassword', { name: 'ann', password: `${CANARY}-2` }],
  ['Auth/Authenticate', { name: 'ann', password: `${CANARY}-2` }],
  ['Auth/Authenticate', { name: 'ann', password: `${CANARY}-3` }],
];

async function enableAuth(client: Client): Promise<string> {
  await client.expect('Auth/UserAdd', { name: 'root', password: CANARY });
  await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
  await client.expect('Auth/AuthEnable', {});
  const { token } = await client.expect('Auth/Authenticate', { name: 'root', password: CANARY });
  return token as string;
}

// Goal: whoever reads the audit log, the log or the metrics learns no value, no password and no token.
// Method: every method is called, the secrets of the requests are one word, and then the word is looked for.
test('no value and no secret gets into the audit log, the log or the metrics', async () => {
  const path = join(folder, 'audit.log');
  const flags = [
    '--bcrypt-cost=4',
    '--log-level=debug',
    '--audit-log',
    path,
    '--audit-level=all',
    '--audit-keys=base64',
  ];
  const server = await startServer({ product: 'etsd', flags });
  const client = server.connect();
  try {
    const token = await enableAuth(client);
    for (const [method, message] of SECRETS) await client.call(method, message, 10_000, { token });
    for (const { path: full } of METHODS)
      await client.callRaw(full, text(CANARY), 2000, { token, authorization: `Bearer ${CANARY}` });
    const shown = await metricsOf(server);
    await server.stop();
    const audit = readFileSync(path, 'utf8');
    for (const [name, content] of Object.entries({ audit, log: server.log, metrics: shown })) {
      for (const secret of [CANARY, Buffer.from(CANARY).toString('base64').slice(0, 12), token]) {
        assert.equal(
          content.includes(secret),
          false,
          `${name}: ${content.split('\n').find((line) => line.includes(secret))}`,
        );
      }
    }
    const lines = audit
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const methods = new Set(lines.map(({ rpc }) => rpc));
    for (const [method] of SECRETS) assert.ok(methods.has(method.replace(/^.*\./, '')), `${method} is there`);
    const put = lines.find(({ rpc, user }) => rpc === 'KV/Put' && user === 'root') as Record<string, unknown>;
    assert.deepEqual([put['by'], put['code'], put['request'], put['revision']], ['token', 'OK', { key: 'aw==' }, 2]);
    assert.match(String(put['peer']), /^127\.0\.0\.1:\d+$/);
  } finally {
    client.close();
    await server.dispose();
  }
});

test('the audit log goes to a socket, and waits for one that comes late', async () => {
  const path = join(folder, 'audit.sock');
  const server = await startServer({ product: 'etsd', flags: ['--audit-log', `unix://${path}`] });
  const client = server.connect();
  let received = '';
  const reader = createServer((socket) => socket.on('data', (chunk) => (received += String(chunk))));
  try {
    await client.expect('KV/Put', { key: text('before') });
    await eventually(20_000, 'the member says that nobody listens', async () =>
      server.logs.some((line) => line.includes('the audit log can not be written')) ? true : null,
    );
    reader.listen(path);
    await eventually(20_000, 'lines arrive', async () => {
      await client.expect('KV/Put', { key: text('after') });
      return received.includes('"key":"after"') ? true : null;
    });
  } finally {
    client.close();
    await server.dispose();
    reader.close();
  }
});

test('a strict audit log that can not be written refuses requests; files are put aside by size', async () => {
  const strict = await startServer({
    product: 'etsd',
    flags: ['--audit-log', `unix://${join(folder, 'nobody.sock')}`, '--audit-strict', '--audit-level=all'],
  });
  const client = strict.connect();
  try {
    await client.call('KV/Put', { key: text('a') });
    await eventually(20_000, 'requests are refused', async () => {
      const { code, message } = await client.call('KV/Put', { key: text('a') });
      if (code === 0) return null;
      assert.equal(`${code} ${message}`, '14 etsd: the audit log can not be written');
      return true;
    });
    assert.match(await metricsOf(strict), /^etsd_audit_refused_total [1-9]/m);
  } finally {
    client.close();
    await strict.dispose();
  }
  const path = join(folder, 'small.log');
  const flags = ['--audit-log', path, '--audit-rotation=size=2000,keep=3'];
  const server = await startServer({ product: 'etsd', flags });
  const other = server.connect();
  try {
    await eventually(20_000, 'three files are put aside', async () => {
      await other.expect('KV/Put', { key: text('key'), value: text('value') });
      return readdirSync(folder).filter((name) => name.startsWith('small.log.')).length >= 3 ? true : null;
    });
  } finally {
    other.close();
    await server.dispose();
  }
});

// Goal: CVE-2020-15115: guessing passwords gets slower and slower, is seen, and tells nothing of who exists.
test('wrong passwords are held up, and counted', async () => {
  const server = await startServer({ product: 'etsd', flags: ['--bcrypt-cost=4'] });
  const client = server.connect();
  try {
    await enableAuth(client);
    for (const name of ['root', 'nobody']) {
      const codes: number[] = [];
      for (let attempt = 0; attempt < 12; attempt++) {
        codes.push((await client.call('Auth/Authenticate', { name, password: `guess-${attempt}` })).code);
      }
      assert.deepEqual(codes.slice(0, 6), [3, 3, 3, 3, 3, 3]);
      assert.ok(codes.includes(8), `${name}: ${codes}`);
    }
    const shown = await metricsOf(server);
    assert.match(shown, /^etsd_abuse_total\{kind="login_refused"\} [1-9]/m);
    assert.match(shown, /^etsd_logins_failed_total [1-9]/m);
    assert.ok(
      server.logs.some((line) => line.includes('"kind":"login_failed"') && line.includes('"peer":"127.0.0.1:')),
    );
    await eventually(20_000, 'the right password is heard again', async () => {
      const { code } = await client.call('Auth/Authenticate', { name: 'root', password: CANARY });
      return code === 0 ? true : null;
    });
  } finally {
    client.close();
    await server.dispose();
  }
});

test('a rate of requests, and connections of one address', async () => {
  const flags = ['--request-rate', 'address=20,burst=30', '--max-connections-per-address=3'];
  const server = await startServer({ product: 'etsd', flags });
  const clients = Array.from({ length: 5 }, () => server.connect());
  try {
    const [client] = clients as [Client];
    const calls = Array.from({ length: 100 }, () => client.call('KV/Put', { key: text('a') }));
    const outcomes = (await Promise.all(calls)).map(({ code, message }) => `${code} ${message}`);
    assert.ok(outcomes.filter((outcome) => outcome === '0 ').length >= 30);
    const refused = '8 etsd: too many requests from this address, see --request-rate';
    assert.ok(outcomes.includes(refused), outcomes.at(-1) as string);
    await Promise.all(clients.map((each) => each.call('Maintenance/Status', {}, 3000)));
    const shown = await eventually(20_000, 'the connections are counted', async () => {
      const response = await fetch(`http://${server.address}/metrics`).catch(() => null);
      if (response === null) for (const each of clients.slice(1)) each.close();
      return response === null ? null : await response.text();
    });
    assert.match(shown, /^etsd_abuse_total\{kind="connections_per_address"\} [1-9]/m);
    assert.match(shown, /^etsd_abuse_total\{kind="request_rate_address"\} [1-9]/m);
  } finally {
    for (const each of clients) each.close();
    await server.dispose();
  }
});
