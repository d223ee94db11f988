import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LogFields } from '@etsd/base';
import type { PrefixShare } from './largest-prefixes.ts';
import { SpaceWatch, type SpaceWatchParts } from './space-watch.ts';

const QUOTA = 1_000_000_000;
const SHARES: PrefixShare[] = [{ prefix: '/registry/events/', bytes: 1234, keys: 5 }];

/** A store, an alarm and a log that the test sets, with a clock that it moves. */
class Bench {
  used = 0;
  pending = 0;
  file = 0;
  nowMs = 0;
  revision = 10;
  compactRevision = -1;
  isRaised = false;
  isHeld = false;
  isDiskLow = false;
  isCompacting = false;
  readonly done: string[] = [];
  readonly logged: { message: string; fields: LogFields }[] = [];
  private look = (): void => {};
  readonly watch: SpaceWatch;

  constructor(more: Partial<SpaceWatchParts> = {}) {
    this.watch = new SpaceWatch({
      quotaBytes: QUOTA,
      backend: this.backend(),
      every: (_ms, callback) => {
        this.look = callback;
        return { cancel: () => {} };
      },
      nowMs: () => this.nowMs,
      logger: {
        enabled: () => true,
        log: (level, message, fields) =>
          void this.logged.push({ message: `${level} ${message}`, fields: fields ?? {} }),
      },
      prefixes: { latest: SHARES, ask: (told) => told(SHARES) },
      counted: () => [],
      alarm: () => this,
      isDiskLow: () => this.isDiskLow,
      clear: (done) => {
        this.done.push('clear');
        this.isRaised = false;
        done(undefined);
      },
      revision: () => this.revision,
      compactRevision: () => this.compactRevision,
      isCompacting: () => this.isCompacting,
      compact: (revision, done) => {
        this.done.push(`compact ${revision}`);
        this.compactRevision = revision;
        done(undefined);
      },
      compactsUnasked: true,
      defragmentPercent: 50,
      ...more,
    });
    this.watch.start();
  }

  private backend(): SpaceWatchParts['backend'] {
    const bench = this;
    return {
      get pendingBytes() {
        return bench.pending;
      },
      sizeBytes: () => Math.max(bench.file, bench.used),
      inUseBytes: () => bench.used,
      defragment: async () => {
        bench.done.push('defragment');
        bench.file = bench.used;
      },
    };
  }

  /** Lets seconds pass, with a look each. */
  seconds(count: number): void {
    for (let at = 0; at < count; at++) {
      this.nowMs += 1000;
      this.look();
    }
  }
}

describe('warnings', () => {
  test('are given once on the way up, the higher ones with the largest prefixes', () => {
    const bench = new Bench();
    for (const percent of [50, 69.9, 70, 71, 84, 86, 90, 95, 99]) {
      bench.used = (percent / 100) * QUOTA;
      bench.seconds(2);
    }
    assert.deepEqual(
      bench.logged.map(({ message }) => message),
      [70, 85, 95].map((mark) => `warn the store has reached ${mark} % of its quota`),
    );
    const [first, second] = bench.logged;
    assert.equal(first?.fields['largest-prefixes'], undefined);
    assert.deepEqual(second?.fields, {
      'used-bytes': 0.86 * QUOTA,
      'quota-bytes': QUOTA,
      flag: '--quota-backend-bytes',
      'largest-prefixes': SHARES,
    });
    assert.equal(bench.watch.warning, 95);
  });

  test('are taken back a little below where they were given', () => {
    const bench = new Bench();
    bench.used = 0.72 * QUOTA;
    bench.seconds(1);
    for (const percent of [69.9, 70.1, 68, 70.1]) {
      bench.used = (percent / 100) * QUOTA;
      bench.seconds(1);
    }
    assert.equal(bench.logged.length, 1);
    bench.used = 0.66 * QUOTA;
    bench.seconds(1);
    assert.deepEqual([bench.watch.warning, bench.logged.length], [0, 2]);
  });

  test('count what is not written yet; without a quota there are none', () => {
    const bench = new Bench();
    bench.used = 0.6 * QUOTA;
    bench.pending = 0.1 * QUOTA;
    bench.seconds(1);
    assert.equal(bench.watch.warning, 70);
    const free = new Bench({ quotaBytes: Number.POSITIVE_INFINITY });
    free.used = 1e15;
    free.seconds(3);
    assert.equal(free.logged.length, 0);
  });
});

describe('the alarm', () => {
  test('is cleared below the low-water mark, and not above', () => {
    const bench = new Bench({ compactsUnasked: false });
    bench.isRaised = true;
    bench.used = 0.9 * QUOTA;
    bench.seconds(30);
    assert.deepEqual(bench.done, []);
    bench.used = 0.899 * QUOTA;
    bench.seconds(3);
    assert.deepEqual(bench.done, ['clear']);
    assert.equal(bench.watch.clearedTotal, 1);
  });

  test('of an operator stays, and one for the disk until the disk has room', () => {
    const bench = new Bench();
    bench.isRaised = true;
    bench.isHeld = true;
    bench.seconds(20);
    assert.deepEqual(bench.done, []);
    bench.isHeld = false;
    bench.isDiskLow = true;
    bench.seconds(20);
    assert.deepEqual(bench.done, []);
    bench.isDiskLow = false;
    bench.seconds(1);
    assert.deepEqual(bench.done, ['clear']);
  });

  // Goal: what was deleted gives its room back unasked; the newest history stays, and nothing is compacted twice.
  test('has history compacted, but for the last seconds of it', () => {
    const bench = new Bench();
    bench.isRaised = true;
    bench.used = QUOTA;
    bench.seconds(5);
    assert.deepEqual(bench.done, []);
    bench.seconds(1);
    assert.deepEqual(bench.done, ['compact 10']);
    bench.seconds(60);
    assert.deepEqual(bench.done, ['compact 10'], 'nothing has happened since');
    bench.revision = 11;
    bench.seconds(5);
    bench.revision = 12;
    bench.seconds(2);
    assert.deepEqual(bench.done, ['compact 10', 'compact 11']);
    bench.isCompacting = true;
    bench.seconds(20);
    assert.equal(bench.done.length, 2, 'one at a time');
    bench.isCompacting = false;
    bench.used = 0.5 * QUOTA;
    bench.seconds(1);
    assert.deepEqual(bench.done, ['compact 10', 'compact 11', 'clear']);
  });

  test('leaves history alone where the operator says so, or it is not for the quota', () => {
    const told = new Bench({ compactsUnasked: false });
    told.used = QUOTA;
    const forDisk = new Bench();
    forDisk.isDiskLow = true;
    for (const bench of [told, forDisk]) {
      bench.isRaised = true;
      bench.seconds(60);
      assert.deepEqual(bench.done, []);
    }
  });
});

describe('the file', () => {
  test('is rewritten where half of it is free, and much, and not soon again', async () => {
    const bench = new Bench();
    bench.used = 0.2 * QUOTA;
    bench.file = 0.39 * QUOTA;
    bench.seconds(5);
    assert.deepEqual(bench.done, []);
    bench.file = 0.4 * QUOTA;
    bench.seconds(1);
    assert.deepEqual(bench.done, ['defragment']);
    await new Promise((resolve) => setImmediate(resolve));
    bench.file = 0.9 * QUOTA;
    bench.seconds(599);
    assert.equal(bench.done.length, 1);
    bench.seconds(2);
    assert.equal(bench.done.length, 2);
    const small = new Bench();
    small.file = 60 * 1024 * 1024;
    small.seconds(5);
    assert.deepEqual(small.done, []);
  });

  test('is left alone during a compaction, on a full disk, and where the operator says so', () => {
    const never = new Bench({ defragmentPercent: 0 });
    const full = new Bench();
    full.isDiskLow = true;
    const compacting = new Bench();
    compacting.isCompacting = true;
    for (const bench of [never, full, compacting]) {
      bench.file = QUOTA;
      bench.seconds(5);
      assert.deepEqual(bench.done, []);
    }
  });
});
