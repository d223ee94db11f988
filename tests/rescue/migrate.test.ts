import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import type { Client } from '../support/client.ts';
import { type Product, prepareServer, type TestServer } from '../support/server.ts';
import { addUsers, lockDoors, type Picture, pictureOf, tryDoors, writeAnything } from './picture.ts';

const skip = needsPeer('etcd');
/** So few entries that the log is cut and snapshots are taken many times. */
const OFTEN = ['--snapshot-count', '50'];

interface Result {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function utl(...args: string[]): Result {
  const { status, stdout, stderr } = spawnSync(NODE, [join(ROOT, 'packages/cli/bin/etsdutl.ts'), ...args], {
    encoding: 'utf8',
    timeout: 240_000,
  });
  return { exit: status, stdout, stderr };
}

/** Of every file in a directory: what a source must be afterwards, too. */
function contentOf(directory: string): string {
  const hash = createHash('sha256');
  for (const name of (readdirSync(directory, { recursive: true }) as string[]).sort()) {
    const path = join(directory, name);
    if (statSync(path).isFile()) hash.update(name).update(readFileSync(path));
  }
  return hash.digest('hex');
}

/** One member, of either product in turn, on the same ports; its data directory changes hands between the runs. */
class Mover {
  readonly root = mkdtempSync(join(tmpdir(), 'etsd-migrate-'));
  private ports: { clientPort: number; peerPort: number } | null = null;
  private server: TestServer | null = null;

  async run(product: Product, folder: string): Promise<TestServer> {
    const options = { product, dataDir: join(this.root, folder), flags: OFTEN, readyMs: 120_000 };
    this.server = await prepareServer({ ...options, ...this.ports });
    this.ports = { clientPort: this.server.clientPort, peerPort: this.server.peerPort };
    return await this.server.start();
  }

  move(way: string, from: string, to: string): Result {
    const [source, target] = [from, to].map((folder) => join(this.root, folder, 'member.etcd'));
    return utl('migrate', way, '--data-dir', source as string, '--target-dir', target as string, '-w', 'json');
  }

  async stop(): Promise<void> {
    await this.server?.stop();
  }

  async dispose(): Promise<void> {
    await this.server?.dispose();
    rmSync(this.root, { recursive: true, force: true });
  }
}

async function writtenTo(server: TestServer, seed: number, rounds: number): Promise<Picture> {
  const client = server.connect();
  try {
    await writeAnything(client, seed, rounds);
    return await pictureOf(client);
  } finally {
    client.close();
  }
}

async function seenAt(server: TestServer, upTo: number): Promise<Picture> {
  const client = server.connect();
  try {
    return await pictureOf(client, upTo);
  } finally {
    client.close();
  }
}

async function doing<T>(server: TestServer, what: (client: Client) => Promise<T>): Promise<T> {
  const client = server.connect();
  try {
    return await what(client);
  } finally {
    client.close();
  }
}

// Goal: users keep their passwords and rights, and doors that were shut stay shut, both ways. Method: what users may do is
// asked of each product about its own directory, and of the other about what was made of it.
test('passwords and rights move, too', { skip, timeout: 400_000 }, async () => {
  const mover = new Mover();
  try {
    for (const [way, from, to] of [
      ['from-etcd', 'etcd', 'etsd'],
      ['to-etcd', 'etsd', 'etcd'],
    ] as const) {
      const [source, target] = [`${way}-source`, `${way}-target`];
      const before = await mover.run(from, source);
      await doing(before, (client) => writeAnything(client, 5, 40));
      await doing(before, addUsers);
      await doing(before, lockDoors);
      const expected = await doing(before, tryDoors);
      await doing(before, lockDoors);
      await before.stop();
      const moved = mover.move(way, source, target);
      assert.equal(moved.exit, 0, moved.stderr);
      const said = await doing(await mover.run(to, target), tryDoors);
      await mover.stop();
      assert.deepEqual(said, expected);
      assert.match(said.join('\n'), /nobody reads: [1-9].*\n(.*\n)*root comes in: 0 /);
    }
  } finally {
    await mover.dispose();
  }
});

// Goal: a stopped member of etcd goes on as one of etsd, and back, with everything. Method: random writes of all kinds on
// a real etcd; the directory is moved; etsd shows the same picture, every key at every revision; more writes; back again.
for (const end of ['stop', 'kill'] as const) {
  test(`from etcd and back, after ${end}`, { skip, timeout: 400_000 }, async () => {
    const mover = new Mover();
    try {
      const seed = Number(process.env['ETSD_TEST_SEED'] ?? (end === 'stop' ? 11 : 12));
      const etcd = await mover.run('etcd', 'a');
      const first = await writtenTo(etcd, seed, 150);
      await etcd[end]();
      const before = contentOf(join(mover.root, 'a'));
      const there = mover.move('from-etcd', 'a', 'b');
      assert.equal(there.exit, 0, there.stderr);
      assert.equal(contentOf(join(mover.root, 'a')), before, 'the source is untouched');

      const etsd = await mover.run('etsd', 'b');
      const second = await seenAt(etsd, first.revision);
      assert.equal(second.text, first.text);
      assert.equal(second.ids, first.ids);
      const third = await writtenTo(etsd, seed + 100, 120);
      await etsd[end]();
      const ours = contentOf(join(mover.root, 'b'));
      const back = mover.move('to-etcd', 'b', 'c');
      assert.equal(back.exit, 0, back.stderr);
      assert.equal(contentOf(join(mover.root, 'b')), ours, 'the source is untouched');

      const again = await mover.run('etcd', 'c');
      const fourth = await seenAt(again, third.revision);
      assert.equal(fourth.text, third.text);
      assert.equal(fourth.ids, first.ids);
      await writtenTo(again, seed + 200, 30);
      await again.stop();
      const told = JSON.parse(back.stdout) as Record<string, unknown>;
      console.log(`seed ${seed}: moved ${JSON.stringify(told)}`);
    } finally {
      await mover.dispose();
    }
  });
}
