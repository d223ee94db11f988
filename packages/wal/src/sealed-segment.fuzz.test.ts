/**
 * Goal: whatever is in an encrypted file of the log, what is read of it is a first part of what was written, or the place
 * of the damage is said. Method: a log of several segments, one of them changed at random, then opened.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '@etsd/base';
import type { World } from '@etsd/runtime';
import { forSeeds, mutate } from '@etsd/testkit';
import { encrypted, Log, ring } from './testing/sealed-log.ts';

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
