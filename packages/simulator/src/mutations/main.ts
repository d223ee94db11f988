/**
 * `npm run mutants [-- ID…] [--seeds N]`: plays the scene of each known bug with as many seeds as it takes, and prints a row of
 * the table in docs/correctness.md for each.
 */
import { MUTATIONS } from './catalogue.ts';
import { replay } from './replay.ts';
import { SCENES, type Scene } from './scenes.ts';

const words = process.argv.slice(2);
const at = words.indexOf('--seeds');
const seedsMax = at < 0 ? 20 : Number(words[at + 1]);
const wanted = (at < 0 ? words : words.slice(0, at)).filter((word) => word !== '');
let missed = 0;

console.log('| issue | what it was | caught by | seed | simulated | real |\n| --- | --- | --- | --- | --- | --- |');
for (const mutation of MUTATIONS) {
  if (wanted.length > 0 && !wanted.includes(mutation.id)) continue;
  const scene = SCENES[mutation.id] as Scene;
  const startMs = performance.now();
  let simulatedMs = 0;
  let row = '| **nobody** | | |';
  for (let seed = 1; seed <= (scene.kind === 'run' ? seedsMax : 1); seed++) {
    const found = await replay(scene, mutation, seed);
    simulatedMs += found.simulatedMs;
    if (found.violation === null) continue;
    const by = scene.kind === 'run' ? found.violation.rule : 'script';
    row = `| ${by} | ${scene.kind === 'run' ? seed : ''} | ${(simulatedMs / 1000).toFixed(1)} s `;
    break;
  }
  if (row.includes('nobody')) missed++;
  console.log(`| #${mutation.id} | ${mutation.title} ${row}| ${((performance.now() - startMs) / 1000).toFixed(1)} s |`);
}
process.exitCode = missed === 0 ? 0 : 1;
