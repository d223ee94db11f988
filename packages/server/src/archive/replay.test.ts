// Goal: whatever leaders did to a log, and whenever pieces of it were archived, what is restored is what the cluster had
// committed: nothing that a later leader overwrote, and nothing missing that the member had applied. Method: real logs
// with small segments, written as a member under changing leaders writes its own, archived at random moments.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { type Prng, silentLogger } from '@etsd/base';
import { Entry, HardState, PutRequest, RaftRequestField, writeRaftRequest } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import { forSeeds } from '@etsd/testkit';
import { Wal } from '@etsd/wal';
import { Chain } from './chain.ts';
import { ChainWriter } from './chain-writer.ts';
import { LogTail, pendingLog } from './log-stretches.ts';
import type { BaseManifest, ChainName, Sample } from './manifest.ts';
import { Replay, type ReplayParts, TO_THE_END } from './replay.ts';

const world = nodeWorld();
const { disk } = world;
const pause = (): Promise<void> => Promise.resolve();
const VOTE = '00000000000000aa';
const NAME: ChainName = { directory: 'chain', clusterId: VOTE, memberId: VOTE, generation: 1 };
const OBJECT = { serial: 0, bytes: 0, rawBytes: 0, sha256: '', timeMs: 0 };
const AT_FIRST: Sample = { timeMs: 0, index: 0, term: 0, revision: 1 };
const EMPTY_BASE: BaseManifest = { kind: 'base', name: 'none', ...OBJECT, at: AT_FIRST, leaseTtlMinSeconds: 2 };

function putEntry(index: number, term: number, value: string, padding: number): Entry {
  const body = PutRequest.encode(
    PutRequest.create({ key: Buffer.from(`k${index % 7}`), value: Buffer.from(value.padEnd(padding, '.')) }),
  );
  const data = writeRaftRequest(RaftRequestField.Put, body, 0, body.length, term, index, '', 0);
  return Entry.create({ type: 0, index, term, data });
}

/** A member's log and the archive of it. */
class ArchivedLog {
  readonly place = mkdtempSync(join(tmpdir(), 'replay-'));
  readonly tail = new LogTail();
  /** What the cluster agreed on, from index 1. */
  readonly committed: Entry[] = [];
  /** What is in the log. */
  log: Entry[] = [];
  /** What the archive was told is applied. */
  noted = 0;
  private term = 1;
  private commit = 0;
  private wal: Wal | null = null;
  private writer: ChainWriter | null = null;
  private readonly random: Prng;

  constructor(random: Prng) {
    this.random = random;
  }

  private get walDirectory(): string {
    return join(this.place, 'wal');
  }

  async open(): Promise<void> {
    const { moved } = this.tail;
    const observer = {
      synced: (_ms: number, _bytes: number, sequence: number, end: number) => moved.call(this.tail, sequence, end),
    };
    const options = { segmentBytes: 4096, fillAheadBytes: 0, segmentsMax: 1000, observer };
    this.wal = await Wal.create(world, this.walDirectory, Buffer.from('whose'), options);
    await disk.makeDirectory(join(this.place, 'chain'));
    const parts = { disk, logger: silentLogger, nowMs: () => 1, pause };
    this.writer = new ChainWriter(new Chain(NAME, join(this.place, 'chain'), []), parts);
  }

  private save(entries: Entry[]): Promise<void> {
    const hardState = HardState.create({ term: this.term, vote: VOTE, commit: this.commit });
    return new Promise((resolve, reject) => {
      this.wal?.save(hardState, entries, 0, entries.length, (error) => (error === null ? resolve() : reject(error)));
      this.wal?.flush();
    });
  }

  async step(): Promise<void> {
    const { random } = this;
    switch (random.below(5)) {
      case 0:
        // Another leader, whose log is shorter from somewhere behind the commit on.
        this.term++;
        this.log.length = random.between(this.commit, this.log.length);
        await this.append(1);
        return;
      case 1:
      case 2:
        await this.append(random.between(1, 4));
        return;
      case 3:
        this.commit = random.between(this.commit, this.log.length);
        for (let at = this.committed.length; at < this.commit; at++) this.committed.push(this.log[at] as Entry);
        // The commit reaches the log with the next entries, or by itself.
        if (random.chance(0.5)) await this.save([]);
        return;
      default:
        await this.archive();
    }
  }

  private async append(count: number): Promise<void> {
    const entries = Array.from({ length: count }, (_unused, at) =>
      putEntry(
        this.log.length + at + 1,
        this.term,
        `${this.log.length + at + 1} of ${this.term}`,
        this.random.below(900),
      ),
    );
    await this.save(entries);
    this.log.push(...entries);
  }

  async archive(): Promise<void> {
    const { writer, walDirectory, tail } = this;
    if (writer === null || tail.sequence < 0) return;
    const last = this.committed.at(-1);
    const samples =
      last === undefined ? [] : [{ timeMs: 1, index: last.index, term: last.term, revision: last.index + 1 }];
    const { stretches, hasGap } = await pendingLog({ disk, walDirectory, last: writer.last, tail, appliedIndex: 0 });
    assert.equal(hasGap, false);
    for (const [at, stretch] of stretches.entries()) {
      assert.ok(writer.last === null || writer.isNext(stretch));
      await writer.addPiece(walDirectory, stretch, at === stretches.length - 1 ? samples : []);
    }
    if (stretches.length > 0) this.noted = last?.index ?? 0;
  }

  async restored(end = TO_THE_END): Promise<Replay> {
    const chain = new Chain(NAME, join(this.place, 'chain'), this.writer?.manifests ?? []);
    assert.equal(chain.problems.length, 0);
    const replay = new Replay(new MemoryBackend(), EMPTY_BASE, end);
    const parts: ReplayParts = { disk, chain, temporary: this.place, pause };
    await replay.run(parts, chain.runs[0]?.pieces ?? []);
    return replay;
  }

  async close(): Promise<void> {
    await this.wal?.close();
    rmSync(this.place, { recursive: true });
  }
}

/** The keys and values that so many entries lead to. */
function valuesOf(entries: readonly Entry[]): Map<string, number> {
  const values = new Map<string, number>();
  for (const { index } of entries) values.set(`k${index % 7}`, index);
  return values;
}

function check(replay: Replay, committed: readonly Entry[]): void {
  const { appliedIndex, appliedTerm } = replay.state;
  assert.ok(appliedIndex <= committed.length, `entry ${appliedIndex} was never committed`);
  const applied = committed.slice(0, appliedIndex);
  assert.equal(appliedTerm, applied.at(-1)?.term ?? 0);
  assert.equal(replay.store.revision, appliedIndex + 1);
  for (const [key, index] of valuesOf(applied)) {
    assert.ok(replay.store.lookup(key, 0));
    const { mainRevision, subRevision } = replay.store.found;
    const record = replay.store.record(mainRevision, subRevision).toString('latin1');
    assert.match(record, new RegExp(`${index} of ${(committed[index - 1] as Entry).term}(\\D|$)`), `key ${key}`);
  }
}

test('only what was committed is restored, and all that was applied', async () => {
  let overwritten = 0;
  await forSeeds(6, async (random) => {
    const log = new ArchivedLog(random);
    try {
      await log.open();
      for (let step = 0; step < 120; step++) await log.step();
      await log.archive();
      const replay = await log.restored();
      check(replay, log.committed);
      assert.ok(replay.state.appliedIndex >= log.noted, `entry ${log.noted} was applied by the member`);
      const to = random.between(1, Math.max(1, log.noted));
      if (log.noted > 0) {
        const revision = await log.restored({ ...TO_THE_END, revision: to + 1 });
        assert.equal(revision.store.revision, to + 1);
        check(revision, log.committed);
        const index = await log.restored({ ...TO_THE_END, index: to });
        assert.equal(index.state.appliedIndex, to);
        check(index, log.committed);
      }
      overwritten += log.log.filter(({ term }) => term > 1).length;
    } finally {
      await log.close();
    }
  });
  assert.ok(overwritten > 50, 'leaders changed');
});

test.after(() => world.workers.close());
