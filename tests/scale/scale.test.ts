/** The same as `main.ts` on a small scale, so that the measurements themselves do not rot; times are not judged in CI. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { backups, type StepResult } from './backup.ts';
import { manyKeys } from './keys.ts';
import { largeRange } from './large-range.ts';
import { manyLeases } from './leases.ts';
import { type UpkeepStep, upkeep } from './upkeep.ts';

const KEYS = 30_000;
/** What the program itself holds after so many keys; 180 MiB were measured. */
const OWN_MEMORY_MAX = 320;
/** Of a tool that reads or writes a backup, in MiB, whatever its size. */
const BACKUP_MEMORY_MAX = 300;
const RANGE_KEYS = 20_000;
const UPKEEP_KEYS = 20_000;
/** Time of its own processor in one turn, in milliseconds, which other processes of the machine do not add to. */
const TURN_P999_MAX_MS = 25;

describe('large stores', () => {
  test('goal: counts, pages and a restart see every key, and memory stays bounded', async () => {
    const result = await manyKeys('etsd', KEYS, [], 500);
    assert.ok(result.loaded.own < OWN_MEMORY_MAX, `${result.loaded.own} MiB after the load`);
    assert.ok(result.restarted.own < OWN_MEMORY_MAX, `${result.restarted.own} MiB after a restart`);
  });

  test('goal: a large range is answered whole while puts go on', async () => {
    const result = await largeRange('etsd', RANGE_KEYS);
    assert.ok(result.megabytes > (RANGE_KEYS * 1000) / 1e6, `${result.megabytes} MB came`);
    const turn = result.probe?.turnCpuP999Ms ?? Number.POSITIVE_INFINITY;
    assert.ok(turn < TURN_P999_MAX_MS, `a turn of the event loop took ${turn} ms`);
  });

  test('goal: backups are checked, restored and saved within the memory that was promised', async () => {
    const steps: StepResult[] = [];
    await backups({ megabytes: 20, only: ['status', 'restore', 'save'], report: (step) => steps.push(step) });
    const own = steps.filter(({ step }) => step.startsWith('etsd'));
    assert.ok(own.length >= 5);
    for (const { step, ownMemory } of own) assert.ok(ownMemory < BACKUP_MEMORY_MAX, `${step}: ${ownMemory} MiB`);
  });

  test('goal: puts go on while many leases are granted and expire', async () => {
    const result = await manyLeases('etsd', 5000, 1000);
    assert.ok(result.grantsPerSecond > 0);
  });

  test('goal: puts go on while a store is hashed, compacted and defragmented and while its keys go', async () => {
    const steps: UpkeepStep[] = [];
    await upkeep('etsd', UPKEEP_KEYS, (step) => steps.push(step));
    assert.equal(steps.length, 9);
    // Some steps are too short for a percentile: there one turn that the host of the machine took away would count.
    const turns = steps.map(({ probe }) => probe?.turnCpuP999Ms ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
    const turn = turns[turns.length >> 1] as number;
    assert.ok(turn < TURN_P999_MAX_MS, `in half of the steps a turn of the event loop took ${turn} ms`);
  });
});
