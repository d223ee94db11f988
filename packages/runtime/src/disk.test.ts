/**
 * Goal: the real disk, the simulated one and that in memory keep the same contract. Method: one suite for all; what only a simulated
 * disk can show, crashes and faults, follows after it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Disk, type DiskFile, hasCode } from './index.ts';
import { MemoryDisk } from './memory/index.ts';
import { nodeWorld } from './node/index.ts';
import { calmDisk, type SimMachine, SimUniverse } from './sim/index.ts';

function writeTo(file: DiskFile, text: string, position: number): Promise<void> {
  const bytes = Buffer.from(`..${text}..`);
  return new Promise((resolve, reject) => {
    file.write(bytes, 2, 2 + text.length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}

function readFrom(file: DiskFile, position: number, length: number): Promise<string> {
  const target = Buffer.alloc(length + 2, '-');
  return new Promise((resolve, reject) => {
    file.read(target, 1, 1 + length, position, (error, count) => {
      if (error !== null) return reject(error);
      assert.equal(String.fromCharCode(target[0] as number), '-');
      return resolve(target.toString('latin1', 1, 1 + count));
    });
  });
}

function syncData(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.dataSync((error) => (error === null ? resolve() : reject(error))));
}

type Scenario = (disk: Disk, root: string) => Promise<void>;

const SUITE: readonly (readonly [name: string, scenario: Scenario])[] = [
  [
    'writes are read back, holes as zeros',
    async (disk, root) => {
      const file = await disk.open(join(root, 'f'), 'create');
      await writeTo(file, 'hello', 3);
      await writeTo(file, 'L', 5);
      await syncData(file);
      assert.equal(await file.size(), 8);
      assert.equal(await readFrom(file, 0, 20), '\0\0\0heLlo');
      assert.equal(await readFrom(file, 8, 4), '');
      await file.truncate(4);
      await file.truncate(10);
      assert.equal(await readFrom(file, 2, 8), '\0h\0\0\0\0\0\0');
      await file.close();
      assert.equal((await disk.readFile(join(root, 'f'))).length, 10);
    },
  ],
  [
    'a durable file is written like any other',
    async (disk, root) => {
      const path = join(root, 'f');
      await (await disk.open(path, 'create')).close();
      const file = await disk.open(path, 'write', { durable: true });
      await writeTo(file, 'abc', 0);
      assert.equal(await readFrom(file, 0, 3), 'abc');
      await file.close();
    },
  ],
  [
    'access is what was asked for',
    async (disk, root) => {
      const path = join(root, 'f');
      await assert.rejects(disk.open(path, 'read'), (error) => hasCode(error, 'ENOENT'));
      await assert.rejects(disk.open(path, 'write'), (error) => hasCode(error, 'ENOENT'));
      await (await disk.open(path, 'create')).close();
      await assert.rejects(disk.open(path, 'create'), (error) => hasCode(error, 'EEXIST'));
      await assert.rejects(disk.readFile(join(root, 'nothing')), (error) => hasCode(error, 'ENOENT'));
      await assert.rejects(disk.list(join(root, 'nothing')), (error) => hasCode(error, 'ENOENT'));
    },
  ],
  [
    'directories: made with what is above, listed in order, moved and removed with content',
    async (disk, root) => {
      await disk.makeDirectory(join(root, 'a', 'b'));
      await disk.makeDirectory(join(root, 'a', 'b'));
      for (const name of ['z', 'B', 'a']) await (await disk.open(join(root, 'a', 'b', name), 'create')).close();
      assert.deepEqual(await disk.list(join(root, 'a', 'b')), ['B', 'a', 'z']);
      await disk.rename(join(root, 'a', 'b'), join(root, 'moved'));
      await disk.syncDirectory(root);
      assert.deepEqual(await disk.list(root), ['a', 'moved']);
      assert.deepEqual(await disk.stat(join(root, 'a', 'b')), null);
      assert.equal((await disk.stat(join(root, 'moved')))?.isDirectory, true);
      await disk.remove(join(root, 'moved'));
      await disk.remove(join(root, 'moved'));
      assert.deepEqual(await disk.list(root), ['a']);
    },
  ],
  [
    'a rename replaces the file in its way',
    async (disk, root) => {
      await disk.writeFileAtomic(join(root, 'one'), Buffer.from('1'));
      await disk.writeFileAtomic(join(root, 'two'), Buffer.from('22'));
      await disk.rename(join(root, 'one'), join(root, 'two'));
      assert.equal((await disk.readFile(join(root, 'two'))).toString(), '1');
      assert.deepEqual(await disk.list(root), ['two']);
      await assert.rejects(disk.rename(join(root, 'one'), join(root, 'x')), (error) => hasCode(error, 'ENOENT'));
    },
  ],
  [
    'an atomic write replaces what was there and leaves nothing else',
    async (disk, root) => {
      const path = join(root, 'f');
      await disk.writeFileAtomic(path, Buffer.from('first version'));
      await disk.writeFileAtomic(path, Buffer.from('second'));
      assert.equal((await disk.readFile(path)).toString(), 'second');
      assert.equal((await disk.stat(path))?.size, 6);
      assert.deepEqual(await disk.list(root), ['f']);
    },
  ],
  [
    'a lock is held once, follows a rename, and is free when released',
    async (disk, root) => {
      const lock = await disk.lock(join(root, 'f'));
      await assert.rejects(disk.lock(join(root, 'f')), (error) => hasCode(error, 'ELOCKED'));
      await disk.rename(join(root, 'f'), join(root, 'g'));
      await assert.rejects(disk.lock(join(root, 'g')), (error) => hasCode(error, 'ELOCKED'));
      await lock.release();
      await (await disk.lock(join(root, 'g'))).release();
    },
  ],
];

for (const [name, scenario] of SUITE) {
  test(`node disk: ${name}`, async () => {
    const root = mkdtempSync(join(tmpdir(), 'etsd-disk-'));
    after(() => rmSync(root, { recursive: true, force: true }));
    await scenario(nodeWorld().disk, root);
  });

  test(`memory disk: ${name}`, async () => {
    const disk = new MemoryDisk(nodeWorld().timers);
    await disk.makeDirectory('/data');
    await scenario(disk, '/data');
  });

  test(`simulated disk: ${name}`, async () => {
    const universe = new SimUniverse(7);
    const { disk } = universe.addMachine('m').world;
    await universe.simulation.runToEnd(disk.makeDirectory('/data').then(() => scenario(disk, '/data')));
  });
}

/** Runs `scenario` with many seeds and gives what was found, for statements about what can happen and what cannot. */
async function outcomes(
  seeds: number,
  scenario: (machine: SimMachine, run: <T>(work: Promise<T>) => Promise<T>) => Promise<string>,
): Promise<Set<string>> {
  const found = new Set<string>();
  for (let seed = 1; seed <= seeds; seed++) {
    const universe = new SimUniverse(seed);
    const machine = universe.addMachine('m');
    found.add(await scenario(machine, (work) => universe.simulation.runToEnd(work)));
  }
  return found;
}

test('node disk: a directory that cannot be is refused, where the system knows no such place and where a file is', async () => {
  const { disk } = nodeWorld();
  const root = mkdtempSync(join(tmpdir(), 'etsd-disk-'));
  try {
    await (await disk.open(join(root, 'file'), 'create')).close();
    await assert.rejects(disk.makeDirectory(join(root, 'file')), (error) => hasCode(error, 'EEXIST'));
    await assert.rejects(disk.makeDirectory(join(root, 'file', 'below')), (error) => hasCode(error, 'ENOTDIR'));
    if (process.platform === 'linux') {
      await assert.rejects(disk.makeDirectory('/proc/etsd/member'), (error) => hasCode(error, 'ENOENT'));
    }
    await disk.makeDirectory(join(root, 'a', 'b', 'c'));
    assert.deepEqual(await disk.list(join(root, 'a', 'b')), ['c']);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('simulated crash: what was synced stays; what was not is kept, lost or torn by sectors', async () => {
  const found = await outcomes(300, async (machine, run) => {
    await run(machine.world.disk.makeDirectory('/d'));
    const file = await run(machine.world.disk.open('/d/f', 'create'));
    await run(machine.world.disk.syncDirectory('/d'));
    await run(writeTo(file, 'a'.repeat(1024), 0));
    await run(syncData(file));
    await run(writeTo(file, 'b'.repeat(1024), 0));
    machine.crash();
    const bytes = await run(machine.world.disk.readFile('/d/f'));
    assert.equal(bytes.length, 1024);
    return [0, 511, 512, 1023].map((at) => String.fromCharCode(bytes[at] as number)).join('');
  });
  assert.deepEqual([...found].sort(), ['aaaa', 'aabb', 'bbaa', 'bbbb']);
});

test('simulated crash: a durable write stays', async () => {
  const found = await outcomes(100, async (machine, run) => {
    await run(machine.world.disk.makeDirectory('/d'));
    await run(machine.world.disk.open('/d/f', 'create').then((file) => file.close()));
    await run(machine.world.disk.syncDirectory('/d'));
    const file = await run(machine.world.disk.open('/d/f', 'write', { durable: true }));
    await run(writeTo(file, 'safe', 0));
    machine.crash();
    return (await run(machine.world.disk.readFile('/d/f'))).toString();
  });
  assert.deepEqual([...found], ['safe']);
});

test('simulated crash: names need a sync of their directory, and an atomic write has made it', async () => {
  const renamed = await outcomes(100, async (machine, run) => {
    const { disk } = machine.world;
    await run(disk.makeDirectory('/d'));
    await run(disk.writeFileAtomic('/d/a', Buffer.from('x')));
    await run(disk.rename('/d/a', '/d/b'));
    machine.crash();
    return (await run(machine.world.disk.list('/d'))).join();
  });
  assert.deepEqual([...renamed].sort(), ['a', 'b']);
});

test('simulated faults: errors come at their rate; after a failed sync the next one succeeds for nothing', async () => {
  const found = await outcomes(100, async (machine, run) => {
    const { disk } = machine.world;
    await run(disk.makeDirectory('/d'));
    const file = await run(disk.open('/d/f', 'create'));
    await run(disk.syncDirectory('/d'));
    await run(writeTo(file, 'maybe', 0));
    machine.diskFaults.syncErrorRate = 1;
    await run(assert.rejects(syncData(file), (error) => hasCode(error, 'EIO')));
    machine.diskFaults.syncErrorRate = 0;
    await run(syncData(file));
    machine.crash();
    return (await run(machine.world.disk.readFile('/d/f'))).toString();
  });
  assert.deepEqual([...found].sort(), ['', 'maybe']);
});

test('simulated faults: a full disk, a stalled one', async () => {
  const universe = new SimUniverse(3);
  const machine = universe.addMachine('m', { ...calmDisk(), capacityBytes: 8192, stallRate: 1, stallMs: 5000 });
  const { disk } = machine.world;
  const file = await universe.simulation.runToEnd(disk.makeDirectory('/d').then(() => disk.open('/d/f', 'create')));
  assert.ok(universe.simulation.nowMs >= 10_000);
  await universe.simulation.runToEnd(writeTo(file, 'x'.repeat(8000), 0));
  const second = writeTo(file, 'x'.repeat(8000), 8000);
  await universe.simulation.runToEnd(assert.rejects(second, (error) => hasCode(error, 'ENOSPC')));
});

test('simulated kill: locks and callbacks of the process are gone, its writes are not', async () => {
  const universe = new SimUniverse(5);
  const machine = universe.addMachine('m');
  const { disk } = machine.world;
  await universe.simulation.runToEnd(disk.makeDirectory('/d').then(() => disk.lock('/d/f')));
  const file = await universe.simulation.runToEnd(disk.open('/d/f', 'write'));
  file.write(Buffer.from('handed over'), 0, 11, 0, () => assert.fail('the process is gone'));
  machine.kill();
  await universe.simulation.runFor(1000);
  await universe.simulation.runToEnd(machine.world.disk.lock('/d/f'));
  const bytes = await universe.simulation.runToEnd(machine.world.disk.readFile('/d/f'));
  assert.equal(bytes.toString(), 'handed over');
});
