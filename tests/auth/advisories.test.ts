import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NODE, ROOT } from '../support/binaries.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';

// Goal: what was found in etcd and has no other test of its own stays closed here. docs/security.md has the whole list.

let server: TestServer;
before(async () => {
  server = await startServer({ product: 'etsd', flags: ['--bcrypt-cost=4', '--log-level=debug'] });
});
after(() => server.dispose());

const text = (word: string): Buffer => Buffer.from(word);

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
}

test('CVE-2020-15113: the data directory is for its owner alone', () => {
  for (const path of [join(server.dataDir, 'member.etcd'), ...filesUnder(join(server.dataDir, 'member.etcd'))]) {
    assert.equal(statSync(path).mode & 0o077, 0, path);
  }
});

test('GHSA-wf43-55jj-vwq8: passwords are neither in the log of requests nor in the store', async () => {
  const client = server.connect();
  try {
    await client.expect('Auth/UserAdd', { name: 'ann', password: 'canary-one' });
    await client.expect('Auth/UserChangePassword', { name: 'ann', password: 'canary-two' });
    // Is in the log once this is answered, and all before it.
    await client.expect('KV/Put', { key: text('k'), value: text('canary-value') });
    const found = new Set<string>();
    for (const path of filesUnder(join(server.dataDir, 'member.etcd'))) {
      if (!statSync(path).isFile()) continue;
      for (const [word] of readFileSync(path, 'latin1').matchAll(/canary-\w+/g)) found.add(word);
    }
    assert.deepEqual([...found], ['canary-value'], 'the files were those that are written');
  } finally {
    client.close();
  }
});

test('CVE-2021-28235: nothing is served that shows what others asked', async () => {
  for (const path of ['/debug/requests', '/debug/events', '/debug/pprof/', '/debug/pprof/heap', '/config/local/log']) {
    const { status } = await fetch(`http://${server.address}${path}`);
    assert.equal(status, 404, path);
  }
  // As with etcd: figures of the process.
  const vars = (await (await fetch(`http://${server.address}/debug/vars`)).json()) as Record<string, unknown>;
  assert.deepEqual(Object.keys(vars).sort(), ['cmdline', 'file_descriptor_limit', 'memstats', 'nodejs', 'raft.status']);
});

test('CVE-2018-1098, CVE-2018-5702: the interface that took a form for a request is not there', async () => {
  // What a page may send without being asked back: a form. The gateway of etcd took it for a request.
  for (const path of ['/v2/keys/x', '/v3alpha/kv/put']) {
    const headers = { 'content-type': 'text/plain', origin: 'http://evil.example' };
    const response = await fetch(`http://${server.address}${path}`, {
      method: 'POST',
      headers,
      body: '{"key":"Zm9v"}',
    });
    assert.notEqual(response.status, 200, path);
  }
  const client = server.connect();
  const { count } = await client.expect('KV/Range', { key: text('foo') });
  client.close();
  assert.equal(count, '0');
});

test('GHSA-vjg6-93fv-qv64: a retention below zero is refused', () => {
  for (const flags of [
    ['--auto-compaction-retention=-1'],
    ['--auto-compaction-mode=revision', '--auto-compaction-retention=-1'],
    ['--auto-compaction-retention=-5m'],
  ]) {
    const run = () =>
      execFileSync(NODE, [join(ROOT, 'packages/cli/bin/etsd.ts'), ...flags], { stdio: 'pipe', timeout: 30_000 });
    assert.throws(run, (error: { stderr: Buffer }) => /auto-compaction-retention/.test(String(error.stderr)));
  }
});

test('GHSA-528j-9r78-wffx: who tries a password for a user of certificates is told to the log', async () => {
  const client = server.connect();
  try {
    await client.expect('Auth/UserAdd', { name: 'machine', options: { no_password: true } });
    await client.expect('Auth/UserAdd', { name: 'root', password: 'root' });
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    await client.expect('Auth/AuthEnable', {});
    const { code } = await client.call('Auth/Authenticate', { name: 'machine', password: 'guess' });
    assert.notEqual(code, 0);
    // The line comes through a pipe, behind the answer.
    const isIt = (line: string) => line.includes('invalid authentication request') && line.includes('machine');
    await eventually(10_000, 'the line in the log', () => server.logs.find(isIt) ?? null);
  } finally {
    client.close();
  }
});

/** A field of bytes, after its tag: 0x12 is `success` of a transaction, 0x22 the transaction in an operation. */
function field(tag: number, content: Buffer): Buffer {
  const length: number[] = [];
  for (let left = content.length; length.length === 0 || left > 0; left >>>= 7) {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

test('the July advisories of 2026: what is nested counts, and neither depth nor number ends the process', async () => {
  const client = server.connect();
  try {
    let inner: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 3000; depth++) inner = field(0x12, field(0x22, inner));
    const deep = await client.callRaw('/etcdserverpb.KV/Txn', inner);
    assert.notEqual(deep.code, 0);
    const put = { request_put: { key: text('x') } };
    const wide = Array.from({ length: 128 }, () => ({
      request_txn: { success: Array.from({ length: 128 }, () => put) },
    }));
    const { code, message } = await client.call('KV/Txn', { success: wide });
    assert.notEqual(code, 0, message);
    assert.ok(server.isRunning);
  } finally {
    client.close();
  }
});
