import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeadlineWheel, type Expiring } from '../deadline-wheel.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { ManualWorld } from '../peer.fixture.ts';
import { Budget } from './budget.ts';
import { ConnectionHost } from './connection-host.ts';
import { ErrorCode, errorCodeName } from './errors.ts';
import { patchFrameLength, readU31, readU32, writeFrameHeader, writeU32 } from './frame.ts';
import { PeerSettings, writeSetting } from './settings.ts';
import { nextState, StreamEvent, StreamState } from './stream.ts';

describe('frames', () => {
  it('are written as RFC 9113 §4.1 draws them', () => {
    const bytes = Buffer.alloc(9);
    assert.equal(writeFrameHeader(bytes, 0, 0x012345, 6, 0x81, 0x7abbccdd), 9);
    assert.equal(bytes.toString('hex'), '012345' + '06' + '81' + '7abbccdd');
    patchFrameLength(bytes, 0, 0x00fedc);
    assert.equal(bytes.readUIntBE(0, 3), 0xfedc);
  });

  it('hold unsigned numbers, and ignore the reserved bit of 31-bit ones', () => {
    const bytes = Buffer.alloc(4);
    writeU32(bytes, 0, 0xfedcba98);
    assert.equal(readU32(bytes, 0), 0xfedcba98);
    assert.equal(readU31(bytes, 0), 0x7edcba98);
  });
});

describe('settings', () => {
  it('are taken in order, unknown ones ignored, the last one counting', () => {
    const bytes = Buffer.alloc(24);
    let at = writeSetting(bytes, 0, 4, 1000);
    at = writeSetting(bytes, at, 0x99, 5);
    at = writeSetting(bytes, at, 4, 2000);
    writeSetting(bytes, at, 1, 0);
    const settings = new PeerSettings();
    assert.equal(settings.update(bytes, 0, 24, false), ErrorCode.NO_ERROR);
    assert.equal(settings.initialWindowSize, 2000);
    assert.equal(settings.headerTableSize, 0);
  });
});

describe('stream states', () => {
  const { IDLE, OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED } = StreamState;

  it('follow the drawing of RFC 9113 §5.1', () => {
    assert.equal(nextState(IDLE, StreamEvent.RECEIVE_HEADERS), OPEN);
    assert.equal(nextState(OPEN, StreamEvent.RECEIVE_END), HALF_CLOSED_REMOTE);
    assert.equal(nextState(OPEN, StreamEvent.SEND_END), HALF_CLOSED_LOCAL);
    assert.equal(nextState(HALF_CLOSED_REMOTE, StreamEvent.SEND_END), CLOSED);
    assert.equal(nextState(HALF_CLOSED_LOCAL, StreamEvent.RECEIVE_END), CLOSED);
  });

  it('refuse what may not come', () => {
    assert.equal(nextState(IDLE, StreamEvent.RECEIVE_DATA), -ErrorCode.PROTOCOL_ERROR);
    assert.equal(nextState(HALF_CLOSED_REMOTE, StreamEvent.RECEIVE_DATA), -ErrorCode.STREAM_CLOSED);
    assert.equal(nextState(CLOSED, StreamEvent.RECEIVE_HEADERS), -ErrorCode.STREAM_CLOSED);
  });

  it('end with a reset from wherever they are', () => {
    for (const state of [OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED]) {
      assert.equal(nextState(state, StreamEvent.SEND_RESET), CLOSED);
      assert.equal(nextState(state, StreamEvent.RECEIVE_RESET), CLOSED);
    }
  });
});

describe('budgets', () => {
  it('allow the burst at once and the rate for ever', () => {
    const budget = new Budget(10, 5, 0);
    let now = 0;
    for (let i = 0; i < 10; i++) assert.equal(budget.spend(now), true);
    assert.equal(budget.spend(now), false);
    for (let i = 0; i < 100; i++) {
      now += 200;
      assert.equal(budget.spend(now), true, `at ${now} ms`);
    }
    assert.equal(budget.spend(now), false);
    now += 1e9;
    for (let i = 0; i < 10; i++) assert.equal(budget.spend(now), true);
    assert.equal(budget.spend(now), false, 'never more than the burst, however long the rest');
  });
});

describe('the deadline wheel', () => {
  class Node implements Expiring {
    wheelNext: Expiring | null = null;
    wheelPrevious: Expiring | null = null;
    wheelTick = 0;
    expiredAtMs = -1;
    private readonly manual: ManualWorld;

    constructor(manual: ManualWorld) {
      this.manual = manual;
    }

    expired(): void {
      assert.equal(this.expiredAtMs, -1, 'a deadline passes once');
      this.expiredAtMs = this.manual.nowMs;
    }
  }

  it('is never early and at most two ticks late, near and far', () => {
    const manual = new ManualWorld();
    const wheel = new DeadlineWheel(manual.world.clock, manual.world.timers);
    const start = manual.nowMs;
    const waits = [0, 1, 9, 10, 11, 500, 5119, 5120, 5121, 20_000, 60_007];
    const nodes = waits.map((ms) => {
      const node = new Node(manual);
      wheel.add(node, ms);
      return node;
    });
    manual.advance(70_000);
    for (let i = 0; i < waits.length; i++) {
      const late = (nodes[i] as Node).expiredAtMs - start - (waits[i] as number);
      assert.ok(late >= 0 && late <= 30, `${waits[i]} ms was ${late} ms late`);
    }
  });

  it('forgets what is removed, and catches up after a long pause', () => {
    const manual = new ManualWorld();
    const wheel = new DeadlineWheel(manual.world.clock, manual.world.timers);
    const [kept, removed] = [new Node(manual), new Node(manual)];
    wheel.add(kept, 100);
    wheel.add(removed, 100);
    wheel.remove(removed);
    wheel.remove(removed);
    manual.nowMs += 1_000_000;
    manual.advance(20);
    assert.ok(kept.expiredAtMs > 0);
    assert.equal(removed.expiredAtMs, -1);
  });
});

describe('error codes', () => {
  it('have names', () => {
    assert.equal(errorCodeName(0xb), 'ENHANCE_YOUR_CALM');
    assert.equal(errorCodeName(77), 'code 77');
  });
});

describe('the time of what is read', () => {
  // Goal: what one socket brings waits while others are read before it, and that counts; the next turn has its own time.
  it('is one for a turn', () => {
    const manual = new ManualWorld();
    const { clock, timers } = manual.world;
    const host = new ConnectionHost(clock, timers, DEFAULT_LIMITS);
    const first = host.readMs;
    manual.nowMs += 5;
    assert.equal(host.readMs, first);
    manual.turn();
    assert.equal(host.readMs, first + 5);
  });
});
