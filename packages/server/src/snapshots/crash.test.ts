// Goal: cut off at any event while it is sent snapshots and installs them, a member finds a state that one of them
// stands for, never older than its log allows. Method: a simulated member lives, is cut off at a random event with the
// power or without, and lives again; each life begins as a start does and checks what it found.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { type Prng, silentLogger, U64_ZERO } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { ConfState, HardState, Message, MessageType, RaftSnapshot, V2Request, WalSnapshot } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import { SimUniverse } from '@etsd/runtime/sim';
import { digest, type KeptKeys, keptKeys, Lessor, State } from '@etsd/state';
import { forSeeds } from '@etsd/testkit';
import { newestSnapshot, Wal } from '@etsd/wal';
import { MetricRegistry } from '../metrics.ts';
import { readFrozenState } from './frozen-state.ts';
import { MemberSnapshots } from './member-snapshots.ts';
import { recoverInstalledSnapshot } from './recover.ts';
import { SnapshotMetrics } from './snapshot-metrics.ts';

const SNAP = '/data/member/snap';
const LOG = '/data/member/wal';
const LOG_OPTIONS = { segmentBytes: 16_384, fillAheadBytes: 0, segmentsMax: 100 };
const VERSIONS = 3;

/** A state of the leader, as it is sent. */
interface Version {
  readonly message: Message;
  readonly bytes: Buffer;
  readonly digest: number;
  /** Of etcd 2, which no digest covers. */
  readonly keys: KeptKeys;
}

function partsOver(world: World, backend: MemoryBackend) {
  const store = new Store(backend, { cacheBytes: 1 << 20 });
  store.open();
  const lessor = new Lessor({ store, backend, ttlMinSeconds: 2 });
  lessor.open();
  const state = new State({ backend, store, lessor });
  const metrics = new SnapshotMetrics(new MetricRegistry());
  const parts = { world, logger: silentLogger, directory: SNAP, backend, store, lessor, state, metrics };
  return { store, state, snapshots: new MemberSnapshots(parts) };
}

/** States of a leader, each further than the one before. */
async function versions(world: World, prng: Prng): Promise<Version[]> {
  await world.disk.makeDirectory(SNAP);
  const backend = new MemoryBackend();
  const { store, state, snapshots } = partsOver(world, backend);
  backend.put('meta', Buffer.from('confState'), Buffer.from('{"voters":[1],"auto_leave":false}'));
  const found: Version[] = [];
  let index = 0;
  for (let version = 0; version < VERSIONS; version++) {
    for (let i = prng.between(1, 60); i > 0; i--) {
      state.applyEmpty(++index, 1 + version);
      store.begin();
      store.put(`key${prng.below(40)}`, prng.bytes(900), 0, prng.below(900), U64_ZERO);
      store.end();
      state.v2.apply(V2Request.create({ method: 'PUT', val: String(index) }), `/v2-${prng.below(9)}/key`);
    }
    const wanted = Message.create({ type: MessageType.MsgSnap, snapshot: RaftSnapshot.create({}) });
    const outgoing = await snapshots.source.open(wanted);
    const pieces: Buffer[] = [];
    for (let piece = await outgoing.read(); piece !== null; piece = await outgoing.read()) pieces.push(piece);
    outgoing.close();
    found.push({
      message: outgoing.message,
      bytes: Buffer.concat(pieces),
      digest: digest(backend),
      keys: keptKeys(backend, 0),
    });
  }
  return found;
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 9000) yield bytes.subarray(at, at + 9000);
}

class Follower {
  backend = new MemoryBackend({ crashable: true });
  /** The snapshot that was found or installed last; −1 for none. */
  installed = -1;
  recovered = 0;
  private readonly versions: readonly Version[];

  constructor(all: readonly Version[]) {
    this.versions = all;
  }

  indexOf(version: number): number {
    return this.versions[version]?.message.snapshot?.metadata?.index ?? 0;
  }

  /** One life: a start, then the snapshots that are still missing. */
  async live(world: World): Promise<void> {
    const { backend } = this;
    await world.disk.makeDirectory(SNAP);
    const parts = { world, logger: silentLogger, walDirectory: LOG, directory: SNAP, backend };
    if (await recoverInstalledSnapshot(parts)) this.recovered++;
    const wal = await this.openLog(world);
    const { state, snapshots } = partsOver(world, backend);
    this.installed = this.check();
    for (let next = this.installed + 1; next < VERSIONS; next++) {
      const { message, bytes } = this.versions[next] as Version;
      await snapshots.sink.receive(message, piecesOf(bytes));
      await record(wal, message);
      await new Promise<void>((resolve, reject) => {
        const snapshot = message.snapshot as RaftSnapshot;
        snapshots.installer.install(snapshot, (error) => (error === null ? resolve() : reject(error)));
      });
      this.installed = next;
      assert.equal(state.appliedIndex, this.indexOf(next));
      assert.equal(this.check(), next);
    }
    await wal.close();
  }

  /** As a start of a member does: a state older than the record in the log would be refused. */
  private async openLog(world: World): Promise<Wal> {
    if (!(await Wal.exists(world, LOG))) return Wal.create(world, LOG, Buffer.from('m'), LOG_OPTIONS);
    const recorded = await newestSnapshot(world.disk, LOG);
    const index = recorded?.index ?? 0;
    const found = readFrozenState(this.backend).index;
    assert.ok(found >= index, `the store contains entry ${found}, the log begins at ${index}`);
    const { wal } = await Wal.open(world, LOG, { index, term: recorded?.term ?? 0 }, LOG_OPTIONS);
    return wal;
  }

  /** Which of the snapshots the state is; −1 for an empty one. */
  private check(): number {
    const { index } = readFrozenState(this.backend);
    const version = this.versions.findIndex((_, at) => this.indexOf(at) === index);
    assert.ok(version >= this.installed, `snapshot ${version} was found where ${this.installed} had been installed`);
    if (version >= 0) {
      assert.equal(digest(this.backend), this.versions[version]?.digest, 'the state of that snapshot');
      assert.deepEqual(keptKeys(this.backend, 0), this.versions[version]?.keys, 'and its keys of etcd 2');
    } else assert.equal(index, 0);
    return version;
  }
}

/** What the log is given before a snapshot is installed. */
function record(wal: Wal, message: Message): Promise<void> {
  const { index, term, confState } = message.snapshot?.metadata ?? assert.fail();
  return new Promise((resolve, reject) => {
    wal.saveSnapshot(WalSnapshot.create({ index, term, confState: confState ?? new ConfState() }), () => {});
    wal.save(HardState.create({ term, vote: U64_ZERO, commit: index }), [], 0, 0, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
    wal.flush();
  });
}

test('cut off at any event, a member finds the state of a snapshot, and catches up', async () => {
  let recovered = 0;
  await forSeeds(30, async (prng, seed) => {
    const universe = new SimUniverse(seed);
    const { simulation } = universe;
    const all = await simulation.runToEnd(versions(universe.addMachine('leader').world, prng));
    const machine = universe.addMachine('follower');
    const follower = new Follower(all);
    const lives = prng.between(2, 8);
    for (let life = 0; life <= lives; life++) {
      const isLast = life === lives;
      const lastEvent = isLast ? Number.POSITIVE_INFINITY : simulation.eventCount + prng.between(1, 150);
      let isOver = false;
      let problem: Error | null = null;
      follower.live(machine.world).then(
        () => {
          isOver = true;
        },
        (error: Error) => {
          isOver = true;
          problem = error;
        },
      );
      await simulation.runUntil(() => isOver || simulation.eventCount >= lastEvent);
      if (problem !== null) throw problem;
      if (isLast) break;
      if (prng.chance(0.7)) {
        machine.crash();
        follower.backend = follower.backend.afterCrash(prng.below(follower.backend.undurableBatches + 1));
      } else {
        machine.kill();
        follower.backend = follower.backend.afterCrash(follower.backend.undurableBatches);
      }
    }
    assert.equal(follower.installed, VERSIONS - 1);
    recovered += follower.recovered;
  });
  console.log(`${recovered} snapshots were installed by a start`);
  if (process.env['FUZZ_SEED'] === undefined) assert.ok(recovered > 5);
});
