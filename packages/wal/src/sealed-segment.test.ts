/**
 * Goal: an encrypted log gives back what was written, and of one that was changed in any way nothing that was not: it is
 * refused with file and byte, or a tail is cut that no crash can be told from. Method: logs of several segments on
 * simulated disks, changed by hand in every way there is.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, Prng } from '@etsd/base';
import { Entry, HardState } from '@etsd/proto';
import { joinPath, KeyRing, SEAL_HEAD_BYTES, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { forSeeds, mutate } from '@etsd/testkit';
import { listSegments, surveyLog, Wal } from './index.ts';

const DIRECTORY = '/d/wal';
const OPTIONS = { segmentBytes: 4096, fillAheadBytes: 0, segmentsMax: 100 };
const START = { index: 0, term: 0 };
const SECRET = 'nobody is to find this';
const METADATA = Buffer.from('whose log this is');

function ring(...ids: readonly string[]): KeyRing {
  const lines = ids.map((id) => `${id} ${Buffer.from(id.repeat(32)).subarray(0, 31).toString('hex')}00\n`);
  return KeyRing.parse(Buffer.from(lines.join('')), 'keys of the test');
}

function encrypted({ world }: SimMachine, keys: KeyRing): World {
  return { ...world, disk: new SealedDisk(world.disk, new Sealing(keys, world.random)) };
}

function entryAt(index: number): Entry {
  return Entry.create({ term: 1, index, data: Buffer.from(`${SECRET} ${index} `.repeat(10)) });
}

async function save(wal: Wal, first: number, last: number): Promise<void> {
  for (let index = first; index <= last; index++) {
    const state = HardState.create({ term: 1, vote: '00000000000000aa', commit: index - 1 });
    await new Promise<void>((resolve, reject) => {
      wal.save(state, [entryAt(index)], 0, 1, (error) => (error === null ? resolve() : reject(error)));
    });
  }
}

/** A log of these entries, on a disk of its own. */
class Log {
  readonly universe = new SimUniverse(1);
  readonly machine = this.universe.addMachine('m');

  run<T>(work: Promise<T>): Promise<T> {
    return this.universe.simulation.runToEnd(work);
  }

  async write(last: number, world: World): Promise<void> {
    const make = async (): Promise<void> => {
      await world.disk.makeDirectory('/d');
      const wal = await Wal.create(world, DIRECTORY, METADATA, OPTIONS);
      await save(wal, 1, last);
      await wal.close();
    };
    await this.run(make());
  }

  /** Opens it, says how many entries it holds, all of them as written, and closes it after `go`. */
  open(world: World, go: (wal: Wal) => Promise<void> = async () => {}): Promise<number> {
    const look = async (): Promise<number> => {
      const { wal, entries, metadata } = await Wal.open(world, DIRECTORY, START, OPTIONS);
      assert.deepEqual(metadata, METADATA);
      for (const [at, entry] of entries.entries()) assert.deepEqual(Entry.encode(entry), Entry.encode(entryAt(at + 1)));
      await go(wal);
      await wal.close();
      return entries.length;
    };
    return this.run(look());
  }

  async names(): Promise<string[]> {
    return (await this.run(listSegments(this.machine.world.disk, DIRECTORY))).map(({ name }) =>
      joinPath(DIRECTORY, name),
    );
  }

  peek(path: string): Buffer {
    return this.machine.medium.peek(path);
  }

  poke(path: string, bytes: Buffer): void {
    this.machine.medium.poke(path, bytes);
  }
}

/** Where the frames of a segment stand; the last is where the next one would. */
function framesOf(bytes: Buffer): number[] {
  const places = [SEAL_HEAD_BYTES];
  for (let at = SEAL_HEAD_BYTES; at + 4 <= bytes.length && bytes.readUInt32LE(at) > 0; ) {
    at += Math.ceil((bytes.readUInt32LE(at) + 36) / 8) * 8;
    places.push(at);
  }
  return places;
}

test('what is written is read again and nowhere to be seen', async () => {
  const log = new Log();
  await log.write(40, encrypted(log.machine, ring('a')));
  const names = await log.names();
  assert.ok(names.length >= 3);
  for (const name of names) {
    assert.equal(log.peek(name).includes(SECRET.slice(0, 8)), false, name);
    assert.equal(log.peek(name).includes(METADATA), false, name);
  }
  assert.equal(await log.open(encrypted(log.machine, ring('a')), (wal) => save(wal, 41, 50)), 40);
  assert.equal(await log.open(encrypted(log.machine, ring('a'))), 50);
});

test('a log is turned from plain to encrypted and to a newer key, segment by segment', async () => {
  const log = new Log();
  await log.write(5, log.machine.world);
  assert.equal(await log.open(encrypted(log.machine, ring('a')), (wal) => save(wal, 6, 8)), 5);
  assert.equal(await log.open(encrypted(log.machine, ring('a')), (wal) => save(wal, 9, 10)), 8);
  assert.equal(await log.open(encrypted(log.machine, ring('a', 'b')), (wal) => save(wal, 11, 12)), 10);
  const keys = (await log.names()).map(
    (name) => log.peek(name).toString('latin1', 0, 8) === 'ETSDSEAL' && log.peek(name)[12],
  );
  assert.deepEqual(keys, [false, 'a'.charCodeAt(0), 'b'.charCodeAt(0)]);
  assert.equal(await log.open(encrypted(log.machine, ring('a', 'b'))), 12);
  // A new key is taken up without a restart, too.
  const sealing = new Sealing(ring('a', 'b'), log.machine.world.random);
  const world = { ...log.machine.world, disk: new SealedDisk(log.machine.world.disk, sealing) };
  const rotate = async (wal: Wal): Promise<void> => {
    await save(wal, 13, 13);
    sealing.keys = ring('a', 'b', 'c');
    await save(wal, 14, 16);
  };
  assert.equal(await log.open(world, rotate), 12);
  assert.equal(log.peek((await log.names()).at(-1) as string)[12], 'c'.charCodeAt(0));
  assert.equal(await log.open(encrypted(log.machine, ring('a', 'b', 'c'))), 16);
});

test('without its key a log is refused, with the name of the key', async () => {
  const log = new Log();
  await log.write(5, encrypted(log.machine, ring('a')));
  await assert.rejects(log.open(log.machine.world), /encrypted with key "a", and no key is given/);
  await assert.rejects(
    log.open(encrypted(log.machine, ring('b', 'c'))),
    /with key "a", which is not at hand \(given: b, c\)/,
  );
  const other = KeyRing.parse(Buffer.from(`a ${'0123456789abcdef'.repeat(4)}`), 'keys of the test');
  await assert.rejects(
    log.open(encrypted(log.machine, other)),
    /another key "a" than the one given: its fingerprint is/,
  );
  assert.equal(await log.open(encrypted(log.machine, ring('a'))), 5);
});

test('frames cannot be moved, left out, put back, or taken from another file', async () => {
  const log = new Log();
  const world = encrypted(log.machine, ring('a'));
  await log.write(40, world);
  const [first, second] = (await log.names()) as [string, string];
  const whole = log.peek(first);
  const other = log.peek(second);
  const [zero, one, two, three] = framesOf(whole) as [number, number, number, number];
  const changes: readonly [what: string, path: string, make: () => Buffer, position: number][] = [
    [
      'two frames of one length exchanged',
      first,
      () =>
        Buffer.concat([
          whole.subarray(0, one),
          whole.subarray(two, three),
          whole.subarray(one, two),
          whole.subarray(three),
        ]),
      one,
    ],
    [
      'a frame left out',
      first,
      () => Buffer.concat([whole.subarray(0, one), whole.subarray(two), Buffer.alloc(two - one)]),
      one,
    ],
    ['zeros in place of a frame', first, () => Buffer.from(whole).fill(0, one, two), one],
    [
      'the frames of another segment',
      first,
      () => Buffer.concat([whole.subarray(0, zero), other.subarray(zero)]),
      zero,
    ],
    ['another segment', first, () => other, 0],
    ['the log cut off in the middle of the segment', second, () => Buffer.from(other).fill(0, framesOf(other)[1]), -1],
  ];
  for (const [what, path, make, position] of changes) {
    const changed = make();
    assert.ok(!changed.equals(log.peek(path)), what);
    log.poke(path, changed);
    await assert.rejects(
      log.open(world),
      (error) => error instanceof CorruptionError && (position < 0 || error.where === `${path} at byte ${position}`),
      what,
    );
    log.poke(first, whole);
    log.poke(second, other);
  }
  // A segment from before encryption cannot take the place of one from after.
  const plain = new Log();
  await plain.write(40, plain.machine.world);
  const last = (await log.names()).at(-1) as string;
  const kept = log.peek(last);
  log.poke(last, plain.peek((await plain.names()).at(-1) as string));
  await assert.rejects(log.open(world), /a plain segment behind an encrypted one/);
  log.poke(last, kept);
  assert.equal(await log.open(world), 40);
});

test('a survey finds what is intact behind damage', async () => {
  const log = new Log();
  const world = encrypted(log.machine, ring('a'));
  await log.write(40, world);
  const [, second] = (await log.names()) as [string, string];
  const bytes = log.peek(second);
  const [, one] = framesOf(bytes) as [number, number];
  bytes[one + 40] = (bytes[one + 40] as number) ^ 1;
  log.poke(second, bytes);
  const survey = await log.run(surveyLog(world.disk, DIRECTORY));
  assert.equal(survey?.damages.length, 1);
  const [damage] = survey.damages;
  assert.deepEqual([damage?.path, damage?.position], [second, one]);
  assert.match(damage?.problem ?? '', /a frame that is not what was written/);
  const [before, behind] = survey.ranges;
  assert.equal(damage?.intactFrom, (before?.last ?? 0) + 2, 'one entry is lost');
  assert.deepEqual([before?.first, behind?.first, behind?.last], [1, damage?.intactFrom, 40]);
});

test('a changed encrypted log is a first part of itself, or refused with the place', async () => {
  const log = new Log();
  const world = (): World => encrypted(log.machine, ring('a'));
  await log.write(30, world());
  const names = await log.names();
  const files = new Map(names.map((name) => [name, log.peek(name)]));
  const counts = { whole: 0, part: 0, refused: 0 };
  await forSeeds(600, async (prng) => {
    for (const name of await log.names()) if (!files.has(name)) await log.run(log.machine.world.disk.remove(name));
    for (const [name, bytes] of files) log.poke(name, bytes);
    const name = prng.chance(0.5) ? (names.at(-1) as string) : prng.pick(names);
    log.poke(name, mutate(prng, files.get(name) as Buffer));
    try {
      counts[(await log.open(world())) === 30 ? 'whole' : 'part']++;
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      assert.match(error.where, /\.wal( at byte \d+)?$/);
      assert.ok(error.advice !== '');
      counts.refused++;
    }
    log.machine.kill();
  });
  console.log(JSON.stringify(counts));
  if (process.env['FUZZ_SEED'] === undefined) assert.ok(counts.whole > 5 && counts.refused > 100);
});

test('one bit that turns over in what is acknowledged is always found', async () => {
  const log = new Log();
  const world = (): World => encrypted(log.machine, ring('a'));
  await log.write(12, world());
  const prng = new Prng(7);
  for (const name of await log.names()) {
    const bytes = log.peek(name);
    const end = framesOf(bytes).at(-1) as number;
    for (let round = 0; round < 60; round++) {
      const at = prng.below(end);
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ (1 << prng.below(8));
      log.poke(name, changed);
      await assert.rejects(log.open(world()), CorruptionError, `byte ${at} of ${name}`);
      log.machine.kill();
    }
    log.poke(name, bytes);
  }
  assert.equal(await log.open(world()), 12);
});
