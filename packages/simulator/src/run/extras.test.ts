/**
 * Goal: what some runs have beside everything else is judged by somebody who sees what is wrong. Method: a run with locks and
 * elections and a run in which disks rot, each with the code as it is, where something has to come of it and nothing may be
 * wrong; and with two mistakes put in, where the same runs have to fail.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Mutation } from '../mutations/mutation.ts';
import { CALM } from '../mutations/scenes.ts';
import { importMutated } from '../mutations/testing/loader.ts';
import { drawExtras, extraChance } from './extras.ts';
import type { Fault } from './faults.ts';
import { type SimulateOptions, simulate } from './simulate.ts';

const QUEUES: SimulateOptions = {
  seed: 1,
  seconds: 4,
  plan: { ...CALM, holders: 3, recipeHolders: 2, observers: 1 },
  faults: [],
};
const rot = (atMs: number, member: number): Fault => ({ atMs, kind: 'rot', member, others: [], amount: 3, forMs: 0 });
const ROT: SimulateOptions = { seed: 4, seconds: 5, plan: { ...CALM, rotMs: 1000 }, faults: [rot(3000, 0)] };

const MISTAKES: Mutation = {
  id: 'extras',
  title: 'Nobody waits for a turn, and damage ends a log',
  there: 'Never happened there, as far as we know.',
  here: 'Whoever asks for a lock has it; and the log ends before the first record that does not check, whatever is behind.',
  edits: [
    { file: 'server/src/api/key-queue.ts', find: 'if (kv === null) return;', replace: 'return;' },
    {
      file: 'wal/src/reader.ts',
      find: '    if (!this.isLast) throw this.damage(problem);\n',
      replace: "    this.torn = problem;\n    if (this.isLast) return 'end';\n",
    },
    { file: 'wal/src/reader.ts', find: '    if (this.isLast) await this.refuseIfBatchFollows();\n', replace: '' },
  ],
};

test('locks and elections go from hand to hand', async () => {
  const { violations, stats } = await simulate(QUEUES);
  assert.deepEqual(violations, []);
  const { tenures = 0, fencedWrites = 0, leaders = 0 } = stats.counts;
  assert.ok(tenures > 5 && fencedWrites > 5 && leaders > 5, JSON.stringify(stats.counts));
});

test('a rotten disk is refused, and its member replaced', async () => {
  const { violations, stats, trace } = await simulate(ROT);
  assert.deepEqual(violations, []);
  const { coverage } = stats;
  assert.ok((coverage['damage.refused'] ?? 0) > 0, JSON.stringify(coverage));
  assert.ok(trace.some((line) => line.includes('whose disk is damaged')));
});

test('mistakes in what they are about are seen', async () => {
  type Simulator = typeof import('./simulate.ts');
  const mistaken = await importMutated<Simulator>('simulator/src/run/simulate.ts', MISTAKES);
  const queues = await mistaken.simulate(QUEUES);
  const rules = new Set(queues.violations.map(({ rule }) => rule));
  assert.ok(rules.has('one holder') && rules.has('fencing'), [...rules].join());
  const rotten = await mistaken.simulate(ROT);
  assert.equal(rotten.violations[0]?.rule, 'damage is told');
});

test('what is drawn for it has nothing to do with anything else, and differs from seed to seed', () => {
  const seeds = Array.from({ length: 200 }, (_unused, seed) => seed);
  const drawn = seeds.map((seed) => drawExtras(seed));
  const having = (name: keyof (typeof drawn)[number]): number => drawn.filter((one) => one[name] > 0).length;
  for (const name of ['holders', 'recipeHolders', 'observers', 'rotMs', 'upgradeMs'] as const) {
    assert.ok(having(name) > 20 && having(name) < 100, `${name}: ${having(name)} of 200`);
  }
  assert.deepEqual(drawExtras(7), drawExtras(7));
  assert.notEqual(extraChance(7, 1).u32(), extraChance(7, 2).u32());
});
