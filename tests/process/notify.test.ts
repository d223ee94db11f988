/**
 * Goal: a service manager of systemd's kind hears when a member serves, how it is, and that it stops. Method: the program
 * itself, with a datagram socket of ours where systemd's would be.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '@etsd/testkit';
import { DatagramReceiver, loadSocketCalls } from '../../packages/cli/src/etsd/notify/datagram.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import { Client } from '../support/client.ts';
import { eventually, within } from '../support/conditions.ts';
import { aloneIn, scratch } from './program.ts';

const isElsewhere = process.platform !== 'linux' && 'datagrams of Linux';
const PATIENCE_MS = 60_000;

const ETSD = join(ROOT, 'packages/cli/bin/etsd.ts');

/** Starts the program as systemd would, with these flags. */
async function startNotified(flags: readonly string[], script = ETSD, env: Record<string, string> = {}) {
  const folder = scratch();
  const path = join(folder, 'notify');
  const receiver = new DatagramReceiver(await loadSocketCalls(), path);
  const child = spawn(NODE, [script, ...flags], {
    stdio: 'ignore',
    env: { ...process.env, ...env, NOTIFY_SOCKET: path, WATCHDOG_USEC: '400000' },
  });
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  const heard: string[] = [];
  return {
    child,
    ended,
    heard,
    /** Waits for a message with this line, and answers all lines heard until then, that message included. */
    until: (line: string | RegExp) =>
      eventually(
        PATIENCE_MS,
        `the service manager hears ${line}`,
        () => {
          const message = receiver.receive();
          if (message === null) return null;
          const lines = message.split('\n');
          heard.push(...lines);
          return lines.some((each) => (typeof line === 'string' ? each === line : line.test(each))) ? heard : null;
        },
        2,
      ),
    dispose: () => {
      child.kill('SIGKILL');
      receiver.close();
    },
  };
}

test('ready once it serves, pings, and stopping at the end', { skip: isElsewhere, timeout: 180_000 }, async () => {
  const port = await freePort();
  const service = await startNotified(await aloneIn(join(scratch(), 'data'), port));
  try {
    const before = [...(await service.until('READY=1'))];
    assert.match(before[0] ?? '', /^STATUS=Starting/);
    assert.ok(!before.includes('WATCHDOG=1'), 'a ping before it serves');
    assert.match(before.find((line) => line.startsWith('STATUS=Serving')) ?? '', /; leader in term \d+$/);
    const client = new Client(`127.0.0.1:${port}`);
    await client.expect('KV/Put', { key: Buffer.from('a'), value: Buffer.from('1') });
    client.close();
    for (let pings = 0; pings < 3; pings++) await service.until('WATCHDOG=1');
    service.child.kill('SIGTERM');
    await service.until('STOPPING=1');
    assert.equal(await within(PATIENCE_MS, 'the end', service.ended), 'SIGTERM');
  } finally {
    service.dispose();
  }
});

test('why it does not start is its status', { skip: isElsewhere, timeout: 180_000 }, async () => {
  // One of three: without the others it stays where it is, and says nothing of being ready.
  const data = join(scratch(), 'data');
  const [mine, other] = [await freePort(), await freePort()];
  const peer = (port: number): string => `http://127.0.0.1:${port}`;
  const flags = [
    ...(await aloneIn(data)),
    '--name=m1',
    `--listen-peer-urls=${peer(mine)}`,
    `--initial-advertise-peer-urls=${peer(mine)}`,
    `--initial-cluster=m1=${peer(mine)},m2=${peer(other)}`,
  ];
  const waiting = await startNotified(flags);
  try {
    await waiting.until(/^STATUS=Starting/);
    const locked = await startNotified(flags.map((flag) => flag.replaceAll(String(mine), String(other))));
    try {
      const heard = await locked.until(/^STATUS=(?!Starting)/);
      assert.ok(!heard.includes('READY=1'), heard.join());
      assert.equal(await within(PATIENCE_MS, 'the end', locked.ended), 1);
    } finally {
      locked.dispose();
    }
    assert.ok(!waiting.heard.includes('READY=1'));
  } finally {
    waiting.dispose();
  }
});

test('the watchdog hears nothing while the disk hangs', { skip: isElsewhere, timeout: 180_000 }, async () => {
  const folder = scratch();
  const port = await freePort();
  const control = join(folder, 'delay');
  const script = join(ROOT, 'tests/chaos/slow-disk-member.ts');
  const flags = await aloneIn(join(folder, 'data'), port);
  const service = await startNotified(flags, script, { CHAOS_DISK_DELAY: control });
  const client = new Client(`127.0.0.1:${port}`);
  let isOver = false;
  try {
    await service.until('READY=1');
    await service.until('WATCHDOG=1');
    // Longer than an election, after which the disk counts as one that hangs.
    writeFileSync(control, '2500');
    // More than one, for the first may be done before the disk is slow.
    const writing = (async () => {
      for (; !isOver; ) await client.call('KV/Put', { key: Buffer.from('a'), value: Buffer.from('1') }, PATIENCE_MS);
    })();
    await service.until(/^STATUS=.*the disk of the log hangs$/);
    const told = service.heard.length;
    writeFileSync(control, '0');
    await service.until('WATCHDOG=1');
    // The first ping comes together with the news that the disk works again.
    assert.match(service.heard.slice(told)[0] ?? '', /^STATUS=(?!.*hangs)/);
    isOver = true;
    await writing;
  } finally {
    isOver = true;
    client.close();
    service.dispose();
  }
});
