/** Goal: what an operator gets wrong is said clearly, with the right exit status, and nothing is made on disk. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '@etsd/testkit';
import { eventually } from '../support/conditions.ts';
import { startServer } from '../support/server.ts';
import { aloneIn, run, scratch } from './program.ts';

test('--version and --help, through npx as well', async () => {
  const version = await run(['--version']);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^etsd Version: \d+\.\d+\.\d+\netcd Version: 3\.\d+\.\d+\nNode Version: /);
  const npx = await run(['etsd', '--version'], {}, ['npx', '--no-install']);
  assert.deepEqual([npx.code, npx.stdout], [0, version.stdout]);
  const help = await run(['--help']);
  assert.equal(help.code, 0);
  for (const flag of ['--listen-client-urls', '--data-dir', '--quota-backend-bytes', '--cert-file']) {
    assert.ok(help.stdout.includes(flag), flag);
  }
});

test('wrong flags end with status 2 and the right name', async () => {
  const cases: [string[], RegExp][] = [
    [['--data-dri', 'x'], /flag provided but not defined: -data-dri\nDid you mean --data-dir\?/],
    [['--election-timeout', 'soon'], /invalid value "soon" for flag -election-timeout/],
    [['--listen-client-urls', 'localhost'], /URL scheme must be http, https, unix, or unixs/],
    [['--data-dir'], /flag needs an argument: -data-dir/],
  ];
  for (const [words, wanted] of cases) {
    const { code, stderr } = await run(words);
    assert.equal(code, 2, stderr);
    assert.match(stderr, wanted);
  }
});

test('settings that contradict each other end with status 1', async () => {
  const data = join(scratch(), 'data');
  const cases: [string[], Record<string, string>, RegExp][] = [
    [['word'], {}, /'word' is not a valid flag/],
    [['--data-dir', data], { ETCD_DATA_DIR: data }, /conflicting environment variable.*ETCD_DATA_DIR or --data-dir/],
    [
      ['--heartbeat-interval', '500', '--election-timeout', '1000', '--data-dir', data],
      {},
      /election-timeout.*heartbeat/,
    ],
    [['--listen-client-urls', 'http://127.0.0.1:1', '--data-dir', data], {}, /advertise-client-urls/],
    [['--name', 'a', '--initial-cluster', 'b=http://localhost:2380', '--data-dir', data], {}, /initial.cluster/],
  ];
  for (const [words, env, wanted] of cases) {
    const { code, stderr } = await run(words, env);
    assert.equal(code, 1, `${words.join(' ')}: ${stderr}`);
    assert.match(stderr, wanted);
  }
  assert.ok(!existsSync(data), 'nothing is made');
});

test('a file of settings: used alone, its mistakes named', async () => {
  const folder = scratch();
  const path = join(folder, 'etsd.yaml');
  assert.match((await run(['--config-file', path])).stderr, /config-file cannot be read/);
  const cases: [string, RegExp][] = [
    ['data-dri: x\n', /unknown setting .*data-dri.*Did you mean .*data-dir/],
    ['a: [1\n', /is not YAML/],
    ['client-transport-security:\n  cert: x\n', /unknown setting .*cert.* in client-transport-security/],
  ];
  for (const [text, wanted] of cases) {
    writeFileSync(path, text);
    const { code, stderr } = await run(['--config-file', path]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, wanted);
  }
});

test('unknown variables of the environment are pointed out', async () => {
  const server = await startServer({ product: 'etsd', env: { ETCD_DATA_DRI: 'x' } });
  try {
    const isIt = (line: string) => /unrecognized environment variable.*ETCD_DATA_DRI/.test(line);
    await eventually(30_000, 'a line about it', () => server.logs.find(isIt) ?? null);
  } finally {
    await server.dispose();
  }
});

test('an address that is taken is said first, and leaves no data directory', async () => {
  const port = await freePort();
  const other = createServer().listen(port, '127.0.0.1');
  const data = join(scratch(), 'data');
  try {
    const { code, stderr } = await run(await aloneIn(data, port));
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`listen tcp 127.0.0.1:${port}: bind: address already in use`));
    assert.match(stderr, /Another process listens there/);
    assert.ok(!existsSync(data));
  } finally {
    other.close();
  }
});

test('a log file that cannot be opened is an error of the operator', async () => {
  const folder = scratch();
  const { code, stderr } = await run([
    ...(await aloneIn(join(folder, 'data'))),
    '--log-outputs',
    join(folder, 'no/log'),
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /log-outputs/);
  assert.doesNotMatch(stderr, /at .*\.ts:\d+/, 'no stack trace');
});
