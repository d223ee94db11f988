/**
 * Goal: with `--compat=3.6` results have the shape that etcdctl 3.6 gives them, without it that of 3.5. Method: both are
 * asked of one member in this process; the shapes of 3.6 are those of its documentation and sources, since there is no
 * program of it to compare with.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { type EmbeddedMember, startMember } from '@etsd/server';
import { ETSDUTL } from '../utl/program.ts';
import type { Program } from './command.ts';
import { run } from './main.ts';
import { ETSDCTL } from './program.ts';

let member: EmbeddedMember;
let folder: string;

before(async () => {
  member = await startMember({ listen: '127.0.0.1:0' });
  const client = member.client();
  await client.kv.put('a', '1');
  await client.kv.put('b', '1');
  await client.kv.delete('b');
  folder = mkdtempSync(join(tmpdir(), 'etsdctl-compat-'));
});

after(async () => {
  await member.close();
  rmSync(folder, { recursive: true });
});

async function typed(
  line: string,
  program: Program = ETSDCTL,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end();
  const env = { ETCDCTL_ENDPOINTS: member.endpoint.replace('http://', '') };
  const code = await run(program, line.split(' '), { env, stdin: stdin as never, stdout, stderr });
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const SIZE = '[\\d.]+ [kMG]?B';

test('endpoint status', async () => {
  const columns = async (line: string): Promise<string[]> => (await typed(line)).stdout.trimEnd().split(', ');
  assert.equal((await columns('endpoint status')).length, 10 - 1, 'the last of ten columns is empty');
  const later = await columns('endpoint status --compat=3.6');
  assert.equal(later.length, 16);
  assert.match(
    later.join(', '),
    new RegExp(`, ${SIZE}, ${SIZE}, \\d+%, ${SIZE}, true, false, \\d+, \\d+, \\d+, , , false$`),
  );
  const table = (await typed('endpoint status --compat=3.6 -w table')).stdout.split('\n');
  assert.match(table[0] as string, /^\+-+\+/);
  assert.match(table[1] as string, /\| PERCENTAGE NOT IN USE \|.*\| DOWNGRADE TARGET VERSION \| DOWNGRADE ENABLED \|$/);
  const fields = (await typed('endpoint status --compat=3.6 -w fields')).stdout;
  assert.match(
    fields,
    /"StorageVersion" : "[^"]*"\n"DBSize" : \d+\n"DBSizeInUse" : \d+\n"DBSizeQuota" : \d+\n"Leader"[\s\S]*"Endpoint" : "[^"]+"\n"DowngradeTargetVersion" : ""\n"DowngradeEnabled" : false\n\n$/,
  );
  assert.doesNotMatch((await typed('endpoint status -w fields')).stdout, /StorageVersion|DBSizeInUse|Downgrade/);
});

test('endpoint hashkv', async () => {
  assert.match((await typed('endpoint hashkv')).stdout, /^\S+, \d+\n$/);
  assert.match((await typed('endpoint hashkv --compat=3.6')).stdout, /^\S+, \d+, \d+\n$/);
  assert.match(
    (await typed('endpoint hashkv --compat=3.6 -w fields')).stdout,
    /"Hash" : \d+\n"HashRevision" : \d+\n\n$/,
  );
  assert.match((await typed('endpoint hashkv --compat=3.6 -w table')).stdout, /\| HASH REVISION \|/);
});

test('defrag tells how long it took', async () => {
  assert.match((await typed('defrag')).stdout, /^Finished defragmenting etcd member\[\S+\]\n$/);
  assert.match(
    (await typed('defrag --compat=3.6')).stdout,
    /^Finished defragmenting etcd member\[\S+\]\. took \S+s\n$/,
  );
});

test('members: ids in hexadecimal, learners named so, headers without a revision', async () => {
  const printed = (await typed('member list --hex -w json --compat=3.6')).stdout;
  const [one] = (JSON.parse(printed) as { members: Record<string, unknown>[] }).members;
  assert.equal(one?.['ID'], '8e9e05c52164694d');
  assert.ok(Array.isArray(one['clientURLs']), 'spelt as everywhere');
  assert.match((await typed('member list --hex -w json')).stdout, /"clientURLS":/);
  assert.match((await typed('member list -w fields')).stdout, /^"Revision" : 0$/m);
  assert.doesNotMatch((await typed('member list -w fields --compat=3.6')).stdout, /^"Revision"/m);
  const added = await typed('member add x --learner --peer-urls=http://127.0.0.1:1 --compat=3.6');
  assert.match(added.stdout, /^Member +[0-9a-f]+ added as learner to cluster [0-9a-f]+\n/);
  const id = /^Member +(\S+)/.exec(added.stdout)?.[1] as string;
  const removed = await typed(`member remove ${id} --hex -w json --compat=3.6`);
  assert.match(removed.stdout, /"cluster_id":"[0-9a-f]+".*"members":\[\{.*"ID":"8e9e05c52164694d"/);
});

test('a range that was not marked as one is deleted after a warning', async () => {
  const startMs = performance.now();
  const { code, stderr, stdout } = await typed('del x y --compat=3.6');
  assert.equal(code, 0);
  assert.equal(stdout, '0\n');
  assert.match(stderr, /^Warning: Keys between "x" and "y" will be deleted\. .*`--range` flag to avoid the delay\.\n$/);
  assert.ok(performance.now() - startMs >= 1990);
  assert.equal((await typed('del x y --range --compat=3.6')).stderr, '');
});

test('snapshots: version, and the keys that a reader would find', async () => {
  const file = join(folder, 'saved.db');
  assert.match((await typed(`snapshot save ${file} --compat=3.6`)).stdout, /^Snapshot saved at \S+\n/);
  assert.match((await typed(`snapshot status ${file}`, ETSDUTL)).stdout, new RegExp(`^[0-9a-f]+, 4, \\d+, ${SIZE}\n$`));
  assert.match(
    (await typed(`snapshot status ${file} --compat=3.6`, ETSDUTL)).stdout,
    new RegExp(`, 4, 1, ${SIZE}, .*\n$`),
  );
  assert.match((await typed(`snapshot status ${file} --compat=3.6 -w table`, ETSDUTL)).stdout, /\| VERSION \|/);
  assert.match(
    (await typed(`snapshot status ${file} --compat=3.6 -w json`, ETSDUTL)).stdout,
    /"totalKey":1,.*"version":"/,
  );
});

test('get --stream prints a range of several pages once', async () => {
  const client = member.client();
  for (let at = 0; at < 2500; at += 100) {
    const puts = Array.from({ length: 100 }, (_unused, i) =>
      client.kv.put(`s/${String(at + i).padStart(4, '0')}`, 'v'),
    );
    await Promise.all(puts);
  }
  const whole = await typed('get s/ --prefix');
  const streamed = await typed('get s/ --prefix --stream');
  assert.equal(streamed.stdout, whole.stdout);
  assert.equal((await typed('get s/ --prefix --stream --limit=3')).code, 128);
});

test('a token got elsewhere is shown instead of a login', async () => {
  await using locked = await startMember({ listen: '127.0.0.1:0' });
  const root = locked.client();
  await root.auth.addUser('root', 'pw');
  await root.auth.addRole('root');
  await root.auth.grantRole('root', 'root');
  await root.auth.enable();
  const endpoint = locked.endpoint.replace('http://', '');
  const { AuthenticateRequest, AuthenticateResponse } = await import('@etsd/proto');
  const { GrpcChannel } = await import('@etsd/rpc');
  const [host, port] = endpoint.split(':') as [string, string];
  const channel = new GrpcChannel(locked.world, { host, port: Number(port) });
  const request = AuthenticateRequest.encode(AuthenticateRequest.create({ name: 'root', password: 'pw' }));
  const { token } = AuthenticateResponse.decode(await channel.unary('/etcdserverpb.Auth/Authenticate', request));
  channel.close();
  const stdout = new PassThrough();
  const shown = async (words: string[], env: Record<string, string>): Promise<number> => {
    const streams = { stdin: new PassThrough() as never, stdout, stderr: new PassThrough() };
    return await run(ETSDCTL, words, { env: { ETCDCTL_ENDPOINTS: endpoint, ...env }, ...streams });
  };
  assert.equal(await shown(['put', 'a', 'b'], {}), 1);
  assert.equal(await shown(['put', 'a', 'b', `--auth-jwt-token=${token}`], {}), 0);
  assert.equal(await shown(['put', 'a', 'b'], { ETCDCTL_AUTH_JWT_TOKEN: token }), 0);
  assert.equal(await shown(['put', 'a', 'b', '--auth-jwt-token=nonsense'], {}), 1);
  assert.equal(await shown(['put', 'a', 'b', `--auth-jwt-token=${token}`, '--user=root:pw'], {}), 128);
});
