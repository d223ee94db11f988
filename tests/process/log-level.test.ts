/** Goal: an operator can look closer at a running member, and look away again, without restarting it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { aloneIn, run, scratch } from './program.ts';

function changes(server: TestServer): string[] {
  return server.logs
    .filter((line) => line.includes('changed the level of the log'))
    .map((line) => {
      const { level, from, to } = JSON.parse(line) as Record<string, string>;
      return `${level} ${from} ${to}`;
    });
}

async function seen(server: TestServer, count: number): Promise<void> {
  await eventually(15_000, 'the line of the change', async () => (changes(server).length >= count ? true : null));
}

test('the level of the log changes by HTTP, by etsdctl and by signal; each change is told', async () => {
  const server = await startServer({ product: 'etsd' });
  const url = `http://${server.address}/api/log-level`;
  try {
    assert.deepEqual(await (await fetch(url)).json(), { level: 'info' });
    const put = (body: string): Promise<Response> => fetch(url, { method: 'PUT', body });
    assert.deepEqual(await (await put('{"level":"DEBUG"}')).json(), { level: 'debug' });
    await seen(server, 1);
    for (const wrong of ['{"level":"loud"}', '{"level":7}', '{}', 'debug'])
      assert.equal((await put(wrong)).status, 400, wrong);
    const etsdctl = [NODE, join(ROOT, 'packages/cli/bin/etsdctl.ts')];
    const told = await run(['--endpoints', server.address, 'log-level', 'error'], {}, etsdctl);
    assert.deepEqual([told.code, told.stdout], [0, `${server.address}: error\n`]);
    await seen(server, 2);
    process.kill(server.pid, 'SIGUSR2');
    await seen(server, 3);
    process.kill(server.pid, 'SIGUSR2');
    await seen(server, 4);
    assert.deepEqual(changes(server), ['info info debug', 'info debug error', 'info error debug', 'info debug info']);
  } finally {
    await server.dispose();
  }
});

test('a log file is put aside while the member goes on, no line lost', async () => {
  const folder = scratch();
  const path = join(folder, 'member.log');
  const before = `${'x'.repeat(1_048_000)}\n`;
  writeFileSync(path, before);
  const words = [
    ...(await aloneIn(join(folder, 'data'))),
    ...['--log-outputs', path, '--enable-log-rotation', '--log-rotation-config-json', '{"maxsize": 1}'],
  ];
  const child = spawn(NODE, [join(ROOT, 'packages/cli/bin/etsd.ts'), ...words], { stdio: 'ignore' });
  try {
    const aside = await eventually(
      30_000,
      'a file put aside',
      async () => readdirSync(folder).find((name) => /^member-\d{4}-.*\.log$/.test(name)) ?? null,
    );
    await eventually(30_000, 'the member', async () =>
      readFileSync(path, 'utf8').includes('ready to serve client requests') ? true : null,
    );
    const text = readFileSync(join(folder, aside), 'utf8');
    assert.ok(text.startsWith(before) && text.length <= 1_048_576, `${text.length}`);
    const lines = (text.slice(before.length) + readFileSync(path, 'utf8')).trimEnd().split('\n');
    assert.match(lines[0] as string, /"msg":"Running: "/);
    for (const line of lines) assert.equal(typeof JSON.parse(line).ts, 'string');
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

/** The line that says that a member serves, with times and places masked. */
async function readyLine(product: 'etcd' | 'etsd'): Promise<string> {
  const server = await startServer({ product });
  try {
    const line = server.logs.find((each) => each.includes('ready to serve client requests')) ?? '';
    return line
      .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/, 'TIME')
      .replace(/[a-z-]+\/[a-z0-9-]+\.(go|ts):\d+/, 'PLACE');
  } finally {
    await server.dispose();
  }
}

// Goal: what reads etcd's log reads ours. (Its other form, `--log-format=console`, came with 3.6.)
const skip = needsPeer('etcd');
test('lines have the fields of etcd’s', { skip }, async () => {
  const [ours, theirs] = await Promise.all([readyLine('etsd'), readyLine('etcd')]);
  assert.match(ours, /TIME.*PLACE/);
  assert.equal(ours, theirs);
});
