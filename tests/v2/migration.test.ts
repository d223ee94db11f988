import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { ask } from '../gateway/http.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import { type Product, prepareServer } from '../support/server.ts';
import { tree, v2 } from './keys-client.ts';

function migrate(way: string, from: string, to: string): void {
  const words = ['migrate', way, '--data-dir', from, '--target-dir', to];
  const { status, stderr } = spawnSync(NODE, [join(ROOT, 'packages/cli/bin/etsdutl.ts'), ...words], {
    encoding: 'utf8',
    timeout: 240_000,
  });
  assert.equal(status, 0, stderr);
}

async function writeKeys(port: number, name: string): Promise<void> {
  for (let i = 0; i < 30; i++) await v2(port, 'PUT', `/${name}/${i % 4}`, { value: i });
  await v2(port, 'POST', `/${name}/queue`, { value: 'job', ttl: 5000 });
  await v2(port, 'DELETE', `/${name}/3`);
}

/** What is there, and what happened of late; a member that starts says who it is, which counts. */
async function seen(port: number, from: number): Promise<string[]> {
  const events: string[] = [];
  for (let index = from; ; index++) {
    const last = (await v2(port, 'GET', '/')).index;
    if (index > last - 5) break;
    const path = `/v2/keys/?recursive=true&wait=true&waitIndex=${index}`;
    events.push((await ask(port, { method: 'GET', path })).body.replace(/"ttl":-?\d+/g, ''));
  }
  const all = await tree(port);
  return [all.slice(all.indexOf('{')), ...events.slice(0, 25)];
}

// Goal: a move to etsd and back keeps the keys of etcd 2 with their indexes, times and history. Method: so few entries to
// a snapshot that part of them is in its file and part in the log.
test('etsdutl migrate takes the keys of etcd 2 along, both ways', { skip: needsPeer('etcd') }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'etsd-v2-'));
  const flags = ['--enable-v2', '--snapshot-count', '20'];
  const ports: { clientPort?: number; peerPort?: number } = {};
  const during = async <T>(product: Product, folder: string, work: (port: number) => Promise<T>): Promise<T> => {
    const dataDir = join(root, folder);
    const server = await prepareServer({ product, dataDir, flags, readyMs: 120_000, ...ports });
    Object.assign(ports, { clientPort: server.clientPort, peerPort: server.peerPort });
    try {
      await server.start();
      return await work(server.clientPort);
    } finally {
      await server.stop();
      await server.dispose();
    }
  };
  const dataOf = (folder: string): string => join(root, folder, 'member.etcd');
  try {
    const first = await during('etcd', 'first', async (port) => {
      await writeKeys(port, 'etcd');
      return await seen(port, 4);
    });
    migrate('from-etcd', dataOf('first'), dataOf('ours'));
    const second = await during('etsd', 'ours', async (port) => {
      assert.deepEqual(await seen(port, 4), first);
      await writeKeys(port, 'etsd');
      return await seen(port, 20);
    });
    migrate('to-etcd', dataOf('ours'), dataOf('last'));
    await during('etcd', 'last', async (port) => assert.deepEqual(await seen(port, 20), second));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
