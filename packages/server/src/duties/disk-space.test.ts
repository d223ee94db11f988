import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DISK_RESERVE_BYTES } from '../limits.ts';
import { DiskSpace } from './disk-space.ts';

/** Asked for beyond the reserve before writes are let in again. */
const MARGIN_BYTES = 8 * 1024 * 1024;

/** A disk whose free space the test sets, and what the duty does about it. */
function setUp() {
  const state = { free: DISK_RESERVE_BYTES * 4, raised: false, raises: 0, retries: 0, look: () => {}, nowMs: 0 };
  const backend = {
    pendingBytes: 0,
    isOutOfSpace: false,
    retry(): void {
      state.retries++;
      backend.isOutOfSpace = false;
    },
  };
  const logged: string[] = [];
  const duty = new DiskSpace({
    places: [{ holds: 'data', path: '/d' }],
    freeBytes: async () => state.free,
    nowMs: () => state.nowMs,
    every: (_ms, callback) => {
      state.look = callback;
      return { cancel: () => {} };
    },
    logger: { enabled: () => true, log: (level, message) => void logged.push(`${level} ${message}`) },
    backend,
    isRaised: () => state.raised,
    raise: (done) => {
      state.raises++;
      done();
    },
  });
  const look = async (): Promise<void> => {
    state.look();
    for (let turn = 0; turn < 30; turn++) await null;
  };
  return { state, backend, logged, duty, look };
}

// Goal: the alarm is raised while short of space, again until it stands, and the operator is told once a minute.
test('too little space raises the alarm; enough of it again lets writes in', async () => {
  const { state, logged, duty, look } = setUp();
  duty.start();
  await look();
  assert.deepEqual([duty.isLow, state.raises], [false, 0]);
  state.free = DISK_RESERVE_BYTES - 1;
  await look();
  await look();
  assert.deepEqual([duty.isLow, state.raises], [true, 2], 'an alarm that does not stand is raised again');
  state.raised = true;
  await look();
  assert.equal(state.raises, 2);
  assert.equal(logged.length, 1);
  state.nowMs = 60_000;
  await look();
  assert.equal(logged.length, 2);
  state.free = DISK_RESERVE_BYTES + MARGIN_BYTES - 1;
  await look();
  assert.equal(duty.isLow, true, 'a little more than needed, so that it does not go to and fro');
  state.free++;
  await look();
  assert.equal(duty.isLow, false);
  assert.match(logged.at(-1) ?? '', /^info there is enough/);
});

// Goal: what the store could not write counts as space needed, and is written once there is that much.
test('the store tries again when there is room for what waits', async () => {
  const { state, backend, duty, look } = setUp();
  duty.start();
  backend.isOutOfSpace = true;
  backend.pendingBytes = 1_000_000;
  state.free = DISK_RESERVE_BYTES + MARGIN_BYTES + 1_999_999;
  duty.refused();
  assert.equal(duty.isLow, true, 'at once');
  await look();
  assert.deepEqual([state.retries, duty.isLow], [0, true]);
  state.free++;
  await look();
  assert.deepEqual([state.retries, duty.isLow], [1, false]);
});
