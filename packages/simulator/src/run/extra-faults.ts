import type { Prng } from '@etsd/base';
import { extraChance } from './extras.ts';
import { type Fault, LEADER } from './faults.ts';
import type { Plan } from './plan.ts';

/** What goes wrong within the first `endMs` beside the schedule that every run has. */
export function drawExtraFaults(seed: number, plan: Plan, endMs: number): Fault[] {
  return plan.rotMs > 0 ? drawRot(extraChance(seed, 4), plan, endMs) : [];
}

function drawRot(prng: Prng, plan: Plan, endMs: number): Fault[] {
  const faults: Fault[] = [];
  let atMs = 2000;
  for (;;) {
    atMs += plan.rotMs * (0.2 + prng.float() * 1.6);
    if (atMs >= endMs) return faults;
    // Writes that go elsewhere are for schedules that name them: the format of the log cannot tell a hole from its end, and
    // what may become of such a member is not judged well enough (seeds 31481 and 32687 with them drawn).
    faults.push({
      atMs: Math.round(atMs * 1000) / 1000,
      kind: 'rot',
      member: prng.chance(0.3) ? LEADER : prng.below(plan.founders + plan.spares),
      others: [],
      // How many bits turn over.
      amount: prng.pick([1, 1, 3]),
      forMs: 0,
    });
  }
}
