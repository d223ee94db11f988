import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { startMember } from '@etsd/server';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { run as runProgram } from '../../packages/cli/src/ctl/main.ts';
import { ETSDUTL } from '../../packages/cli/src/utl/program.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import { Client, type Message } from '../support/client.ts';
import { startServer, TestServer } from '../support/server.ts';

const skip = needsPeer('etcd', 'etcdctl', 'etcdutl');

interface Result {
  stdout: string;
  stderr: string;
  exit: number | null;
}

function run(words: string[], cwd = '.'): Result {
  const [program, ...args] = words;
  const options = { cwd, encoding: 'utf8', timeout: 60_000 } as const;
  const { status, stderr, stdout } = spawnSync(program as string, args, options);
  return { stdout, stderr, exit: status };
}

const ours = (...args: string[]): Result => run([NODE, join(ROOT, 'packages/cli/bin/etsdutl.ts'), ...args]);
const theirs = (name: string, ...args: string[]): Result => run([findPeerProgram(name) as string, ...args]);

async function fill(client: Client): Promise<void> {
  await client.expect('Lease/LeaseGrant', { TTL: '5000', ID: '77' });
  for (let i = 0; i < 300; i++) {
    const value = Buffer.alloc((i * 41) % 5000, i);
    await client.expect('KV/Put', { key: Buffer.from(`k${i % 90}`), value, lease: i % 9 === 0 ? '77' : '0' });
  }
  await client.expect('KV/DeleteRange', { key: Buffer.from('k5') });
  await client.expect('KV/Compact', { revision: '120', physical: true });
}

/** A saved snapshot of a real etcd, and what that etcd says of itself. */
async function saved(directory: string): Promise<{ file: string; hash: (revision: string) => Message }> {
  const server = await startServer({ product: 'etcd' });
  const client = new Client(server.address);
  try {
    await fill(client);
    const file = join(directory, 'saved.db');
    assert.equal(theirs('etcdctl', '--endpoints', server.address, 'snapshot', 'save', file).exit, 0);
    const hashes = new Map<string, Message>();
    for (const revision of ['0', '200']) hashes.set(revision, await client.expect('Maintenance/HashKV', { revision }));
    return { file, hash: (revision) => hashes.get(revision) as Message };
  } finally {
    client.close();
    await server.dispose();
  }
}

// Goal: what is a good backup to etcdutl is one to us, down to the printed byte, and what we restore from it has every
// key, revision and lease, and goes on from there.
test('etsdutl prints what etcdutl prints, and restores what etcd saved', { skip, timeout: 180_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsdutl-test-'));
  try {
    const { file, hash } = await saved(directory);
    let compared = 0;
    for (const format of ['simple', 'json', 'fields', 'table', 'protobuf', 'yaml']) {
      const [mine, other] = [ours, (...args: string[]) => theirs('etcdutl', ...args)].map((tool) => {
        const { exit, stderr, stdout } = tool('snapshot', 'status', file, '-w', format);
        return { exit, stdout, error: /^Error: .*$/m.exec(stderr)?.[0] };
      });
      assert.deepEqual(mine, other, format);
      compared++;
    }
    compared += await compareMistakes(directory, file);
    console.log(`etsdutl: ${compared} commands compared with etcdutl's`);

    for (const revision of ['0', '200']) {
      const { stdout } = ours('hashkv', file, '--rev', revision, '-w', 'json');
      const printed = JSON.parse(stdout) as Record<string, number>;
      assert.equal(printed['hash'], hash(revision)['hash']);
      assert.equal(String(printed['compactRevision']), hash(revision)['compact_revision']);
    }
    await restoreAndRun(directory, file, hash('0'), 0);
    await restoreAndRun(directory, file, hash('0'), 1000);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

/** What is wrong with a command line, and whether both say it in the same words: where not, ours say more. */
const MISTAKES: readonly (readonly [line: string, words: 'same words' | 'own words'])[] = [
  ['snapshot', 'same words'],
  ['snapshot nope', 'same words'],
  ['snapshot save x', 'same words'],
  ['snapshot status', 'same words'],
  ['snapshot status a b', 'same words'],
  ['snapshot status none', 'same words'],
  ['snapshot status none -w json', 'same words'],
  ['snapshot status saved.db -w yaml', 'same words'],
  ['snapshot status saved.db extra', 'same words'],
  ['snapshot status saved.db --nope', 'same words'],
  ['snapshot status junk', 'own words'],
  ['snapshot status empty', 'own words'],
  ['snapshot status folder', 'own words'],
  ['snapshot restore', 'same words'],
  ['snapshot restore a b', 'same words'],
  ['snapshot restore none', 'same words'],
  ['snapshot restore none --data-dir new', 'same words'],
  ['snapshot restore saved.db --data-dir full', 'same words'],
  ['snapshot restore saved.db --data-dir new --wal-dir folder', 'same words'],
  ['snapshot restore junk --data-dir new', 'same words'],
  ['snapshot restore unchecked.db --data-dir new', 'same words'],
  ['snapshot restore damaged.db --data-dir new', 'same words'],
  ['snapshot restore saved.db --data-dir new --bump-revision 10', 'same words'],
  ['snapshot restore saved.db --data-dir new --mark-compacted', 'same words'],
  ['snapshot restore saved.db --data-dir new --bump-revision x', 'same words'],
  ['snapshot restore saved.db --data-dir new --name x', 'same words'],
  ['snapshot restore saved.db --data-dir new --initial-cluster default=foo', 'same words'],
  ['snapshot restore saved.db --data-dir new --initial-cluster nonsense', 'own words'],
  ['snapshot restore saved.db --data-dir new --initial-advertise-peer-urls foo', 'same words'],
  ['snapshot restore saved.db --data-dir new --initial-advertise-peer-urls http://127.0.0.1:9', 'same words'],
  ['defrag', 'same words'],
  ['nope', 'same words'],
  ['--nope', 'same words'],
  ['completion tcsh', 'same words'],
];

/** Our tool without a process of its own, which would take longer to start than to refuse. */
async function typed(cwd: string, line: string): Promise<Result> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const before = process.cwd();
  process.chdir(cwd);
  try {
    const exit = await runProgram(ETSDUTL, line.split(' '), { env: {}, stdin: stdin as never, stdout, stderr });
    return { exit, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
  } finally {
    process.chdir(before);
  }
}

function errorOf({ stderr }: Result): string | undefined {
  return /^Error: .*$/m.exec(stderr)?.[0]?.replaceAll('etsd', 'etcd');
}

/** Makes every mistake with both tools, on the same files; gives how many. */
async function compareMistakes(directory: string, saved: string): Promise<number> {
  const place = mkdtempSync(join(directory, 'mistakes-'));
  const bytes = readFileSync(saved);
  const damaged = Buffer.from(bytes);
  damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] as number) ^ 0xff;
  const files: [string, Buffer][] = [
    ['saved.db', bytes],
    ['unchecked.db', bytes.subarray(0, -32)],
    ['damaged.db', damaged],
    ['junk', Buffer.alloc(5000, 'x')],
    ['empty', Buffer.alloc(0)],
  ];
  for (const [name, content] of files) writeFileSync(join(place, name), content);
  for (const name of ['folder', 'full']) mkdirSync(join(place, name));
  writeFileSync(join(place, 'full', 'file'), '');
  for (const [line, words] of MISTAKES) {
    const mine = await typed(place, line);
    rmSync(join(place, 'new'), { recursive: true, force: true });
    const other = run([findPeerProgram('etcdutl') as string, ...line.split(' ')], place);
    rmSync(join(place, 'new'), { recursive: true, force: true });
    assert.equal(mine.exit, other.exit, line);
    if (words === 'same words') assert.equal(errorOf(mine), errorOf(other), line);
    else assert.ok((errorOf(mine) ?? '').length > 20, line);
  }
  return MISTAKES.length;
}

// Goal: the note about the storage that etcd 3.6 keeps is written and removed, and nothing else is changed by it.
test('etsdutl migrate', { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsdutl-test-'));
  try {
    const dataDir = join(directory, 'member');
    const written = await startMember({ dataDir });
    await written.client().kv.put('a', '1');
    const busy = ours('migrate', '--data-dir', dataDir, '--target-version', '3.6');
    assert.match(busy.stderr, /a member is using it\)\n\(stop the member first\)/);
    await written.close();
    const migrate = (version: string): Result => ours('migrate', '--data-dir', dataDir, '--target-version', version);
    assert.match(migrate('3.5').stderr, /storage version up-to-date/);
    assert.match(migrate('3.6').stderr, /updated storage version.*"3\.6\.0"/);
    assert.match(migrate('3.6').stderr, /storage version up-to-date/);
    assert.match(migrate('3').stderr, /wrong target version format, expected "X\.Y", got "3"/);
    assert.match(migrate('3.4').stderr, /target version "3\.4" not supported\. Minimal "3\.5"/);
    await using again = await startMember({ dataDir });
    assert.equal((await again.client().kv.get('a'))?.value.toString(), '1');
    const pieces: Buffer[] = [];
    for await (const { blob } of again.client().maintenance.snapshot()) pieces.push(blob);
    const file = join(directory, 'saved.db');
    writeFileSync(file, Buffer.concat(pieces));
    assert.match(ours('snapshot', 'status', file, '--compat=3.6').stdout, /, 2, 1, [^,]+, 3\.6\.0\n$/);
    await again.close();
    assert.equal(migrate('3.5').exit, 0);
    assert.match(migrate('3.5').stderr, /up-to-date/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

async function restoreAndRun(directory: string, file: string, hash: Message, bump: number): Promise<void> {
  const peerPort = await freePort();
  const dataDir = join(directory, `bumped-by-${bump}`);
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const flags = [
    '--name',
    'infra1',
    '--initial-cluster',
    `infra1=${peerUrl}`,
    '--initial-advertise-peer-urls',
    peerUrl,
  ];
  flags.push(...(bump > 0 ? ['--bump-revision', String(bump), '--mark-compacted'] : ['--keep-revision']));
  const target = join(dataDir, 'member.etcd');
  assert.deepEqual(pick(ours('snapshot', 'restore', file, '--data-dir', target, ...flags)), { exit: 0, stdout: '' });
  assert.equal(ours('snapshot', 'restore', file, '--data-dir', target, ...flags).exit, 1, 'nothing is overwritten');

  const server = new TestServer({ product: 'etsd', dataDir }, await freePort(), peerPort);
  const client = new Client(server.address);
  try {
    await server.start();
    const revision = Number((hash['header'] as Message)['revision']);
    if (bump === 0) {
      const own = await client.expect('Maintenance/HashKV', { revision: '0' });
      assert.equal(own['hash'], hash['hash']);
    } else {
      const range = { key: Buffer.from('k1'), revision: String(revision) };
      assert.match((await client.call('KV/Range', range)).message, /required revision has been compacted/);
    }
    const lease = await client.expect('Lease/LeaseTimeToLive', { ID: '77', keys: true });
    assert.ok((lease['keys'] as Buffer[]).length > 5);
    const put = await client.expect('KV/Put', { key: Buffer.from('next'), value: Buffer.from('x') });
    assert.equal(Number((put['header'] as Message)['revision']), revision + bump + 1);
    assert.match(ours('defrag', '--data-dir', target).stderr, /a member is using it/);
    await server.stop();
    assert.equal(ours('defrag', '--data-dir', target).exit, 0);
    await server.start();
    assert.equal((await client.expect('KV/Range', { key: Buffer.from('next') }))['count'], '1');
  } finally {
    client.close();
    await server.dispose();
  }
}

function pick({ exit, stdout }: Result): { exit: number | null; stdout: string } {
  return { exit, stdout };
}

// Goal: a damaged file is refused and named; nothing is made of it.
test('a damaged snapshot is refused', { skip, timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsdutl-test-'));
  try {
    const { file } = await saved(directory);
    const bytes = readFileSync(file);
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 0xff;
    const damaged = join(directory, 'damaged.db');
    writeFileSync(damaged, bytes);
    const result = ours('snapshot', 'restore', damaged, '--data-dir', join(directory, 'never'));
    assert.equal(result.exit, 1);
    assert.match(result.stderr, /sha256/);
    writeFileSync(damaged, bytes.subarray(0, bytes.length - 32));
    const unchecked = ours('snapshot', 'restore', damaged, '--data-dir', join(directory, 'never'));
    assert.match(unchecked.stderr, /snapshot missing hash but --skip-hash-check=false/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
