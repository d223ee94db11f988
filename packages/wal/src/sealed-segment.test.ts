/**
 * Goal: an encrypted log gives back what was written, and of one that was changed in any way nothing that was not: it is
 * refused with file and byte, or a tail is cut that no crash can be told from. Method: logs of several segments on
 * simulated disks, changed by hand in every way there is.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, Prng } from '@etsd/base';
import { KeyRing, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { surveyLog, type Wal } from './index.ts';
import { DIRECTORY, encrypted, framesOf, Log, METADATA, ring, SECRET, save } from './testing/sealed-log.ts';

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
