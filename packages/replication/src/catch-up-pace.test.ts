/**
 * Goal: a follower that gets a lot piece by piece rests in proportion to its work while others write, gains on them, and
 * is not held up where it is needed or nobody writes. Method: a raft of which the test decides what it says, and a clock
 * in the test's hands.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type U64, u64FromNumber } from '@etsd/base';
import { CatchUpPace, type PacedRaft } from './catch-up-pace.ts';
import { CATCH_UP_REST_MAX_MS, CATCH_UP_REST_SHARE } from './limits.ts';
import { ManualTime } from './testing/fakes.ts';

const FOLLOWER = u64FromNumber(3);
const TICK_MS = 100;

class Played {
  readonly time = new ManualTime();
  readonly raft = {
    isLeader: true,
    commitIndex: 1000,
    lastIndex: 1000,
    progress: new Map([[FOLLOWER, { id: FOLLOWER, isResting: false, match: 0 }]]),
    isPacing: false,
    hasNews: false,
    pace(isPacing: boolean): void {
      this.isPacing = isPacing;
    },
    takeResting(): boolean {
      const { hasNews } = this;
      this.hasNews = false;
      return hasNews;
    },
    goOn: (id: U64): void => {
      this.wentOnAt.push(this.time.nowMs());
      const follower = this.raft.progress.get(id);
      if (follower !== undefined) follower.isResting = false;
    },
  };
  readonly wentOnAt: number[] = [];
  readonly pace: CatchUpPace;

  constructor() {
    const raft = this.raft as unknown as PacedRaft;
    this.pace = new CatchUpPace({ raft, clock: this.time, timers: this.time, woken: () => {} });
  }

  /** A tick passes in which so many entries are written and committed. */
  tick(written: number, committed = written): void {
    this.time.advance(TICK_MS);
    this.raft.lastIndex += written;
    this.raft.commitIndex += committed;
    this.pace.tick();
  }

  /** The follower answers a piece of so many entries that took it so long. */
  answer(tookMs: number, entries: number): void {
    this.time.spend(tookMs);
    const follower = this.raft.progress.get(FOLLOWER);
    assert.ok(follower !== undefined);
    follower.match += entries;
    follower.isResting = true;
    this.raft.hasNews = true;
    this.pace.look();
  }

  /** For how long the follower rests now. */
  rest(): number {
    const [fromMs, count] = [this.time.nowMs(), this.wentOnAt.length];
    for (let ms = 0; this.wentOnAt.length === count; ms = 1) this.time.advance(ms);
    return (this.wentOnAt[count] as number) - fromMs;
  }
}

/** A leader with some writes, and a follower that has had its first piece. */
function behind(writesInATick: number): Played {
  const played = new Played();
  played.tick(writesInATick);
  played.tick(writesInATick);
  assert.equal(played.raft.isPacing, true);
  played.answer(3, 200);
  assert.ok(played.rest() <= 1, 'nobody knows yet how long a piece takes');
  return played;
}

test('a piece is followed by a rest in proportion', () => {
  const played = behind(1);
  played.answer(4, 200);
  assert.equal(played.rest(), 4 * CATCH_UP_REST_SHARE);
  played.answer(1, 200);
  assert.equal(played.rest(), CATCH_UP_REST_SHARE);
});

test('no rest is long, however slow the follower', () => {
  const played = behind(1);
  played.answer(2000, 200_000);
  assert.equal(played.rest(), CATCH_UP_REST_MAX_MS);
});

test('the follower gains on the writers', () => {
  // Four entries a millisecond: a piece of 80 may take ten milliseconds with its rest, so that half of it is gained.
  const played = behind(400);
  played.answer(4, 80);
  assert.equal(played.rest(), 6);
  played.answer(15, 80);
  assert.ok(played.rest() <= 1);
});

test('under a load that needs all of a follower nobody is held back', () => {
  const played = behind(400);
  played.tick(1000);
  assert.equal(played.raft.isPacing, false);
});

test('a follower that is needed is not paced', () => {
  const played = behind(10);
  played.tick(10, 5);
  assert.equal(played.raft.isPacing, true, 'what has just been written may be committed soon');
  played.tick(10, 0);
  assert.equal(played.raft.isPacing, false, 'nothing was committed for a tick');
});

test('nobody is paced while nobody writes, or by a member that does not lead', () => {
  const played = behind(10);
  for (let count = 0; count < 9; count++) played.tick(0);
  assert.equal(played.raft.isPacing, true, 'more may come');
  assert.equal(played.pace.isBusy, true);
  played.tick(0);
  assert.equal(played.raft.isPacing, false);
  assert.equal(played.pace.isBusy, false);
  played.tick(10);
  assert.equal(played.raft.isPacing, true);
  played.raft.isLeader = false;
  played.tick(10);
  assert.equal(played.raft.isPacing, false);
  assert.equal(played.pace.isBusy, true);
});

test('a rest that began before pacing ended wakes nobody', () => {
  const played = behind(1);
  played.answer(4, 200);
  const count = played.wentOnAt.length;
  played.raft.isLeader = false;
  played.pace.tick();
  played.time.advance(1000);
  assert.equal(played.wentOnAt.length, count);
});
