/**
 * Goal: what belongs together shares one write, what failed stays failed, and whoever watches is told. Method: a log on
 * the simulated disk, with its calls noted.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '@etsd/base';
import { Entry, HardState, WalSnapshot } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import { SimUniverse } from '@etsd/runtime/sim';
import { GoldenDisk } from '@etsd/testkit';
import { readLog, Wal, type WalOptions } from './index.ts';

const STATE = HardState.create({ term: 1 });

async function setUp(options: WalOptions = {}) {
  const universe = new SimUniverse(1);
  const machine = universe.addMachine('m');
  const { simulation } = universe;
  await simulation.runToEnd(machine.world.disk.makeDirectory('/d'));
  const golden = new GoldenDisk(machine.world.disk, '/d');
  const world: World = { ...machine.world, disk: golden };
  const all = { segmentBytes: 1 << 20, fillAheadBytes: 0, ...options };
  const wal = await simulation.runToEnd(Wal.create(world, '/d/wal', Buffer.from('m'), all));
  golden.take();
  return { machine, simulation, golden, wal };
}

class Outcomes {
  readonly errors: (Error | null)[] = [];

  readonly done = (error: Error | null): void => {
    this.errors.push(error);
  };
}

function saveOne(wal: Wal, index: number, outcomes: Outcomes): void {
  wal.save(STATE, [Entry.create({ term: 1, index, data: Buffer.from('data') })], 0, 1, outcomes.done);
}

function writesIn(golden: GoldenDisk): number {
  return golden.lines.filter((line) => line.startsWith('write')).length;
}

test('saves of one turn share one write; saves during a write share the next', async () => {
  const { simulation, golden, wal } = await setUp();
  const outcomes = new Outcomes();
  for (let index = 1; index <= 10; index++) saveOne(wal, index, outcomes);
  assert.equal(writesIn(golden), 0, 'nothing is written before the turn ends');
  await simulation.runUntil(() => writesIn(golden) === 1);
  for (let index = 11; index <= 30; index++) saveOne(wal, index, outcomes);
  await simulation.runUntil(() => outcomes.errors.length === 30);
  assert.equal(writesIn(golden), 2);
  assert.ok(outcomes.errors.every((error) => error === null));
});

test('flush begins at once, unless the disk is busy', async () => {
  const { simulation, golden, wal } = await setUp();
  const outcomes = new Outcomes();
  saveOne(wal, 1, outcomes);
  wal.flush();
  assert.equal(writesIn(golden), 1);
  saveOne(wal, 2, outcomes);
  wal.flush();
  assert.equal(writesIn(golden), 1);
  await simulation.runUntil(() => outcomes.errors.length === 2);
  assert.equal(writesIn(golden), 2);
});

test('a moved commit index alone is not written, and goes with what is written next', async () => {
  const { machine, simulation, golden, wal } = await setUp();
  const outcomes = new Outcomes();
  saveOne(wal, 1, outcomes);
  await simulation.runUntil(() => outcomes.errors.length === 1);
  wal.save(HardState.create({ term: 1, commit: 1 }), [], 0, 0, outcomes.done);
  assert.equal(outcomes.errors.length, 2, 'nobody has to wait');
  await simulation.runFor(100);
  assert.equal(writesIn(golden), 1);
  wal.saveSnapshot(WalSnapshot.create({ index: 1, term: 1 }), outcomes.done);
  await simulation.runUntil(() => outcomes.errors.length === 3);
  assert.equal(writesIn(golden), 2);
  await simulation.runToEnd(wal.close());
  const log = await simulation.runToEnd(readLog(machine.world.disk, '/d/wal', { index: 0, term: 0 }));
  assert.equal(log.hardState.commit, 1);
});

test('a new term or vote is durable when it is reported', async () => {
  const { simulation, golden, wal } = await setUp();
  const outcomes = new Outcomes();
  wal.save(HardState.create({ term: 1 }), [], 0, 0, outcomes.done);
  assert.equal(outcomes.errors.length, 0);
  await simulation.runUntil(() => outcomes.errors.length === 1);
  wal.save(HardState.create({ term: 1, vote: '0000000000000001' }), [], 0, 0, outcomes.done);
  assert.equal(outcomes.errors.length, 1);
  await simulation.runUntil(() => outcomes.errors.length === 2);
  assert.equal(writesIn(golden), 2);
});

test('closing writes what was saved, also what nobody waits for', async () => {
  const { machine, simulation, wal } = await setUp();
  const outcomes = new Outcomes();
  saveOne(wal, 1, outcomes);
  await simulation.runUntil(() => outcomes.errors.length === 1);
  wal.save(HardState.create({ term: 1, commit: 1 }), [], 0, 0, outcomes.done);
  await simulation.runToEnd(wal.close());
  await simulation.runToEnd(wal.close());
  machine.crash();
  const log = await simulation.runToEnd(readLog(machine.world.disk, '/d/wal', { index: 0, term: 0 }));
  assert.equal(log.hardState.commit, 1);
});

test('after a failure everybody gets it, and nothing is written any more', async () => {
  const { machine, simulation, golden, wal } = await setUp();
  const outcomes = new Outcomes();
  machine.diskFaults.syncErrorRate = 1;
  saveOne(wal, 1, outcomes);
  await simulation.runUntil(() => writesIn(golden) === 1);
  saveOne(wal, 2, outcomes);
  wal.save(HardState.create({ term: 1, commit: 1 }), [], 0, 0, outcomes.done);
  await simulation.runUntil(() => outcomes.errors.length === 3);
  machine.diskFaults.syncErrorRate = 0;
  saveOne(wal, 3, outcomes);
  wal.saveSnapshot(WalSnapshot.create({ index: 1, term: 1 }), outcomes.done);
  await simulation.runFor(100);
  assert.equal(writesIn(golden), 1);
  assert.equal(outcomes.errors.length, 5);
  for (const error of outcomes.errors) {
    assert.ok(error instanceof OperatorError);
    assert.equal(error, wal.failure);
  }
  assert.match(wal.failure?.message ?? '', /wal: cannot write \/d\/wal\/.*\.wal: EIO/);
  await simulation.runToEnd(wal.close());
});

test('a failure while a new segment is opened is one like any other', async () => {
  const { machine, simulation, wal } = await setUp({ segmentBytes: 512 });
  const outcomes = new Outcomes();
  saveOne(wal, 1, outcomes);
  for (let index = 2; index < 20; index++) {
    if (index === 12) machine.diskFaults.writeErrorRate = 1;
    saveOne(wal, index, outcomes);
    await simulation.runUntil(() => outcomes.errors.length === index);
  }
  assert.match(wal.failure?.message ?? '', /EIO/);
  assert.ok(outcomes.errors.slice(0, 10).every((error) => error === null));
  assert.equal(outcomes.errors.at(-1), wal.failure);
  await simulation.runToEnd(wal.close());
});

test('a full disk is waited for, within a segment and between two; with room everything is there', async () => {
  let complaints = 0;
  const observer = { synced: (): void => {}, outOfSpace: () => void complaints++ };
  for (const segmentBytes of [512, 64 * 1024]) {
    const { machine, simulation, wal } = await setUp({ segmentBytes, observer, fillAheadBytes: 0 });
    const outcomes = new Outcomes();
    for (let index = 1; index <= 40; index++) {
      complaints = 0;
      const isFull = index > 5;
      if (isFull) machine.diskFaults.capacityBytes = machine.medium.allocatedBytes();
      saveOne(wal, index, outcomes);
      await simulation.runFor(3500);
      // There may have been room in what is allocated.
      assert.ok(outcomes.errors.length === index || complaints > 1, 'whoever waits says so');
      assert.ok(outcomes.errors.length >= index - 1);
      machine.diskFaults.capacityBytes = Number.POSITIVE_INFINITY;
      await simulation.runUntil(() => outcomes.errors.length === index);
    }
    assert.ok(outcomes.errors.every((error) => error === null));
    assert.equal(wal.failure, null);
    machine.crash();
    const log = await simulation.runToEnd(readLog(machine.world.disk, '/d/wal', { index: 0, term: 0 }));
    assert.equal(log.entries.length, 40);
  }
});

test('a log that is closed waits for room no longer', async () => {
  const { machine, simulation, wal } = await setUp({ fillAheadBytes: 0 });
  const outcomes = new Outcomes();
  machine.diskFaults.capacityBytes = 0;
  saveOne(wal, 1, outcomes);
  await simulation.runFor(2500);
  assert.equal(outcomes.errors.length, 0);
  await simulation.runToEnd(wal.close());
  assert.match(outcomes.errors[0]?.message ?? '', /ENOSPC/);
});

test('the observer is told of each write; a slow one is logged', async () => {
  const seen: number[] = [];
  const logged: string[] = [];
  const observer = { synced: (durationMs: number, bytes: number) => void seen.push(durationMs, bytes) };
  const logger = { enabled: () => true, log: (_level: string, message: string) => void logged.push(message) };
  const { machine, simulation, wal } = await setUp({ observer, logger });
  const outcomes = new Outcomes();
  Object.assign(machine.diskFaults, { stallRate: 1, stallMs: 1500 });
  saveOne(wal, 1, outcomes);
  await simulation.runUntil(() => outcomes.errors.length === 1);
  assert.ok((seen[0] as number) > 1500 && (seen[0] as number) < 1502);
  assert.ok((seen[1] as number) > 20);
  assert.deepEqual(logged, ['slow fdatasync']);
});

test('no room for what is made ready ahead fails nothing; with room again it goes on', async () => {
  let complaints = 0;
  const observer = { synced: (): void => {}, outOfSpace: () => void complaints++ };
  const { machine, simulation, golden, wal } = await setUp({ observer, fillAheadBytes: 64 * 1024 });
  const { medium, diskFaults } = machine;
  const outcomes = new Outcomes();
  let index = 0;
  const save = async (bytes: number): Promise<void> => {
    wal.save(STATE, [Entry.create({ term: 1, index: ++index, data: Buffer.alloc(bytes, 1) })], 0, 1, outcomes.done);
    await simulation.runUntil(() => outcomes.errors.length === index);
  };
  await save(10);
  await simulation.runToEnd(new Promise<void>((resolve) => machine.world.timers.after(100, resolve)));
  diskFaults.capacityBytes = medium.allocatedBytes() + 270 * 1024;
  for (let more = 0; more < 100 && complaints === 0; more++) await save(4000);
  for (let more = 0; more < 50; more++) await save(10);
  assert.ok(complaints > 0 && complaints < 5, 'it is not tried again with each save');
  diskFaults.capacityBytes = Number.POSITIVE_INFINITY;
  const before = complaints;
  await simulation.runToEnd(new Promise<void>((resolve) => machine.world.timers.after(2000, resolve)));
  golden.take();
  await save(10);
  await save(10);
  assert.ok(golden.lines.length > 2 && complaints === before, 'zeros are written again');
  assert.ok(outcomes.errors.every((error) => error === null));
  await simulation.runToEnd(wal.close());
});
