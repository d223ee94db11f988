/** Goal: both tools agree on who may be talked to. Method: etcd with TLS, every way to get it right and wrong. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { hasOpenssl, makeCertificates } from '../support/certificates.ts';
import { TestCluster } from '../support/cluster.ts';
import { startServer } from '../support/server.ts';

const skip = needsPeer('etcd', 'etcdctl') || (!hasOpenssl() && 'openssl not found');
const OURS = [NODE, join(ROOT, 'packages/cli/bin/etsdctl.ts')];
const theirs = (): string[] => [findPeerProgram('etcdctl') as string];

function output(tool: readonly string[], words: readonly string[]): { exit: number | null; stdout: string } {
  const [program, ...args] = [...tool, '--command-timeout=1s', '--dial-timeout=1s', ...words];
  const { status, stdout } = spawnSync(program as string, args, { encoding: 'utf8', timeout: 30_000 });
  // Who of several answers is chance, and logs grow by themselves.
  const masked = stdout
    .replace(/\d+(\.\d+)?(µs|ms)/g, '<TIME>')
    .replace(/"member_id":\d+|"MemberID" : \d+|"raft(Applied)?Index":\d+|"Raft(Applied)?Index" : \d+/g, '#')
    .replace(/(true|false), \d+, \d+, \d+, /g, '#')
    .replace(/(true|false) *│ *\d+ *│ *\d+ *│ *\d+ *│/g, '#');
  // Members are asked at once, and etcdctl tells of their health as they answer.
  const told = words.includes('health') ? masked.split('\n').sort().join('\n') : masked;
  return { exit: status, stdout: told };
}

/** What both print for these words, which has to be the same. */
function same(words: readonly string[]): { exit: number | null; stdout: string } {
  const [mine, other] = [output(OURS, words), output(theirs(), words)];
  assert.deepEqual(mine, other, words.join(' '));
  return mine;
}

test('certificates: given, missing, of somebody else', { skip, timeout: 180_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'etsdctl-tls-'));
  makeCertificates(folder);
  const at = (name: string): string => join(folder, name);
  const port = await freePort();
  const urls = [
    '--listen-client-urls',
    `https://127.0.0.1:${port}`,
    '--advertise-client-urls',
    `https://127.0.0.1:${port}`,
  ];
  const own = ['--cert-file', at('server.pem'), '--key-file', at('server.key')];
  const server = await startServer({
    product: 'etcd',
    flags: [...urls, ...own, '--trusted-ca-file', at('ca.pem'), '--client-cert-auth'],
  });
  try {
    const secure = `--endpoints=https://127.0.0.1:${port}`;
    const bare = `--endpoints=127.0.0.1:${port}`;
    const ca = `--cacert=${at('ca.pem')}`;
    const certificate = [`--cert=${at('client.pem')}`, `--key=${at('client.key')}`];
    assert.deepEqual(same([secure, ca, ...certificate, 'put', 'a', 'b']), { exit: 0, stdout: 'OK\n' });
    assert.equal(same([bare, ca, ...certificate, 'get', 'a']).exit, 0);
    assert.equal(same([secure, '--insecure-skip-tls-verify', ...certificate, 'get', 'a']).exit, 0);
    assert.equal(same([secure, ca, ...certificate, 'endpoint', 'health']).exit, 0);
    assert.equal(same([secure, ca, ...certificate, 'endpoint', 'health', '--cluster']).exit, 0);
    assert.notEqual(same([secure, ca, 'get', 'a']).exit, 0);
    assert.notEqual(same([secure, `--cacert=${at('other-ca.pem')}`, ...certificate, 'get', 'a']).exit, 0);
    assert.notEqual(same([secure, 'get', 'a']).exit, 0);
    assert.notEqual(same([bare, 'get', 'a']).exit, 0);
    assert.notEqual(same([secure, ca, `--cert=${at('client.pem')}`, 'get', 'a']).exit, 0);
    assert.notEqual(same([secure, '--cacert=/no/such/file', 'get', 'a']).exit, 0);
    assert.notEqual(same([`--endpoints=http://127.0.0.1:${port}`, ca, ...certificate, 'get', 'a']).exit, 0);
  } finally {
    await server.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});

// Goal: the same of a cluster: some members down, the leader moved, all of them asked.
test('three members, one of them down', { skip, timeout: 180_000 }, async () => {
  const cluster = await TestCluster.start({ products: ['etcd', 'etcd', 'etcd'] });
  const { members } = cluster;
  try {
    const all = `--endpoints=${members.map((member) => member.address).join(',')}`;
    same([all, 'put', 'a', 'b']);
    for (const format of ['simple', 'json', 'fields', 'table']) {
      same([all, 'member', 'list', '-w', format]);
      same([all, 'endpoint', 'status', '-w', format]);
      same([all, 'endpoint', 'hashkv', '-w', format]);
    }
    same([all, 'endpoint', 'health', '-w', 'simple']);
    same([`--endpoints=${members[0]?.address}`, 'endpoint', 'status', '--cluster']);
    const rows = output(OURS, [all, 'endpoint', 'status']).stdout.trim().split('\n');
    const ids = rows.map((row) => row.split(', ')[1] as string);
    const leader = rows.findIndex((row) => row.split(', ')[4] === 'true');
    assert.ok(leader >= 0, rows.join('\n'));
    const next = ids[(leader + 1) % 3] as string;
    const moved = output(OURS, [all, 'move-leader', next]);
    assert.deepEqual(moved, { exit: 0, stdout: `Leadership transferred from ${ids[leader]} to ${next}\n` });
    const back = output(theirs(), [all, 'move-leader', ids[leader] as string]);
    assert.equal(back.stdout, `Leadership transferred from ${next} to ${ids[leader]}\n`);
    same([`--endpoints=${members[(leader + 1) % 3]?.address}`, 'move-leader', next]);

    await members[(leader + 1) % 3]?.kill();
    assert.equal(same([all, 'get', 'a']).stdout, 'a\nb\n');
    assert.equal(output(OURS, [all, 'endpoint', 'health']).exit, 1);
    assert.equal(same([all, 'put', 'c', 'd']).exit, 0);
    const status = same([all, 'endpoint', 'status', '-w', 'simple']);
    assert.equal(status.exit, 1);
    assert.equal(status.stdout.trim().split('\n').length, 2);
    same([all, 'endpoint', 'hashkv']);
  } finally {
    for (const member of members) await member.dispose();
  }
});
