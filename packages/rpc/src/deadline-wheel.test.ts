/**
 * Goal: whatever is set and taken back, each deadline that is left is told once, never early and within two ticks, and
 * nobody wakes up for nothing. Method: random deadlines on a simulated clock, from a seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { SimUniverse } from '@etsd/runtime/sim';
import { DeadlineWheel, type Expiring } from './deadline-wheel.ts';

/** Two ticks of the wheel. */
const LATE_MAX_MS = 20;

class Deadline implements Expiring {
  wheelNext: Expiring | null = null;
  wheelPrevious: Expiring | null = null;
  wheelTick = 0;
  readonly expired: () => void;

  constructor(expired: () => void) {
    this.expired = expired;
  }
}

for (const seed of [1, 2, 3, 4]) {
  test(`deadlines are told in time, those set by others that end too (seed ${seed})`, async () => {
    const prng = new Prng(seed);
    const { simulation, machines } = universe(seed);
    const { clock, timers } = machines[0]!.world;
    const wheel = new DeadlineWheel(clock, timers);
    let [told, left] = [0, 0];
    const set = (generation: number): void => {
      const inMs = prng.pick([0, 3, 40, 700, 5000, 20_000]) * prng.float();
      const dueMs = clock.nowMs() + inMs;
      const mayEnd = prng.chance(0.3);
      const node = new Deadline(() => {
        const lateMs = clock.nowMs() - dueMs;
        assert.ok(lateMs >= 0 && lateMs <= LATE_MAX_MS, `${lateMs} ms late`);
        told++;
        if (generation > 0) set(generation - 1);
      });
      wheel.add(node, inMs);
      left++;
      if (mayEnd) {
        timers.after(inMs * 0.9, () => {
          if (node.wheelNext === null) return;
          wheel.remove(node);
          left--;
        });
      }
    };
    for (let number = 0; number < 200; number++) timers.after(prng.float() * 8000, () => set(3));
    await simulation.runFor(120_000);
    assert.equal(told, left);
    assert.ok(told > 200);
  });
}

test('nobody wakes up for a deadline that is far away', async () => {
  const { simulation, machines } = universe(1);
  const { clock, timers } = machines[0]!.world;
  const wheel = new DeadlineWheel(clock, timers);
  let toldMs = 0;
  wheel.add(new Deadline(() => (toldMs = clock.nowMs())), 60_000);
  await simulation.runFor(61_000);
  assert.ok(toldMs >= 60_000 && toldMs <= 60_000 + LATE_MAX_MS);
  // Twice each time the wheel goes round, which it does in some five seconds.
  assert.ok(simulation.eventCount < 30, `${simulation.eventCount} events`);
});

function universe(seed: number): SimUniverse {
  const made = new SimUniverse(seed);
  made.addMachine('m1');
  return made;
}
