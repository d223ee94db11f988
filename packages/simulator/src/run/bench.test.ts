/** Goal: the figure that the bench gives is about runs that had load and faults, and the bench itself does not rot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, describeBench } from './bench.ts';

test('the bench counts runs with load enough, and sets the load of each seed itself', async () => {
  const lines: string[] = [];
  const result = await bench({ seeds: [4], seconds: 4, warmUps: 2, print: (line) => lines.push(line) });
  assert.equal(lines.length, 1);
  assert.equal(result.runs, 1, lines[0]);
  assert.equal(result.simulatedSeconds, 4);
  assert.ok(result.operations >= 400 && result.operations < 600, describeBench(result));
  assert.ok(result.cpuSeconds > 0);
  assert.match(describeBench(result), /^1 runs of three members, \d+ faults: \d+\.\d simulated seconds a CPU second/);
});
