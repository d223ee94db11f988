/** Goal: `etsdctl top` tells true figures of every member, to people and programs, and to nobody who may not know them. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { UsageResponse } from '@etsd/proto';
import { type EmbeddedMember, startMember } from '@etsd/server';
import { run } from './main.ts';
import { ETSDCTL } from './program.ts';
import { BOLD, NO_INK, topView } from './views/top.ts';

let member: EmbeddedMember;

before(async () => {
  member = await startMember({ listen: '127.0.0.1:0', flags: { 'bcrypt-cost': 4 } });
  const client = member.client();
  for (let at = 0; at < 60; at++) await client.kv.put(`app/users/${at % 6}`, 'v'.repeat(100));
  await client.kv.put('other/x/1', 'v');
});

after(() => member.close());

const address = (): string => member.endpoint.replace('http://', '');

async function typed(line: string, endpoints = address()): Promise<{ code: number; stdout: string; stderr: string }> {
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end();
  const env = { ETCDCTL_ENDPOINTS: endpoints };
  const code = await run(ETSDCTL, line.split(' '), { env, stdin: stdin as never, stdout, stderr });
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

test('once, as a table without colours', async () => {
  const { code, stdout } = await typed('top --once --limit=3');
  assert.equal(code, 0);
  const lines = stdout.split('\n');
  assert.match(lines[0] as string, /^MEMBER +ENDPOINT +ROLE +REVISION +SPACE +QUOTA +REQUESTS\/S$/);
  assert.match(lines[1] as string, /^default +127\.0\.0\.1:\d+ +leader +62 /);
  const prefixes = lines.findIndex((line) => line.startsWith('PREFIX'));
  assert.match(lines[prefixes + 1] as string, /^app\/users\/ +6 +[\d.]+ [kM]?B +\d\d\.\d %$/);
  assert.match(lines[prefixes + 2] as string, /^other\/x\/ +1 /);
  assert.match(stdout, /^BUSY KEY +READS\/S +WRITES\/S +IN\/S\napp\/users\/\d /m);
  assert.match(stdout, /^BUSY ADDRESS /m);
  assert.ok(!stdout.includes('\x1b'), 'no escapes where there is no terminal');
});

test('for programs, and over HTTP the same', async () => {
  const [first] = JSON.parse((await typed('top --once -w json')).stdout);
  assert.equal(first.endpoint, address());
  assert.deepEqual([first.usage.prefixes[0].prefix, first.usage.prefixes[0].keys], ['app/users/', 6]);
  const response = await fetch(`${member.endpoint}/api/usage?limit=1`);
  const usage = (await response.json()) as { keys: number; prefixes: unknown[]; busy: { requests: number } };
  assert.deepEqual([usage.keys, usage.prefixes.length], [7, 1]);
  assert.ok(usage.busy.requests > 20);
  const page = await (await fetch(`${member.endpoint}/metrics`)).text();
  assert.match(page, /^etsd_prefix_keys\{prefix="app\/users\/"\} 6$/m);
});

test('a member that does not answer is told of beside the others', async () => {
  const { code, stdout } = await typed('top --once --command-timeout=1s', `${address()},127.0.0.1:1`);
  assert.equal(code, 0);
  assert.match(stdout, /^- +127\.0\.0\.1:1 +\S.*$/m);
  assert.equal((await typed('top --once --command-timeout=200ms', '127.0.0.1:1')).code, 1);
  assert.equal((await typed('top --limit=0')).code, 128);
});

test('names that could move a terminal do not; colours are for terminals', () => {
  const usage = UsageResponse.create({
    name: 'm\x1b[2J',
    windowMs: 1000,
    busyKeys: [{ name: 'k\nx', reads: 250, writes: 0, bytes: 0 }] as never,
  });
  const list = [{ endpoint: 'a:1', usage, problem: '' }];
  assert.match(topView(list, 5, NO_INK).simple(), /^m\?\[2J +a:1 .*\n\nPREFIX[\s\S]*\nk\?x +250 +0 /m);
  assert.ok(topView(list, 5, BOLD).simple().startsWith('\x1b[1mMEMBER'));
});

test('where there are users only root is told, over gRPC and HTTP', async () => {
  const client = member.client();
  for (const name of ['root', 'ann']) await client.auth.addUser(name, 'pw');
  await client.auth.grantRole('root', 'root');
  await client.auth.enable();
  const refused = await typed('top --once');
  assert.equal(refused.code, 1);
  assert.match(refused.stdout, /etcdserver: user name is empty/);
  assert.match((await typed('top --once --user=ann:pw')).stdout, /permission denied/);
  const told = await typed('top --once --user=root:pw');
  assert.equal(told.code, 0);
  assert.match(told.stdout, /^PREFIX/m);
  assert.match((await typed('log-level debug --user=ann:pw')).stderr, /permission denied/);
  assert.equal((await fetch(`${member.endpoint}/api/usage`)).status, 401);
  assert.equal((await fetch(`${member.endpoint}/api/log-level`)).status, 401);
  const headers = { authorization: `Basic ${Buffer.from('root:pw').toString('base64')}` };
  assert.equal((await fetch(`${member.endpoint}/api/usage`, { headers })).status, 200);
  const page = await (await fetch(`${member.endpoint}/metrics`)).text();
  assert.doesNotMatch(page, /app\/users/);
});
