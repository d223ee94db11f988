import { FAULT_POINTS, type Prng } from '@etsd/base';
import { type CommonFaultKind, FAULT_KINDS, type FaultKind, type Plan } from './plan.ts';

/**
 * One thing that goes wrong, and for how long. Each stands for itself: any of them may be left out of a schedule, which
 * is how a failing run is made smaller. `member` and `others` are numbers of machines, from 0; `LEADER` is whoever leads
 * when it happens. `amount` is a rate, a number of milliseconds or the number of a place in the program, by kind.
 */
export interface Fault {
  readonly atMs: number;
  readonly kind: FaultKind;
  readonly member: number;
  readonly others: readonly number[];
  readonly amount: number;
  readonly forMs: number;
}

export const LEADER = -1;

/** Clocks run between this and its reciprocal, as fast as time. */
export const FASTEST_CLOCK = 1.2;

/** The schedule of a run: what happens within its first `endMs`. */
export function drawFaults(prng: Prng, plan: Plan, endMs: number): Fault[] {
  const faults: Fault[] = [];
  const machines = plan.founders + plan.spares;
  let atMs = 1500;
  for (;;) {
    atMs += plan.faultMs * (0.2 + prng.float() * 1.6);
    if (atMs >= endMs) return faults;
    faults.push(drawFault(prng, plan, atMs, machines));
  }
}

function drawKind(prng: Prng, weights: Plan['faults']): CommonFaultKind {
  let total = 0;
  for (const kind of FAULT_KINDS) total += weights[kind];
  let left = prng.float() * total;
  for (const kind of FAULT_KINDS) {
    left -= weights[kind];
    if (left < 0) return kind;
  }
  return 'kill';
}

function drawFault(prng: Prng, plan: Plan, atMs: number, machines: number): Fault {
  const kind = drawKind(prng, plan.faults);
  const shuffled = Array.from({ length: machines }, (_unused, number) => [prng.float(), number] as const)
    .sort(([left], [right]) => left - right)
    .map(([, number]) => number);
  const member = prng.chance(0.3) ? LEADER : (shuffled[0] as number);
  const forMs = prng.pick([10, 100, 300, 1000, 2000, 5000]);
  const some = shuffled.slice(0, prng.between(1, Math.max(1, machines - 1)));
  const fault = { atMs: Math.round(atMs * 1000) / 1000, kind, member, others: [] as number[], amount: 0, forMs };
  switch (kind) {
    case 'cut':
      // One-way where the amount is 1: nothing leaves these machines, everything reaches them.
      return { ...fault, others: some, amount: prng.chance(0.3) ? 1 : 0 };
    case 'cut-clients':
      // Half of the clients hear nothing of these machines, nor are they heard by them.
      return { ...fault, others: some };
    case 'swizzle':
      // Cut off one by one, this far apart, and joined again in another order.
      return { ...fault, others: some, amount: prng.pick([20, 100, 400]) };
    case 'storm':
      return { ...fault, amount: prng.pick([0.05, 0.2, 0.5]) };
    case 'slow-disk':
      return { ...fault, amount: prng.pick([20, 150, 800, 2500]), forMs: prng.pick([500, 2000, 6000]) };
    case 'disk-errors':
      return { ...fault, amount: prng.pick([0.01, 0.1, 0.5]), forMs: prng.pick([100, 1000]) };
    case 'clock-rate':
      return { ...fault, amount: FASTEST_CLOCK ** (2 * prng.float() - 1), forMs: prng.pick([2000, 10_000]) };
    case 'clock-jump':
      return { ...fault, amount: prng.pick([-3_600_000, -5000, -100, 100, 5000, 3_600_000]) };
    case 'kill-at':
    case 'power-at':
      return { ...fault, amount: prng.below(FAULT_POINTS.length) };
    case 'sync-errors':
      return { ...fault, amount: prng.pick([0.1, 1]), forMs: prng.pick([100, 1000]) };
    case 'disk-stall':
      return { ...fault, forMs: prng.pick([300, 1500, 4000]) };
    case 'clog':
      // What these send to the member comes late, all at once.
      return { ...fault, others: some, forMs: prng.pick([300, 1500, 4000]) };
    case 'pause':
      return { ...fault, forMs: prng.pick([20, 150, 1000, 3000, 8000]) };
    default:
      return fault;
  }
}

/** One line for people. */
export function describeFault({ kind, member, others, amount, forMs }: Fault): string {
  const those = others.map((number) => `m${number + 1}`).join(' ');
  const who = kind === 'clog' ? `${those} to ${nameOf(member)}` : those === '' ? nameOf(member) : those;
  const place = kind === 'kill-at' || kind === 'power-at' ? FAULT_POINTS[amount] : undefined;
  const much = amount === 0 ? '' : ` ${Math.round(amount * 1000) / 1000}`;
  return `${kind} ${who}${place === undefined ? much : ` ${place}`} for ${forMs} ms`;
}

function nameOf(member: number): string {
  return member === LEADER ? 'leader' : `m${member + 1}`;
}
