/**
 * Goal: whatever moment power is lost or the disk fails, what was acknowledged is read back, in order, and nothing else
 * than what was saved. Method: a member that saves at random on a simulated disk, cut off at a random event; the log it
 * finds afterwards must be what some number of its records add up to, not fewer than were acknowledged. Then it goes on
 * and is cut off again.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Prng } from '@etsd/base';
import { Entry, HardState, WalSnapshot } from '@etsd/proto';
import { KeyRing, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { forSeeds } from '@etsd/testkit';
import { type LogPosition, type OpenedWal, validSnapshots, Wal, type WalOptions } from './index.ts';

const DIRECTORY = '/data/member/wal';
const METADATA = Buffer.from('who this is');

/** One record as it was handed to the log. */
type Saved = { readonly entry: Entry } | { readonly state: HardState } | { readonly snapshot: WalSnapshot };

/** What records add up to; the plainest possible way. */
class Model {
  entries: Entry[] = [];
  state = new HardState();
  snapshots: LogPosition[] = [{ index: 0, term: 0 }];

  add(record: Saved): void {
    if ('entry' in record) {
      this.entries = this.entries.filter((entry) => entry.index < record.entry.index);
      this.entries.push(record.entry);
    } else if ('state' in record) {
      this.state = record.state;
    } else {
      this.snapshots.push({ index: record.snapshot.index, term: record.snapshot.term });
    }
  }

  get last(): Entry | undefined {
    return this.entries.at(-1);
  }

  matches(start: LogPosition, entries: readonly Entry[], state: HardState): boolean {
    const mine = this.entries.filter((entry) => entry.index > start.index);
    if (mine.length !== entries.length) return false;
    if (state.term !== this.state.term || state.commit !== this.state.commit || state.vote !== this.state.vote) {
      return false;
    }
    return mine.every((entry, at) => isSame(entry, entries[at] as Entry));
  }
}

function isSame(a: Entry, b: Entry): boolean {
  return a.index === b.index && a.term === b.term && a.type === b.type && a.data.equals(b.data);
}

/** A member that saves at random, through any number of lives. */
class Member {
  readonly records: Saved[] = [];
  /** Of `records`, from the start: those that were reported durable. */
  durableRecords = 0;
  /** Some creation of the log was reported done. */
  isCreated = false;
  opened = 0;
  repaired = 0;
  failed = 0;
  /** Nothing before this index is needed any more. */
  releasedIndex = 0;
  private readonly prng: Prng;
  private readonly options: WalOptions;

  constructor(prng: Prng) {
    this.prng = prng;
    this.options = {
      segmentBytes: prng.pick([2048, 4096, 16384]),
      fillAheadBytes: prng.pick([0, 1024, 8192]),
      segmentsMax: prng.pick([1, 2, 100]),
    };
  }

  /** One life: until the machine is cut off, or the log has failed. */
  async live(world: World): Promise<void> {
    const wal = await this.open(world);
    const model = new Model();
    for (const record of this.records) model.add(record);
    for (let round = 0; round < 1000 && wal.failure === null; round++) {
      const saves = this.prng.between(1, 4);
      const waits: Promise<void>[] = [];
      for (let count = 0; count < saves; count++) waits.push(this.save(wal, model));
      if (this.prng.chance(0.1)) wal.flush();
      await Promise.all(waits);
    }
    await wal.close();
  }

  private async open(world: World): Promise<Wal> {
    if (!(await Wal.exists(world, DIRECTORY))) {
      assert.ok(!this.isCreated, 'a log that was created is there');
      const wal = await Wal.create(world, DIRECTORY, METADATA, this.options);
      this.isCreated = true;
      return wal;
    }
    const valid = await validSnapshots(world.disk, DIRECTORY);
    const usable = valid.filter((snapshot) => snapshot.index >= this.releasedIndex);
    assert.ok(usable.length > 0, `a snapshot at ${this.releasedIndex} or later is known`);
    const start = this.prng.pick(usable);
    const found = await Wal.open(world, DIRECTORY, start, this.options);
    this.check(start, found);
    this.isCreated = true;
    this.opened++;
    if (found.repair !== null) this.repaired++;
    return found.wal;
  }

  /** The log must be what some number of records add up to; from here on those are the ones that were saved. */
  private check(start: LogPosition, found: OpenedWal): void {
    assert.deepEqual(found.metadata, METADATA);
    const model = new Model();
    for (let count = 0; count <= this.records.length; count++) {
      if (count > 0) model.add(this.records[count - 1] as Saved);
      if (count < this.durableRecords || !model.matches(start, found.entries, found.hardState)) continue;
      // Where several numbers fit, records in between changed nothing that shows.
      if (this.canMatchLater(count, start, found)) continue;
      this.records.length = count;
      this.durableRecords = count;
      return;
    }
    const what = `${found.entries.length} entries behind ${start.index}, commit ${found.hardState.commit}`;
    assert.fail(`found ${what}: not what ${this.durableRecords} to ${this.records.length} records add up to`);
  }

  private canMatchLater(count: number, start: LogPosition, found: OpenedWal): boolean {
    const model = new Model();
    return this.records.some((record, at) => {
      model.add(record);
      return at >= count && model.matches(start, found.entries, found.hardState);
    });
  }

  private save(wal: Wal, model: Model): Promise<void> {
    if (this.prng.chance(0.05) && model.state.commit > this.releasedIndex) return this.saveSnapshot(wal, model);
    const entries = this.prng.chance(0.8) ? this.newEntries(model) : [];
    for (const entry of entries) this.add(model, { entry });
    const state = this.newState(model, entries);
    if (state !== null) this.add(model, { state });
    const count = this.records.length;
    // Of a hard state with nothing but a new commit index the log does not say that it is durable.
    const isDurable = entries.length > 0;
    return new Promise((resolve) => {
      wal.save(state, entries, 0, entries.length, (error) => {
        if (error === null && isDurable) this.durableRecords = Math.max(this.durableRecords, count);
        if (error !== null) this.failed++;
        resolve();
      });
    });
  }

  private saveSnapshot(wal: Wal, model: Model): Promise<void> {
    const index = this.prng.between(this.releasedIndex + 1, model.state.commit);
    const term = model.entries.find((entry) => entry.index === index)?.term ?? 0;
    const snapshot = WalSnapshot.create({ index, term });
    this.add(model, { snapshot });
    const count = this.records.length;
    return new Promise((resolve) => {
      wal.saveSnapshot(snapshot, (error) => {
        if (error === null) {
          this.durableRecords = Math.max(this.durableRecords, count);
          if (index > this.releasedIndex && this.prng.chance(0.5)) {
            this.releasedIndex = index;
            wal.releaseTo(index);
          }
        }
        resolve();
      });
    });
  }

  private newEntries(model: Model): Entry[] {
    const last = model.last;
    let term = Math.max(last?.term ?? 1, model.state.term, 1);
    let index = (last?.index ?? 0) + 1;
    // A newer leader overwrites what is not committed.
    if (last !== undefined && this.prng.chance(0.1) && last.index > model.state.commit) {
      index = this.prng.between(model.state.commit + 1, last.index);
      term++;
    }
    const entries: Entry[] = [];
    const count = this.prng.between(1, 5);
    for (let at = 0; at < count; at++) {
      const size = this.prng.chance(0.1) ? this.prng.below(6000) : this.prng.below(200);
      entries.push(Entry.create({ term, index: index + at, data: this.prng.bytes(size) }));
    }
    return entries;
  }

  private newState(model: Model, entries: readonly Entry[]): HardState | null {
    const term = Math.max(model.state.term, entries.at(-1)?.term ?? 1);
    const known = Math.max(model.state.commit, (entries[0]?.index ?? (model.last?.index ?? 0) + 1) - 1);
    if (term === model.state.term && this.prng.chance(0.3)) return null;
    const commit = this.prng.between(model.state.commit, known);
    return HardState.create({ term, vote: '00000000000000aa', commit });
  }

  private add(model: Model, record: Saved): void {
    this.records.push(record);
    model.add(record);
  }
}

interface Totals {
  cuts: number;
  opened: number;
  repaired: number;
  failed: number;
}

/** Lets a member live and be cut off `rounds` times, then once more in peace. */
async function scenario(
  seed: number,
  prng: Prng,
  rounds: number,
  totals: Totals,
  disturb: (machine: SimMachine) => void,
  worldOf: (machine: SimMachine) => World = ({ world }) => world,
): Promise<void> {
  const universe = new SimUniverse(seed);
  const { simulation } = universe;
  const machine = universe.addMachine('m');
  await simulation.runToEnd(machine.world.disk.makeDirectory('/data/member'));
  const member = new Member(prng);
  for (let round = 0; round <= rounds; round++) {
    const isPeaceful = round === rounds;
    if (!isPeaceful) disturb(machine);
    const lastEvent = simulation.eventCount + prng.between(1, isPeaceful ? 400 : prng.pick([20, 100, 400]));
    let problem: Error | null = null;
    let isOver = false;
    member.live(worldOf(machine)).then(
      () => {
        isOver = true;
      },
      (error: Error) => {
        isOver = true;
        problem = error;
      },
    );
    await simulation.runUntil(() => isOver || simulation.eventCount >= lastEvent);
    // A disk that fails may do so at any time; what it may not do is lose something.
    if (problem !== null && (isPeaceful || !isDiskError(problem))) throw problem;
    if (prng.chance(0.7)) machine.crash();
    else machine.kill();
    calm(machine);
    totals.cuts++;
  }
  totals.opened += member.opened;
  totals.repaired += member.repaired;
  totals.failed += member.failed;
}

function isDiskError(error: Error): boolean {
  return 'code' in error && (error.code === 'EIO' || error.code === 'ENOSPC');
}

function calm(machine: SimMachine): void {
  Object.assign(machine.diskFaults, { writeErrorRate: 0, syncErrorRate: 0, readErrorRate: 0, stallRate: 0 });
  machine.diskFaults.capacityBytes = Number.POSITIVE_INFINITY;
}

test('cut off at any event, the log keeps what it acknowledged', async () => {
  const totals: Totals = { cuts: 0, opened: 0, repaired: 0, failed: 0 };
  await forSeeds(250, (prng, seed) => scenario(seed, prng, 6, totals, () => {}));
  console.log(`${totals.cuts} cuts, ${totals.opened} logs opened, ${totals.repaired} of them torn`);
  if (process.env['FUZZ_SEED'] === undefined) assert.ok(totals.opened > totals.cuts / 4 && totals.repaired > 5);
});

/** A key ring of the keys up to this one. */
function ringUpTo(last: number): KeyRing {
  const lines = Array.from({ length: last }, (_, at) => at + 1).map(
    (key) => `key-${key} ${key.toString(16).padStart(2, '0').repeat(31)}ff\n`,
  );
  return KeyRing.parse(Buffer.from(lines.join('')), 'keys of the test');
}

test('the same with encryption, turned on in one of its lives, and keys that change', async () => {
  const totals: Totals = { cuts: 0, opened: 0, repaired: 0, failed: 0 };
  const kinds = { plain: 0, sealed: 0 };
  await forSeeds(120, (prng, seed) => {
    let life = 0;
    const firstSealed = prng.below(3);
    const keys = prng.pick([1, 2]);
    return scenario(
      seed,
      prng,
      6,
      totals,
      () => {},
      (machine) => {
        const key = 1 + Math.floor(life / 3) * (keys - 1);
        const isSealed = life++ >= firstSealed;
        kinds[isSealed ? 'sealed' : 'plain']++;
        if (!isSealed) return machine.world;
        const { world } = machine;
        return { ...world, disk: new SealedDisk(world.disk, new Sealing(ringUpTo(key), world.random)) };
      },
    );
  });
  console.log(
    `${totals.cuts} cuts, ${totals.opened} logs opened, ${totals.repaired} of them torn, ${JSON.stringify(kinds)}`,
  );
  if (process.env['FUZZ_SEED'] === undefined)
    assert.ok(totals.opened > totals.cuts / 4 && totals.repaired > 1 && kinds.plain > 50);
});

test('the same on a disk that fails, fills up and stalls', async () => {
  const totals: Totals = { cuts: 0, opened: 0, repaired: 0, failed: 0 };
  await forSeeds(150, (prng, seed) =>
    scenario(seed, prng, 6, totals, (machine) => {
      const faults = machine.diskFaults;
      faults.writeErrorRate = prng.pick([0, 0, 0.01, 0.05]);
      faults.syncErrorRate = prng.pick([0, 0, 0.01, 0.05]);
      faults.readErrorRate = prng.pick([0, 0, 0.01]);
      faults.stallRate = prng.pick([0, 0.05]);
      faults.stallMs = 2000;
      if (prng.chance(0.2)) faults.capacityBytes = machine.medium.allocatedBytes() + prng.below(60_000);
    }),
  );
  console.log(`${totals.cuts} cuts, ${totals.opened} logs opened, ${totals.failed} saves refused`);
  if (process.env['FUZZ_SEED'] === undefined) assert.ok(totals.failed > 50);
});
