/**
 * Goal: each fault of the simulated world does what its name says, no more, and is counted. Method: one machine or two, a
 * fault made certain by a rate of 1 or made by hand, and what programs on the machines see of it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAULT_POINTS, faultPoint, listenToFaultPoints } from '@etsd/base';
import type { DiskFile, Socket } from '../index.ts';
import { type SimMachine, SimUniverse } from './index.ts';

const PATH = '/d/file';

/** A universe with a machine that has a synced file of `size` bytes of value 1. */
async function withFile(seed: number, size: number) {
  const universe = new SimUniverse(seed);
  const { simulation } = universe;
  const machine = universe.addMachine('m');
  const file = await simulation.runToEnd(openFile(machine, size));
  return { universe, simulation, machine, file };
}

async function openFile(machine: SimMachine, size: number): Promise<DiskFile> {
  const { disk } = machine.world;
  await disk.makeDirectory('/d');
  const file = await disk.open(PATH, 'create');
  await write(file, Buffer.alloc(size, 1), 0);
  await sync(file);
  await disk.syncDirectory('/d');
  return file;
}

function write(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(bytes, 0, bytes.length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}

function sync(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.dataSync((error) => (error === null ? resolve() : reject(error))));
}

test('a torn write leaves whole sectors of it, an unsynced later one may stay where an earlier is lost', async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const { simulation, machine, file } = await withFile(seed, 4096);
    await simulation.runToEnd(
      Promise.all([write(file, Buffer.alloc(1024, 2), 0), write(file, Buffer.alloc(512, 3), 2048)]),
    );
    machine.crash();
    const after = machine.medium.peek(PATH);
    for (let sector = 0; sector < 8; sector++) {
      const bytes = after.subarray(sector * 512, sector * 512 + 512);
      assert.ok(bytes.equals(Buffer.alloc(512, bytes[0])), 'a sector is written whole or not at all');
    }
    outcomes.add(`${after[0]}${after[512]} ${after[2048]}`);
  }
  assert.deepEqual([...outcomes].sort(), ['11 1', '11 3', '12 1', '12 3', '21 1', '21 3', '22 1', '22 3']);
});

test('what a crash did to unsynced writes is counted by kind', async () => {
  const { simulation, machine, file } = await withFile(3, 4096);
  Object.assign(machine.diskFaults, { crashKeepRate: 0, crashTearRate: 0 });
  await simulation.runToEnd(write(file, Buffer.alloc(1024, 2), 0));
  machine.crash();
  assert.equal(simulation.counts.get('disk.lost'), 1);
  assert.equal(simulation.counts.get('process.power loss'), 1);
  assert.equal(machine.medium.peek(PATH)[0], 1);
});

test('a renamed file may have its old name after a crash, unless the directory was synced', async () => {
  const names = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const { simulation, machine } = await withFile(seed, 512);
    const { disk } = machine.world;
    await simulation.runToEnd(disk.rename(PATH, '/d/other'));
    machine.crash();
    names.add((await simulation.runToEnd(machine.world.disk.list('/d'))).join());
    await simulation.runToEnd(machine.world.disk.syncDirectory('/d'));
    const before = (await simulation.runToEnd(machine.world.disk.list('/d'))).join();
    machine.crash();
    assert.equal((await simulation.runToEnd(machine.world.disk.list('/d'))).join(), before);
  }
  assert.deepEqual([...names].sort(), ['file', 'other']);
});

test('rot turns over exactly one bit, of a file that is meant, also for those who read it later', async () => {
  const { simulation, machine } = await withFile(5, 4096);
  assert.equal(
    machine.medium.rot((path) => path.endsWith('.none')),
    null,
  );
  const rot = machine.medium.rot((path) => path === PATH);
  assert.ok(rot !== null);
  const seen = machine.medium.peek(PATH);
  assert.equal(seen[rot.position], 1 ^ (1 << rot.bit));
  assert.equal(seen.filter((byte) => byte !== 1).length, 1);
  machine.crash();
  assert.deepEqual(machine.medium.peek(PATH), seen);
  assert.equal(simulation.counts.get('disk.bit flip'), 1);
});

test('a misdirected write is reported done and lies in another sector', async () => {
  const { simulation, machine, file } = await withFile(6, 64 * 512);
  machine.diskFaults.misdirectRate = 1;
  await simulation.runToEnd(write(file, Buffer.alloc(512, 9), 0));
  const place = machine.medium.peek(PATH).indexOf(9);
  assert.ok(place > 0 && place % 512 === 0);
  assert.equal(simulation.counts.get('disk.misdirected'), 1);
});

test('a full disk, a failing one and one that stands still are told apart', async () => {
  const { simulation, machine, file } = await withFile(7, 4096);
  machine.diskFaults.capacityBytes = 4096;
  await assert.rejects(simulation.runToEnd(write(file, Buffer.alloc(512, 2), 4096)), { code: 'ENOSPC' });
  machine.diskFaults.capacityBytes = Number.POSITIVE_INFINITY;
  machine.diskFaults.writeErrorRate = 1;
  await assert.rejects(simulation.runToEnd(write(file, Buffer.alloc(512, 2), 0)), { code: 'EIO' });
  machine.diskFaults.writeErrorRate = 0;
  machine.diskFaults.readErrorRate = 1;
  const target = Buffer.alloc(16);
  const code = await simulation.runToEnd(
    new Promise((resolve) =>
      file.read(target, 0, 16, 0, (error) => resolve((error as { code?: string } | null)?.code)),
    ),
  );
  assert.equal(code, 'EIO');
  const startMs = simulation.nowMs;
  machine.stallDisk(3000);
  await simulation.runToEnd(write(file, Buffer.alloc(512, 2), 0));
  assert.ok(simulation.nowMs - startMs >= 3000);
  for (const name of ['full', 'write error', 'read error', 'stall'])
    assert.equal(simulation.counts.get(`disk.${name}`), 1);
});

test('a sync that fails takes the durable writes with it that are under way through another descriptor', async () => {
  const { simulation, machine, file } = await withFile(1, 4096);
  const { diskFaults, world } = machine;
  const durable = await simulation.runToEnd(world.disk.open(PATH, 'write', { durable: true }));
  const slow = { latencyMinMs: 10, latencyMaxMs: 10, syncErrorRate: 0 };
  const outcomes = async (): Promise<string[]> => {
    Object.assign(diskFaults, { ...slow, latencyMinMs: 1, latencyMaxMs: 1, syncErrorRate: 1 });
    const syncing = sync(file);
    Object.assign(diskFaults, slow);
    const results = await Promise.allSettled([syncing, write(durable, Buffer.alloc(512, 2), 0)]);
    return results.map(({ status }) => status);
  };
  assert.deepEqual(await simulation.runToEnd(outcomes()), ['rejected', 'rejected']);
  await simulation.runToEnd(write(durable, Buffer.alloc(512, 3), 0));
  machine.crash();
  assert.equal(machine.medium.peek(PATH)[0], 3, 'a later one is durable when it says so');
});

test('messages are lost, come twice and overtake each other; a cut link loses all, a clogged one keeps them', async () => {
  const universe = new SimUniverse(8);
  const { simulation, lan } = universe;
  const machine = universe.addMachine('b');
  const { timers } = machine.world;
  const arrived: number[] = [];
  const send = (count: number): void => {
    for (let number = 0; number < count; number++) lan.post('a', 'b', machine.currentLife, () => arrived.push(number));
  };
  timers.after(1, () => send(5));
  await simulation.runFor(10);
  assert.deepEqual(arrived.splice(0).sort(), [0, 1, 2, 3, 4]);
  Object.assign(lan.faults, { lossRate: 0.3, copyRate: 0.3, reorderRate: 0.5, reorderMs: 50 });
  send(100);
  await simulation.runFor(100);
  const distinct = new Set(arrived);
  assert.ok(distinct.size < 95 && distinct.size > 40, 'some are lost');
  assert.ok(arrived.length > distinct.size, 'some come twice');
  assert.ok(
    arrived.some((number, place) => place > 0 && number < (arrived[place - 1] as number)),
    'some are overtaken',
  );
  Object.assign(lan.faults, { lossRate: 0, copyRate: 0, reorderRate: 0 });
  arrived.length = 0;
  lan.cut('a', 'b');
  send(3);
  lan.healAll();
  lan.links.clog('a', 'b', 500);
  send(2);
  await simulation.runFor(400);
  assert.equal(arrived.length, 0);
  await simulation.runFor(200);
  assert.equal(arrived.length, 2);
  for (const name of ['lost', 'copied', 'reordered', 'clog'])
    assert.ok(simulation.counts.get(`network.${name}`) > 0, name);
});

test('a one-way partition lets the other way through; a swizzle cuts and heals every machine', async () => {
  const universe = new SimUniverse(9);
  const { simulation, lan } = universe;
  lan.links.partition(['a'], ['b', 'c'], true);
  assert.ok(lan.isCut('a', 'b') && lan.isCut('a', 'c') && !lan.isCut('b', 'a'));
  lan.healAll();
  const all = ['a', 'b', 'c'];
  lan.links.swizzle(['a', 'b'], all, 100);
  await simulation.runFor(150);
  assert.ok(lan.isCut('a', 'c') && lan.isCut('c', 'b'), 'both are cut off');
  await simulation.runFor(300);
  for (const from of all) for (const to of all) assert.ok(!lan.isCut(from, to));
});

test('lost pieces of a stream come later, in order; a silent crash leaves the other end half open', async () => {
  const universe = new SimUniverse(10);
  const { simulation, lan } = universe;
  const server = universe.addMachine('s');
  const client = universe.addMachine('c');
  let received = '';
  await simulation.runToEnd(
    server.world.network.listen({ host: 's', port: 1 }, {}, (socket: Socket) =>
      socket.start({
        data: (bytes, start, end) => {
          received += bytes.toString('latin1', start, end);
        },
        written: () => {},
        ended: () => {},
        closed: () => assert.fail('it crashed'),
      }),
    ),
  );
  let closedMs = 0;
  const socket = client.world.network.dial({ host: 's', port: 1 });
  socket.start({
    opened: () => {},
    data: () => {},
    written: () => {},
    ended: () => {},
    closed: () => {
      closedMs = simulation.nowMs;
    },
  });
  await simulation.runFor(10);
  lan.faults.lossRate = 0.5;
  for (let piece = 0; piece < 10; piece++) socket.write(Buffer.from(String(piece)), 0, 1);
  await simulation.runFor(10);
  assert.ok(received.length < 10);
  await simulation.runFor(10_000);
  assert.equal(received, '0123456789');
  lan.faults.halfOpenRate = 1;
  const crashedMs = simulation.nowMs;
  server.crash();
  await simulation.runFor(60_000);
  assert.ok(closedMs - crashedMs > 20_000, 'the other end learned of it late');
  for (const name of ['sent again', 'half open']) assert.ok(simulation.counts.get(`network.${name}`) > 0, name);
});

test('clocks drift, jump and stand still; the monotonic one never goes back, and timers keep to it', async () => {
  const universe = new SimUniverse(11);
  const { simulation } = universe;
  const machine = universe.addMachine('m');
  const { clock, timers } = machine.world;
  const fired: number[] = [];
  await simulation.runFor(100);
  machine.clockFaults.rate = 0.5;
  assert.equal(clock.nowMs(), 100);
  timers.after(50, () => fired.push(simulation.nowMs));
  await simulation.runFor(110);
  assert.deepEqual(fired, [200]);
  machine.clockFaults.rate = 1;
  const before = clock.nowMs();
  const wall = clock.wallMs();
  machine.clockFaults.jump(-5000);
  assert.equal(clock.nowMs(), before);
  assert.equal(clock.wallMs(), wall - 5000);
  timers.after(20, () => fired.push(simulation.nowMs));
  await simulation.runFor(10);
  machine.clockFaults.standStill(1000);
  await simulation.runFor(500);
  assert.equal(clock.nowMs(), before + 10);
  assert.equal(fired.length, 1);
  await simulation.runFor(600);
  assert.equal(fired.length, 2);
  assert.equal(clock.nowMs(), before + 110);
});

test('a process is stopped at a named place, and what is left of its step changes nothing', async () => {
  const { simulation, machine, file } = await withFile(12, 512);
  Object.assign(machine.diskFaults, { crashKeepRate: 1, crashTearRate: 0 });
  const { timers } = machine.world;
  const steps: string[] = [];
  timers.every(10, () => {
    steps.push('before');
    faultPoint('raft.save.before');
    steps.push(machine.world.timers === timers ? 'goes on' : 'is gone');
    file.write(Buffer.alloc(512, steps.length), 0, 512, 0, () => steps.push('written'));
  });
  machine.stopAt('raft.save.before', 2, () => machine.crash());
  await simulation.runFor(100);
  assert.deepEqual(steps, ['before', 'goes on', 'written', 'before', 'is gone']);
  assert.equal(machine.medium.peek(PATH)[0], 2);
  assert.equal(simulation.counts.get('at raft.save.before'), 2);
  assert.equal(simulation.counts.get('stopped at raft.save.before'), 1);
});

test('nobody listens to the places outside of a run', async () => {
  const { simulation } = await withFile(13, 512);
  assert.equal(listenToFaultPoints(null), null);
  for (const point of FAULT_POINTS) faultPoint(point);
  assert.equal(simulation.counts.get('at raft.save.before'), 0);
});
