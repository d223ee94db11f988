/**
 * Goal: what is said arrives at sockets of both kinds, by either way of sending. Method: real sockets of this machine, in
 * place of systemd's.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DatagramReceiver, DatagramSender, loadSocketCalls, socketAddress } from './datagram.ts';
import { openServiceManager, ProgramSender, watchdogOf } from './open.ts';

const isElsewhere = process.platform !== 'linux' && 'datagrams of Linux';
const hasNotify = spawnSync('systemd-notify', ['--version']).status === 0;
const silent = { log() {} } as never;

/** A folder for a socket, and a name that no other process has: its last part. */
function place(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-notify-'));
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}

for (const kind of ['path', 'abstract'] as const) {
  test(`messages arrive at a socket with ${kind === 'path' ? 'a path' : 'an abstract name'}`, {
    skip: isElsewhere,
  }, async () => {
    const { folder, remove } = place();
    const calls = await loadSocketCalls();
    const address = kind === 'path' ? join(folder, 'notify') : `@${folder}`;
    const receiver = new DatagramReceiver(calls, address);
    try {
      const sender = new DatagramSender(calls, address);
      assert.equal(receiver.receive(), null);
      assert.equal(sender.send('READY=1\nSTATUS=Überall'), 0);
      assert.equal(sender.send('WATCHDOG=1'), 0);
      assert.equal(receiver.receive(), 'READY=1\nSTATUS=Überall');
      assert.equal(receiver.receive(), 'WATCHDOG=1');
      receiver.close();
      assert.notEqual(sender.send('WATCHDOG=1'), 0);
    } finally {
      remove();
    }
  });
}

test('a queue that is full is told, not waited for', { skip: isElsewhere }, async () => {
  const { folder, remove } = place();
  const calls = await loadSocketCalls();
  const receiver = new DatagramReceiver(calls, join(folder, 'notify'));
  try {
    const sender = new DatagramSender(calls, join(folder, 'notify'));
    let sent = 0;
    while (sender.send('WATCHDOG=1') === 0 && sent < 100_000) sent++;
    assert.ok(sent > 0 && sent < 100_000, `${sent} messages`);
  } finally {
    receiver.close();
    remove();
  }
});

test('paths that no socket can have are refused', () => {
  assert.throws(() => socketAddress(''), RangeError);
  assert.throws(() => socketAddress(`/${'x'.repeat(107)}`), RangeError);
  assert.equal(socketAddress('@etsd').toString('latin1', 2), '\0etsd');
});

test('the environment is read once, and kept from children', { skip: isElsewhere }, async () => {
  const { folder, remove } = place();
  const env = { NOTIFY_SOCKET: `@${folder}`, WATCHDOG_USEC: '1000000', PATH: '/bin' };
  try {
    assert.notEqual(await openServiceManager(env, silent), null);
    assert.deepEqual(env, { PATH: '/bin' });
    assert.equal(await openServiceManager(env, silent), null);
    assert.equal(await openServiceManager({ NOTIFY_SOCKET: 'vsock:2:1234' }, silent), null);
  } finally {
    remove();
  }
});

test('the time of the watchdog counts for the process it names', () => {
  assert.equal(watchdogOf({ WATCHDOG_USEC: '30000000' }, 7), 30_000);
  assert.equal(watchdogOf({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }, 7), 30_000);
  assert.equal(watchdogOf({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' }, 7), null);
  for (const WATCHDOG_USEC of ['', '0', '-5', 'soon']) assert.equal(watchdogOf({ WATCHDOG_USEC }, 7), null);
});

test("systemd's own program speaks where there are no binaries", {
  skip: isElsewhere || (!hasNotify && 'no systemd-notify'),
  timeout: 60_000,
}, async () => {
  const { folder, remove } = place();
  const calls = await loadSocketCalls();
  const path = join(folder, 'notify');
  const receiver = new DatagramReceiver(calls, path);
  try {
    assert.equal(new ProgramSender(path, silent).send('READY=1\nSTATUS=two words'), 0);
    let got: string | null = null;
    while (got === null) {
      got = receiver.receive();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const lines = got.split('\n');
    assert.ok(lines.includes('READY=1') && lines.includes('STATUS=two words'), got);
  } finally {
    receiver.close();
    remove();
  }
});
