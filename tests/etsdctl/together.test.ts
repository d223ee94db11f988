/** Goal: both tools on both servers do together what each does alone. Method: two servers, commands that go on until stopped. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, needsPeer } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { Client, type Message } from '../support/client.ts';
import { eventually, Signal } from '../support/conditions.ts';
import { startServer } from '../support/server.ts';

const skip = needsPeer('etcd', 'etcdctl');
const OURS = [NODE, join(ROOT, 'packages/cli/bin/etsdctl.ts')];
const theirs = (): string[] => [findPeerProgram('etcdctl') as string];

/** A command that runs, and what it printed so far. */
class Running {
  stdout = '';
  exit: string | null = null;
  private readonly child: ChildProcess;
  private readonly changed = new Signal();

  constructor(tool: readonly string[], address: string, ...args: string[]) {
    this.child = spawn(tool[0] as string, [...tool.slice(1), ...args], {
      env: { ...process.env, ETCDCTL_ENDPOINTS: address },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
      this.changed.signal();
    });
    this.child.on('close', (code, signal) => {
      this.exit = signal ?? String(code);
      this.changed.signal();
    });
  }

  async printed(pattern: RegExp): Promise<void> {
    await this.changed.wait(30_000, `${pattern}`, () => pattern.test(this.stdout));
  }

  async stop(): Promise<string> {
    this.child.kill('SIGINT');
    await this.changed.wait(30_000, 'the end of a command', () => this.exit !== null);
    return this.exit as string;
  }
}

async function keysOf(client: Client): Promise<Record<string, string>> {
  const all = Buffer.from([0]);
  const { kvs } = await client.expect('KV/Range', { key: all, range_end: all });
  return Object.fromEntries((kvs as Message[]).map((kv) => [String(kv['key']), String(kv['value'])]));
}

for (const [name, tool] of [
  ['etsdctl', (): string[] => OURS],
  ['etcdctl', theirs],
] as const) {
  for (const direction of ['etcd to etsd', 'etsd to etcd'] as const) {
    test(`${name} make-mirror from ${direction}`, { skip, timeout: 120_000 }, async () => {
      const [from, to] = direction.split(' to ') as ['etcd' | 'etsd', 'etcd' | 'etsd'];
      const source = await startServer({ product: from });
      const target = await startServer({ product: to });
      const [reader, writer] = [new Client(target.address), new Client(source.address)];
      const put = (key: string, value: string): Promise<Message> =>
        writer.expect('KV/Put', { key: Buffer.from(key), value: Buffer.from(value) });
      try {
        await put('outside', 'stays');
        for (let i = 0; i < 20; i++) await put(`app/${i}`, `before ${i}`);
        const mirror = new Running(
          tool(),
          source.address,
          'make-mirror',
          target.address,
          '--prefix=app/',
          '--dest-prefix=copy/',
        );
        await eventually(30_000, 'what was there', async () =>
          Object.keys(await keysOf(reader)).length === 20 ? true : null,
        );
        await put('app/1', 'after');
        await put('app/new', 'after');
        await writer.expect('KV/DeleteRange', { key: Buffer.from('app/2') });
        const both = { request_put: { key: Buffer.from('app/end'), value: Buffer.from('1') } };
        const gone = { request_delete_range: { key: Buffer.from('app/3') } };
        await writer.expect('KV/Txn', { success: [both, gone] });
        const wanted = Object.entries(await keysOf(writer))
          .filter(([key]) => key.startsWith('app/'))
          .map(([key, value]) => [key.replace('app/', 'copy/'), value]);
        await eventually(30_000, 'what changed', async () => ('copy/end' in (await keysOf(reader)) ? true : null));
        assert.deepEqual(await keysOf(reader), Object.fromEntries(wanted));
        await mirror.stop();
      } finally {
        reader.close();
        writer.close();
        await source.dispose();
        await target.dispose();
      }
    });
  }
}

for (const product of ['etsd', 'etcd'] as const) {
  test(`both tools stand in one queue for a lock and in one election, on ${product}`, {
    skip,
    timeout: 120_000,
  }, async () => {
    const server = await startServer({ product });
    const client = new Client(server.address);
    const waiting = (prefix: string, count: number): Promise<true> =>
      eventually(30_000, `${count} in the queue`, async () => {
        const keys = Object.keys(await keysOf(client)).filter((key) => key.startsWith(prefix));
        return keys.length === count ? true : null;
      });
    try {
      const tools = [OURS, theirs(), OURS, theirs()];
      const queue: Running[] = [];
      for (const [place, tool] of tools.entries()) {
        queue.push(new Running(tool, server.address, 'lock', 'l'));
        await waiting('l/', place + 1);
      }
      for (const [place, owner] of queue.entries()) {
        await owner.printed(/^l\/[0-9a-f]+\n/);
        for (const later of queue.slice(place + 1)) assert.equal(later.stdout, '');
        assert.equal(await owner.stop(), '0');
      }
      await waiting('l/', 0);

      const observers = [OURS, theirs()].map((tool) => new Running(tool, server.address, 'elect', '--listen', 'e'));
      const candidates: Running[] = [];
      for (const [place, tool] of tools.entries()) {
        candidates.push(new Running(tool, server.address, 'elect', 'e', `candidate ${place}`));
        await waiting('e/', place + 1);
      }
      for (const [place, candidate] of candidates.entries()) {
        await candidate.printed(new RegExp(`^e/[0-9a-f]+\ncandidate ${place}\n`));
        for (const observer of observers) await observer.printed(new RegExp(`candidate ${place}\n`));
        assert.equal(await candidate.stop(), '0');
      }
      assert.equal(observers[0]?.stdout, observers[1]?.stdout);
      for (const observer of observers) await observer.stop();
    } finally {
      client.close();
      await server.dispose();
    }
  });
}
