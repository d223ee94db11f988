import type { Prng } from '@etsd/base';
import { extraChance } from './extras.ts';
import { type Fault, LEADER } from './faults.ts';
import type { Plan } from './plan.ts';

/** Of runs with disks that rot, in so many they also write astray; less often. */
const ASTRAY_RATE = 0.5;
const ASTRAY_FACTOR = 2;

/** What goes wrong within the first `endMs` beside the schedule that every run has. */
export function drawExtraFaults(seed: number, plan: Plan, endMs: number): Fault[] {
  if (plan.rotMs === 0) return [];
  return [...drawRot(extraChance(seed, 4), plan, endMs), ...drawAstray(extraChance(seed, 6), plan, endMs)];
}

function drawRot(prng: Prng, plan: Plan, endMs: number): Fault[] {
  // How many bits turn over.
  const what = (): Pick<Fault, 'amount' | 'forMs'> => ({ amount: prng.pick([1, 1, 3]), forMs: 0 });
  return drawEvery(prng, plan.rotMs, { kind: 'rot', what, plan, endMs });
}

function drawAstray(prng: Prng, plan: Plan, endMs: number): Fault[] {
  if (!prng.chance(ASTRAY_RATE)) return [];
  // Which share of the writes goes elsewhere.
  const what = (): Pick<Fault, 'amount' | 'forMs'> => ({
    amount: prng.pick([0.02, 0.1, 0.5]),
    forMs: prng.pick([100, 500, 2000]),
  });
  return drawEvery(prng, plan.rotMs * ASTRAY_FACTOR, { kind: 'misdirect', what, plan, endMs });
}

interface Kind {
  readonly kind: Fault['kind'];
  readonly what: () => Pick<Fault, 'amount' | 'forMs'>;
  readonly plan: Plan;
  readonly endMs: number;
}

function drawEvery(prng: Prng, meanMs: number, { kind, what, plan, endMs }: Kind): Fault[] {
  const faults: Fault[] = [];
  let atMs = 2000;
  for (;;) {
    atMs += meanMs * (0.2 + prng.float() * 1.6);
    if (atMs >= endMs) return faults;
    faults.push({
      atMs: Math.round(atMs * 1000) / 1000,
      kind,
      member: prng.chance(0.3) ? LEADER : prng.below(plan.founders + plan.spares),
      others: [],
      ...what(),
    });
  }
}
