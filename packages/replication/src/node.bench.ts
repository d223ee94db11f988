/**
 * What raft and replication cost per proposal on the main thread, without disk and state: many proposals a turn, a log
 * that is durable at the end of it. `node packages/replication/src/node.bench.ts [proposals]`.
 */
import { silentLogger } from '@etsd/base';
import type { ConfState, Entry, HardState, WalSnapshot } from '@etsd/proto';
import { emptyState } from '@etsd/raft';
import type { Applier, Waiter } from './applier.ts';
import type { LogStore } from './log-store.ts';
import { foundingEntry, identify } from './membership.ts';
import { ReplicationNode } from './node.ts';
import { fixedRandom, ManualTime } from './testing/fakes.ts';

type Done = (error: Error | null) => void;

class InstantLog implements LogStore {
  private waiting: Done[] = [];
  save(_state: HardState | null, _entries: readonly Entry[], _from: number, _to: number, done: Done): void {
    this.waiting.push(done);
  }
  saveSnapshot(_snapshot: WalSnapshot, done: Done): void {
    this.waiting.push(done);
  }
  flush(): void {}
  finish(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const done of waiting) done(null);
  }
  releaseTo(): void {}
  async close(): Promise<void> {}
}

class CountingApplier implements Applier {
  appliedIndex = 0;
  confState: ConfState | null = null;
  apply(index: number, _term: number, _data: Buffer, waiter: Waiter | null): void {
    this.appliedIndex = index;
    waiter?.done(null);
  }
  applyEmpty(index: number): void {
    this.appliedIndex = index;
  }
  applyWideChange: Applier['applyWideChange'] = (index, _term, change, toRaft) => {
    this.appliedIndex = index;
    this.confState = toRaft(change);
  };
  applyConfChange: Applier['applyConfChange'] = (index, _term, change, toRaft) => {
    this.appliedIndex = index;
    this.confState = toRaft(change);
  };
  batchEnd(): void {}
}

class CountingWaiter implements Waiter {
  count = 0;
  done(): void {
    this.count++;
  }
  fail(): void {
    throw new Error('a proposal failed');
  }
}

export interface BenchResult {
  readonly microsecondsPerProposal: number;
  readonly completed: number;
}

export function benchProposals(proposals: number, perTurn: number): BenchResult {
  const time = new ManualTime();
  const log = new InstantLog();
  const applier = new CountingApplier();
  const members = identify([{ name: 'one', peerUrls: ['http://localhost:2380'] }], 'bench');
  const self = members[0] as (typeof members)[0];
  const node = new ReplicationNode({
    world: { clock: time, timers: time, random: fixedRandom },
    logger: silentLogger,
    log,
    start: { memberId: self.id, clusterId: self.id, stored: emptyState(), bootstrap: [foundingEntry(self)] },
    applier,
    durableIndex: () => applier.appliedIndex,
    onFatal: (error) => {
      throw error;
    },
  });
  node.start();
  for (let turn = 0; turn < 10; turn++) {
    time.endTurn();
    log.finish();
  }
  if (!node.isLeader) throw new Error('the only member does not lead');
  const waiter = new CountingWaiter();
  const data = Buffer.alloc(300);
  const begin = process.hrtime.bigint();
  for (let done = 0; done < proposals; done += perTurn) {
    for (let index = 0; index < perTurn; index++) node.propose(data, waiter);
    time.endTurn();
    log.finish();
    time.drainMicrotasks();
    // A tick now and then cuts the log, as it would in life.
    if (done % 20_000 < perTurn) time.advance(100);
    log.finish();
    time.drainMicrotasks();
  }
  const elapsedNs = Number(process.hrtime.bigint() - begin);
  return { microsecondsPerProposal: elapsedNs / 1000 / proposals, completed: waiter.count };
}

if (import.meta.main) {
  const proposals = Number(process.argv[2] ?? 1_000_000);
  for (const perTurn of [1, 10, 100, 1000]) {
    benchProposals(proposals / 10, perTurn);
    const result = benchProposals(proposals, perTurn);
    console.log(
      `${perTurn} a turn: ${result.microsecondsPerProposal.toFixed(3)} µs a proposal, ${result.completed} completed`,
    );
  }
}
