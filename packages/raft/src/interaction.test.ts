/**
 * Goal: what members say to each other in situations worth knowing, readable as text. Method: each file of `testdata/`
 * is a story: commands, then `----`, then what happened, up to the next blank line. `REWRITE=1` writes down what happens
 * now; the difference is to be read before it is committed. The commands are those of `testing/scenario.ts`.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Scenario } from './testing/scenario.ts';

const DIRECTORY = join(import.meta.dirname, 'testdata');

/** The file with every outcome replaced by the present one. */
function play(text: string): string {
  const scenario = new Scenario();
  const blocks = text.trimEnd().split(/\n\n+/);
  return `${blocks.map((block) => playBlock(scenario, block)).join('\n\n')}\n`;
}

function playBlock(scenario: Scenario, block: string): string {
  const lines = block.split('\n');
  const isComment = lines.every((line) => line.startsWith('#'));
  if (isComment) return block;
  const divider = lines.indexOf('----');
  const input = divider < 0 ? lines : lines.slice(0, divider);
  const commands = input.filter((line) => !line.startsWith('#'));
  return [...input, '----', scenario.run(commands)].join('\n');
}

for (const file of readdirSync(DIRECTORY).filter((name) => name.endsWith('.txt'))) {
  test(file.replace('.txt', '').replaceAll('-', ' '), () => {
    const path = join(DIRECTORY, file);
    const text = readFileSync(path, 'utf8');
    const played = play(text);
    if (process.env['REWRITE'] === '1') writeFileSync(path, played);
    else assert.equal(played, text);
  });
}
