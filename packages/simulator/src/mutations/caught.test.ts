/**
 * Goal: each of etcd's known correctness bugs is caught when it is in our code, and nothing is found when it is not. Method: the
 * scene of each with the seed that is known to catch it, and with a few others where a change elsewhere has moved what that
 * one does; with the seed that caught it the code as it is has to be clean. `npm run mutants` prints the table of it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MUTATIONS } from './catalogue.ts';
import type { Mutation } from './mutation.ts';
import { replay } from './replay.ts';
import { SCENES, type Scene } from './scenes.ts';

const OTHER_SEEDS = 6;

async function catchingSeed(mutation: Mutation, scene: Scene): Promise<number | null> {
  if (scene.kind === 'script') return (await replay(scene, mutation)).violation === null ? null : 0;
  for (const seed of [scene.seed, ...Array.from({ length: OTHER_SEEDS }, (_unused, place) => 100 + place)]) {
    const { violation } = await replay(scene, mutation, seed);
    if (violation === null) continue;
    if (seed !== scene.seed) console.log(`${mutation.id}: seed ${scene.seed} has missed it, ${seed} has not`);
    return seed;
  }
  return null;
}

for (const mutation of MUTATIONS) {
  test(`etcd issue ${mutation.id} is caught: ${mutation.title}`, async () => {
    const scene = SCENES[mutation.id] as Scene;
    const seed = await catchingSeed(mutation, scene);
    assert.ok(seed !== null, 'the bug is there and nobody has seen it');
    const clean = await replay(scene, null, seed);
    assert.equal(clean.violation, null, `without the bug: ${clean.violation?.rule}: ${clean.violation?.text}`);
  });
}
