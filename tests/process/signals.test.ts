/** Goal: a member ends as a service manager expects, under load too, and starts again after any end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../support/client.ts';
import { startServer } from '../support/server.ts';
import { scratch } from './program.ts';

/** Puts from several clients at once until the server refuses; gives the keys that were acknowledged. */
function load(address: string): { acknowledged: string[]; clients: Client[]; over: Promise<unknown> } {
  const acknowledged: string[] = [];
  const clients = [0, 1, 2, 3].map(() => new Client(address));
  const over = Promise.all(
    clients.map(async (client, name) => {
      for (let i = 0; ; i++) {
        const key = `load/${name}/${i}`;
        const outcome = await client.call('KV/Put', { key: Buffer.from(key), value: Buffer.alloc(5000, 1) });
        if (outcome.code !== 0) return;
        acknowledged.push(key);
      }
    }),
  );
  return { acknowledged, clients, over };
}

const ENDINGS = ['SIGTERM', 'SIGINT', 'SIGKILL'] as const;

for (const signal of ENDINGS) {
  test(`${signal} under load: the exit tells the signal, nothing acknowledged is lost`, async () => {
    const server = await startServer({ product: 'etsd' });
    try {
      for (const wanted of [50, 300]) {
        const { acknowledged, clients, over } = load(server.address);
        while (acknowledged.length < wanted) await new Promise((resolve) => setImmediate(resolve));
        process.kill(server.pid, signal);
        await server.ended(10_000);
        await over;
        assert.equal(server.exitSignal, signal, server.tail(5));
        for (const client of clients) client.close();
        await server.start();
        const reader = new Client(server.address);
        for (const key of acknowledged) {
          assert.equal(
            (await reader.expect('KV/Range', { key: Buffer.from(key), count_only: true }))['count'],
            '1',
            key,
          );
        }
        reader.close();
      }
    } finally {
      await server.dispose();
    }
  });
}

test('a second signal does not wait', async () => {
  const server = await startServer({ product: 'etsd' });
  const client = new Client(server.address);
  try {
    // A watch keeps the connection busy, so that draining takes its time.
    const watch = client.stream('Watch/Watch');
    watch.send({ create_request: { key: Buffer.from('a') } });
    await watch.until(30_000, 'the watch', () => watch.received.length > 0);
    process.kill(server.pid, 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (server.isRunning) process.kill(server.pid, 'SIGTERM');
    await server.ended(5000);
    assert.ok(server.exitCode === 1 || server.exitSignal === 'SIGTERM', `${server.exitCode} ${server.exitSignal}`);
  } finally {
    client.close();
    await server.dispose();
  }
});

test('a unix socket: served, and taken over from a process that was killed, not from one that lives', async () => {
  const path = join(scratch(), 'etsd.sock');
  const url = `unix://${path}`;
  // The later of two equal flags counts.
  const flags = ['--listen-client-urls', url, '--advertise-client-urls', url];
  const server = await startServer({ product: 'etsd', flags });
  try {
    for (let round = 0; round < 2; round++) {
      const client = new Client(url);
      await client.expect('KV/Put', { key: Buffer.from('a') });
      client.close();
      await server.kill();
      assert.ok(existsSync(path), 'a killed process leaves its socket');
      await server.start();
    }
    await assert.rejects(startServer({ product: 'etsd', flags }), /address already in use/);
    const socket = connect(path);
    await once(socket, 'connect');
    socket.destroy();
  } finally {
    await server.dispose();
  }
});

test('--log-outputs with files', async () => {
  const folder = scratch();
  const flags = ['--log-outputs', `${join(folder, 'a.log')},stderr`];
  const server = await startServer({ product: 'etsd', flags });
  try {
    await server.stop();
    const lines = readFileSync(join(folder, 'a.log'), 'utf8').trimEnd().split('\n');
    for (const line of lines) assert.equal(typeof JSON.parse(line).msg, 'string');
    assert.ok(lines.some((line) => line.includes('ready to serve client requests')));
    assert.ok(lines.some((line) => line.includes('closed etcd server')));
    assert.equal(statSync(join(folder, 'a.log')).mode & 0o777, 0o600);
  } finally {
    await server.dispose();
  }
});

test('the addresses are free as soon as the process is gone', async () => {
  const server = await startServer({ product: 'etsd' });
  try {
    await server.stop();
    const probe = createServer().listen(server.clientPort, '127.0.0.1');
    await once(probe, 'listening');
    probe.close();
    await once(probe, 'close');
    await server.start();
  } finally {
    await server.dispose();
  }
});
