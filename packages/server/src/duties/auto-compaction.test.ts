/** The duty on a clock and a timer that the test moves by hand. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '@etsd/base';
import { AutoCompaction, type AutoCompactionMember } from './auto-compaction.ts';

class Bench implements AutoCompactionMember {
  time = 0;
  current = 1;
  leader = true;
  failure: string | undefined = undefined;
  readonly compacted: number[] = [];
  interval = 0;
  private tick: () => void = () => {};
  readonly nowMs = (): number => this.time;
  readonly isLeader = (): boolean => this.leader;
  readonly revision = (): number => this.current;
  readonly every = (ms: number, callback: () => void): { cancel(): void } => {
    this.interval = ms;
    this.tick = callback;
    return { cancel: () => {} };
  };
  readonly compact = (revision: number, done: (failure: string | undefined) => void): void => {
    this.compacted.push(revision);
    done(this.failure);
  };

  /** Lets time pass, one revision for every look. */
  look(times: number): void {
    for (let count = 0; count < times; count++) {
      this.time += this.interval;
      this.current++;
      this.tick();
    }
  }
}

describe('auto-compaction', () => {
  it('by revision keeps exactly the retention', () => {
    const bench = new Bench();
    new AutoCompaction(bench, silentLogger, 'revision', 100);
    bench.current = 500;
    bench.look(1);
    assert.deepEqual(bench.compacted, [401]);
    assert.equal(bench.interval, 300_000);
  });

  it('by period compacts nothing before a period has passed, then what was current a period ago', () => {
    const bench = new Bench();
    new AutoCompaction(bench, silentLogger, 'periodic', 600_000);
    bench.look(10);
    assert.deepEqual(bench.compacted, []);
    bench.look(1);
    // The first look saw revision 2; it is one period old at the eleventh.
    assert.deepEqual(bench.compacted, [2]);
    bench.look(2);
    assert.deepEqual(bench.compacted, [2, 3, 4], 'and each look what was current a period before it');
  });

  // Goal: never less history than asked for, and hardly more. Method: at every look, the age of the oldest revision kept.
  for (const [period, most] of [
    [20_000, 2.1],
    [300_000, 1.3],
    [600_000, 1.2],
    [3_600_000, 1.2],
    [36_000_000, 1.02],
  ] as const) {
    it(`keeps a period of ${period / 1000} s, and not ${most} of it`, () => {
      const bench = new Bench();
      new AutoCompaction(bench, silentLogger, 'periodic', period);
      const madeAt = new Map<number, number>();
      let oldest = 2;
      for (let look = 0; look < 600; look++) {
        bench.look(1);
        madeAt.set(bench.current, bench.time);
        oldest = Math.max(oldest, ...bench.compacted.splice(0).map((revision) => revision + 1));
        // What is gone was no longer current a period ago: its successor is at least that old.
        const kept = bench.time - (madeAt.get(oldest - 1) ?? bench.time - period);
        assert.ok(kept >= period, `${kept} at look ${look}`);
        assert.ok(kept <= most * period + 1, `${kept} at look ${look}`);
      }
      assert.ok(oldest > 100);
    });
  }

  it('reads no store more than once a minute', () => {
    const bench = new Bench();
    new AutoCompaction(bench, silentLogger, 'periodic', 120_000);
    bench.look(100);
    assert.ok(bench.compacted.length >= 15 && bench.compacted.length <= 20, `${bench.compacted.length}`);
  });

  it('does nothing on a follower', () => {
    const bench = new Bench();
    bench.leader = false;
    new AutoCompaction(bench, silentLogger, 'periodic', 600_000);
    bench.look(30);
    assert.deepEqual(bench.compacted, []);
  });

  it('tries again at the next look after a failure', () => {
    const bench = new Bench();
    new AutoCompaction(bench, silentLogger, 'periodic', 600_000);
    bench.failure = 'etcdserver: request timed out';
    bench.look(11);
    bench.failure = undefined;
    bench.look(1);
    assert.equal(bench.compacted.length, 2);
  });
});
