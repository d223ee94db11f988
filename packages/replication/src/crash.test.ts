/**
 * Goal: through any number of crashes, what was acknowledged stays, at its place, applied once, and what a reader was
 * shown stays. Method: a member that is alone, on a simulated disk that loses and tears what was not synced, is cut off
 * at random events; its state on disk is somewhat older than what it had applied, as a backend's is. A model keeps what
 * every index was applied as, in whatever life; no later life may differ. `SEED=…` plays one seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, silentLogger } from '@etsd/base';
import type { ConfState } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { foundCluster, hasLog, openExisting } from './bootstrap.ts';
import { ReplicationNode } from './node.ts';
import { RecordingApplier } from './testing/fakes.ts';

const FIRST_SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? (process.env['SEED'] === undefined ? 40 : 1));
const DIRECTORY = '/data/member/wal';
const FOUNDERS = [{ name: 'one', peerUrls: ['http://one:2380'] }];

/** The state on disk: what a backend would have committed last. */
interface StoredState {
  readonly appliedIndex: number;
  readonly confState: ConfState | null;
  readonly history: readonly string[];
}

/** What must never change again. */
class Model {
  /** What was applied at an index, in the first life that did. */
  readonly applied: string[] = [];
  /** Texts of acknowledged proposals. */
  readonly acknowledged: Set<string> = new Set();
  lives = 0;
  restarts = 0;
  cuts = 0;
  reads = 0;

  /** A life has applied this much. */
  check(history: readonly string[]): void {
    for (const [place, text] of history.entries()) {
      const known = this.applied[place];
      if (known === undefined) this.applied.push(text);
      else assert.equal(text, known, `entry ${place + 1} was applied as something else before`);
    }
  }
}

class Member {
  stored: StoredState = { appliedIndex: 0, confState: null, history: [] };
  private readonly prng: Prng;
  private readonly model: Model;
  private readonly walOptions: { segmentBytes: number; segmentsMax: number; fillAheadBytes: number };
  private readonly snapshotCount: number;
  private proposals = 0;

  constructor(prng: Prng, model: Model) {
    this.prng = prng;
    this.model = model;
    this.snapshotCount = prng.pick([5, 20, 100]);
    this.walOptions = { segmentBytes: prng.pick([4096, 16384]), segmentsMax: 1, fillAheadBytes: prng.pick([0, 4096]) };
  }

  /** One life. Resolves when the log failed; otherwise it is cut off from outside. */
  async live(world: World): Promise<void> {
    this.model.lives++;
    const applier = new RecordingApplier();
    applier.history.push(...this.stored.history);
    applier.appliedIndex = this.stored.appliedIndex;
    applier.confState = this.stored.confState;
    const place = { world, directory: DIRECTORY, logger: silentLogger, walOptions: this.walOptions };
    const founding = { members: FOUNDERS, name: 'one', token: 't' };
    const isRestart = await hasLog(place);
    assert.ok(isRestart || this.model.acknowledged.size === 0, 'the log is there');
    if (isRestart) this.model.restarts++;
    const opened = isRestart
      ? await openExisting({
          ...place,
          appliedIndex: applier.appliedIndex,
          confState: applier.confState,
          founding: async () => founding,
        })
      : await foundCluster({ ...place, ...founding });
    await new Promise<void>((resolve) => {
      const node = new ReplicationNode({
        world,
        logger: silentLogger,
        ...opened,
        applier,
        durableIndex: () => this.stored.appliedIndex,
        onFatal: () => resolve(),
        heartbeatMs: 10,
        electionMs: 100,
        snapshotCount: this.snapshotCount,
        catchUpEntries: 3,
      });
      applier.onApply = () => this.model.check(applier.history);
      node.start();
      world.timers.every(7, () => this.flush(applier));
      this.work(world, node, applier);
    });
  }

  /** The backend commits now and then. */
  private flush(applier: RecordingApplier): void {
    if (this.prng.chance(0.5)) return;
    const { appliedIndex, confState } = applier;
    this.stored = { appliedIndex, confState, history: [...applier.history] };
  }

  /** Clients: each proposes one after the other, and reads in between. */
  private work(world: World, node: ReplicationNode, applier: RecordingApplier): void {
    const again = (): void => {
      world.timers.after(this.prng.float() * 5, () => this.work(world, node, applier));
    };
    if (this.prng.chance(0.2)) {
      const before = [...this.model.acknowledged];
      node.readBarrier({
        done: () => {
          const seen = new Set(applier.history);
          for (const text of before) assert.ok(seen.has(text), `a read did not see ${text}`);
          this.model.reads++;
          again();
        },
        fail: again,
      });
      return;
    }
    for (let count = this.prng.between(1, 5); count > 0; count--) {
      const text = `p${++this.proposals}${'.'.repeat(this.prng.below(200))}`;
      const isLast = count === 1;
      node.propose(Buffer.from(text), {
        done: (result) => {
          assert.equal(result, text);
          this.model.acknowledged.add(text);
          if (node.snapshotIndex > 0) this.model.cuts++;
          if (isLast) again();
        },
        fail: () => {
          if (isLast) again();
        },
      });
    }
  }
}

async function scenario(seed: number): Promise<Model> {
  const prng = new Prng(seed);
  const { simulation, machine } = machineOf(seed);
  await simulation.runToEnd(machine.world.disk.makeDirectory('/data/member'));
  const model = new Model();
  const member = new Member(prng, model);
  const lives = prng.between(3, 8);
  for (let life = 0; life <= lives; life++) {
    const isPeaceful = life === lives;
    machine.diskFaults.writeErrorRate = isPeaceful || prng.chance(0.7) ? 0 : 0.01;
    machine.diskFaults.stallRate = prng.chance(0.3) ? 0.05 : 0;
    machine.diskFaults.stallMs = 300;
    let isOver = false;
    let problem: Error | null = null;
    member.live(machine.world).then(
      () => {
        isOver = true;
      },
      (error: Error) => {
        problem = error;
        isOver = true;
      },
    );
    const acknowledged = model.acknowledged.size;
    const lastEvent = simulation.eventCount + prng.between(10, prng.pick([50, 300, 2000]));
    await simulation.runUntil(() =>
      isPeaceful ? isOver || model.acknowledged.size > acknowledged + 20 : isOver || simulation.eventCount >= lastEvent,
    );
    // A disk that fails while the member starts is its right; anything else is not.
    if (problem !== null && !(problem as Error).message.includes('EIO')) throw problem;
    if (prng.chance(0.7)) machine.crash();
    else machine.kill();
  }
  const applied = new Set(model.applied);
  assert.equal(applied.size + model.applied.filter((text) => text === '(empty)').length - 1, model.applied.length);
  for (const text of model.acknowledged) assert.ok(applied.has(text), `lost: ${text}`);
  return model;
}

function machineOf(seed: number): { simulation: SimUniverse['simulation']; machine: SimMachine } {
  const universe = new SimUniverse(seed);
  return { simulation: universe.simulation, machine: universe.addMachine('one') };
}

test('what was acknowledged survives any crash, in its place', async () => {
  let [acknowledged, restarts, cuts, reads] = [0, 0, 0, 0];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
    let model: Model;
    try {
      model = await scenario(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    acknowledged += model.acknowledged.size;
    restarts += model.restarts;
    cuts += model.cuts;
    reads += model.reads;
  }
  console.log(`${RUNS} seeds from ${FIRST_SEED}: ${acknowledged} acknowledged, ${restarts} restarts, ${reads} reads`);
  assert.ok(acknowledged >= RUNS * 20);
  assert.ok(restarts > RUNS);
  assert.ok(reads > RUNS);
  assert.ok(RUNS === 1 || cuts > 0, 'logs were cut');
});
