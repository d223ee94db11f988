import type { Violation } from '../checkers/history.ts';
import type { Fault } from './faults.ts';
import { minimizeBySteps, minimizeList, type Step } from './minimize.ts';
import type { Plan } from './plan.ts';
import type { SimulateOptions, SimulateResult } from './simulate.ts';

/** A run with everything it was drawn from: it can be kept in a file and played again, also in parts. */
export interface Schedule {
  readonly seed: number;
  readonly seconds: number;
  readonly plan: Plan;
  readonly faults: readonly Fault[];
  /** The promise that it breaks. */
  readonly rule: string;
}

export interface ShrinkOptions {
  readonly simulate: (options: SimulateOptions) => Promise<SimulateResult>;
  /** Runs that may be spent. */
  readonly runsMax: number;
  /** Hears of each run that still fails, which is the smallest so far. */
  readonly smaller?: (schedule: Schedule) => void;
}

/** What a failing run of so many seconds was made of; null where nothing was broken. */
export function scheduleOf(
  { seed, plan, faults, violations, stats }: SimulateResult,
  seconds: number,
): Schedule | null {
  const [first] = violations as readonly Violation[];
  if (first === undefined) return null;
  // Where it broke in the midst of the torment, the rest of that is not needed.
  return { seed, seconds: Math.min(seconds, Math.ceil(stats.simulatedMs / 1000)), plan, faults, rule: first.rule };
}

/**
 * Makes a failing run small: first faults are left out, then what clients and operators do, then time, and then faults once
 * more. A smaller run counts if it breaks the same promise; not necessarily for the same reason.
 */
export async function shrink(first: Schedule, { simulate, runsMax, smaller }: ShrinkOptions): Promise<Schedule> {
  let runs = 0;
  const fails = async (schedule: Schedule): Promise<boolean> => {
    if (++runs > runsMax) return false;
    const { seed, seconds, plan, faults } = schedule;
    const { violations } = await simulate({ seed, seconds, plan, faults });
    if (violations[0]?.rule !== schedule.rule) return false;
    smaller?.(schedule);
    return true;
  };
  const fewerFaults = async (from: Schedule): Promise<Schedule> => {
    const faults = await minimizeList(from.faults, (left) => fails({ ...from, faults: left }));
    return { ...from, faults };
  };
  const withFewer = await fewerFaults(first);
  const plain = await minimizeBySteps(withFewer, STEPS, fails);
  return plain === withFewer ? plain : await fewerFaults(plain);
}

function planStep(change: (plan: Plan) => Partial<Plan> | null): Step<Schedule> {
  return (schedule) => {
    const changed = change(schedule.plan);
    return changed === null ? null : { ...schedule, plan: { ...schedule.plan, ...changed } };
  };
}

/** Leaves out what has a period, a number or a weight. */
function without(
  name: keyof Plan &
    (`${string}Ms` | 'leaseClients' | 'watchers' | 'spares' | 'holders' | 'recipeHolders' | 'observers'),
): Step<Schedule> {
  return planStep((plan) => (plan[name] === 0 ? null : { [name]: 0 }));
}

const STEPS: readonly Step<Schedule>[] = [
  without('authMs'),
  without('membershipMs'),
  without('moveLeaderMs'),
  without('defragmentMs'),
  without('snapshotMs'),
  without('hashMs'),
  without('leaseClients'),
  without('compactionMs'),
  without('watchers'),
  without('holders'),
  without('recipeHolders'),
  without('observers'),
  without('rotMs'),
  without('upgradeMs'),
  without('spares'),
  planStep((plan) => {
    const { network } = plan;
    if (network.lossRate + network.copyRate + network.reorderRate + network.halfOpenRate === 0) return null;
    return { network: { ...network, lossRate: 0, copyRate: 0, reorderRate: 0, halfOpenRate: 0 } };
  }),
  planStep(({ clients }) => (clients > 1 ? { clients: Math.floor(clients / 2) } : null)),
  planStep(({ atOnce }) => (atOnce > 1 ? { atOnce: Math.floor(atOnce / 2) } : null)),
  planStep(({ keys }) => (keys > 1 ? { keys: Math.floor(keys / 2) } : null)),
  planStep(({ founders }) => (founders > 3 ? { founders: founders - 2 } : null)),
  planStep(({ operations }) => {
    const kinds = Object.entries(operations).filter(([kind, weight]) => weight > 0 && kind !== 'put' && kind !== 'get');
    const [last] = kinds.at(-1) ?? [];
    return last === undefined ? null : { operations: { ...operations, [last]: 0 } };
  }),
  (schedule) => (schedule.seconds > 1 ? { ...schedule, seconds: Math.floor(schedule.seconds * 0.7) } : null),
];
