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
    const isRot = prng.chance(0.6);
    faults.push({
      atMs: Math.round(atMs * 1000) / 1000,
      kind: isRot ? 'rot' : 'misdirect',
      member: prng.chance(0.3) ? LEADER : prng.below(plan.founders + plan.spares),
      others: [],
      // How many bits turn over; which share of writes goes elsewhere.
      amount: isRot ? prng.pick([1, 1, 3]) : prng.pick([0.02, 0.1, 0.5]),
      forMs: isRot ? 0 : prng.pick([100, 500, 2000]),
    });
  }
}
