import type { Prng } from '@etsd/base';
import type { Extras } from './extras.ts';

/** What a client may do; the weight of each is drawn for a run, and many are left out of it altogether. */
export const OPERATION_KINDS = [
  'get',
  'list',
  'list-past',
  'stale-get',
  'stale-list',
  'put',
  'delete',
  'delete-range',
  'txn',
  'nested-txn',
  'swap',
] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** What may go wrong. */
export const FAULT_KINDS = [
  'kill',
  'power',
  'power-all',
  'stop',
  'pause',
  'cut',
  'isolate',
  'swizzle',
  'storm',
  'slow-disk',
  'disk-errors',
  'clock-rate',
  'clock-jump',
  'kill-at',
  'power-at',
  'sync-errors',
  'disk-stall',
  'disk-full',
  'clog',
  'clock-stop',
  'cut-clients',
] as const;
export type CommonFaultKind = (typeof FAULT_KINDS)[number];

/** What goes wrong in some runs only, drawn from chance of its own: see `extra-faults.ts`. */
export type FaultKind = CommonFaultKind | 'rot' | 'misdirect';

/** How the messages among members fare, and the streams of clients. Rates are between 0 and 1. */
export interface NetworkPlan {
  readonly latencyMinMs: number;
  readonly latencyMaxMs: number;
  /** Of messages among members; what a client's stream loses is sent again, and comes late. */
  readonly lossRate: number;
  readonly copyRate: number;
  /** A message may be overtaken by a later one. */
  readonly reorderRate: number;
  /** Clients of a machine that crashes do not hear of it: their connections stay half open. */
  readonly halfOpenRate: number;
}

/** Everything about a run but its faults, drawn from the seed. Times are milliseconds. */
export interface Plan extends Extras {
  readonly founders: number;
  /** Machines beside the founders', which may join later. */
  readonly spares: number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly preVote: boolean;
  readonly snapshotCount: number;
  readonly catchUpEntries: number;
  readonly segmentBytes: number;
  readonly batchIntervalMs: number;
  /** Members compare what they hold, and one that differs goes into quarantine: it would hide what checkers should find. */
  readonly comparesMembers: boolean;
  /** How often they read all of their state for that; 0 is never. */
  readonly stateCheckMs: number;
  readonly compactionBatch: number;
  readonly compactionPauseMs: number;
  readonly progressMs: number;
  readonly network: NetworkPlan;
  readonly diskMaxMs: number;
  readonly keys: number;
  readonly valueBytesMax: number;
  /** Requests of clients under way at a time, at most: they come from a client each, or several from one (`atOnce`). */
  readonly clients: number;
  /** Mean pause of a client between an answer and its next request. */
  readonly pauseMs: number;
  /** Requests that a client sends together, all over one connection. */
  readonly atOnce: number;
  readonly operations: Readonly<Record<OperationKind, number>>;
  readonly leaseClients: number;
  readonly watchers: number;
  /** Members at which everything is watched, which tells what happened; the others have other watches. */
  readonly recorders: number;
  /** How often some of them are replaced. */
  readonly stirMs: number;
  /** Mean times between two of these; 0 is never. */
  readonly compactionMs: number;
  readonly keptRevisions: number;
  readonly defragmentMs: number;
  readonly snapshotMs: number;
  readonly hashMs: number;
  readonly moveLeaderMs: number;
  readonly membershipMs: number;
  readonly authMs: number;
  readonly faultMs: number;
  readonly faults: Readonly<Record<CommonFaultKind, number>>;
}

/** A random part of the kinds is left out, and the others differ widely: so that runs differ in more than their order. */
function drawWeights<Kind extends string>(prng: Prng, kinds: readonly Kind[]): Record<Kind, number> {
  const share = 0.3 + prng.float() * 0.7;
  const weights = {} as Record<Kind, number>;
  let total = 0;
  for (const kind of kinds) {
    const weight = prng.chance(share) ? prng.pick([1, 1, 2, 5, 10]) : 0;
    weights[kind] = weight;
    total += weight;
  }
  if (total === 0) weights[prng.pick(kinds)] = 1;
  return weights;
}

/** A run without a put would be about nothing. */
function drawOperations(prng: Prng): Record<OperationKind, number> {
  const weights = drawWeights(prng, OPERATION_KINDS);
  return { ...weights, put: weights.put + 2, get: weights.get + 4, 'stale-get': weights['stale-get'] + 2 };
}

function drawNetwork(prng: Prng): NetworkPlan {
  return {
    latencyMinMs: prng.pick([0.1, 0.1, 1]),
    latencyMaxMs: prng.pick([0.5, 2, 2, 10, 30]),
    lossRate: prng.chance(0.5) ? 0 : prng.pick([0.001, 0.01, 0.05]),
    copyRate: prng.chance(0.5) ? 0 : prng.pick([0.001, 0.01, 0.1]),
    reorderRate: prng.chance(0.5) ? 0 : prng.pick([0.01, 0.1, 1]),
    halfOpenRate: prng.pick([0, 0.2, 1]),
  };
}

/** Never, or about so often. */
function drawPeriod(prng: Prng, chance: number, choices: readonly number[]): number {
  return prng.chance(chance) ? prng.pick(choices) : 0;
}

/** All of it but what is drawn from chance of its own. */
export function drawPlan(prng: Prng): Omit<Plan, keyof Extras> {
  const founders = prng.pick([1, 3, 3, 3, 3, 3, 3, 5, 5, 7]);
  const clients = prng.between(4, 12);
  const rate = prng.pick([110, 120, 130, 150, 200]);
  const [heartbeatMs, electionMs] = prng.pick([
    [100, 1000],
    [100, 1000],
    [100, 500],
    [29, 271],
    [50, 250],
  ] as const);
  return {
    founders,
    spares: Math.min(7 - founders, prng.pick([0, 0, 1, 2])),
    heartbeatMs,
    electionMs,
    preVote: prng.chance(0.8),
    snapshotCount: prng.pick([50, 100, 300, 1000, 10_000]),
    catchUpEntries: prng.pick([5, 50, 500]),
    segmentBytes: prng.pick([16_384, 65_536, 262_144]),
    batchIntervalMs: prng.pick([10, 100, 100, 1000]),
    comparesMembers: false,
    stateCheckMs: 0,
    compactionBatch: prng.pick([10, 100, 1000]),
    compactionPauseMs: prng.pick([1, 10, 50]),
    progressMs: prng.pick([100, 500, 600_000]),
    network: drawNetwork(prng),
    diskMaxMs: prng.pick([0.3, 1, 5]),
    keys: prng.pick([1, 3, 6, 10, 30]),
    valueBytesMax: prng.pick([8, 8, 100, 1000]),
    clients,
    pauseMs: Math.max(1, (clients * 1000) / rate - 8),
    atOnce: 1,
    operations: drawOperations(prng),
    leaseClients: prng.pick([0, 1, 3]),
    watchers: prng.pick([1, 3, 6]),
    recorders: prng.pick([1, 2, 7]),
    stirMs: prng.pick([150, 500, 1500]),
    compactionMs: drawPeriod(prng, 0.8, [200, 1000, 5000]),
    keptRevisions: prng.pick([0, 20, 400]),
    defragmentMs: drawPeriod(prng, 0.4, [2000, 10_000]),
    snapshotMs: drawPeriod(prng, 0.3, [3000, 15_000]),
    hashMs: drawPeriod(prng, 0.7, [2000, 5000]),
    moveLeaderMs: drawPeriod(prng, 0.4, [2000, 8000]),
    membershipMs: drawPeriod(prng, 0.4, [3000, 10_000]),
    authMs: drawPeriod(prng, 0.3, [2000, 8000]),
    faultMs: prng.pick([300, 800, 2000, 5000]),
    faults: drawWeights(prng, FAULT_KINDS),
  };
}

/** Drawn behind everything else, so that in all the rest a seed stays what it was before this was drawn. */
export function drawAtOnce(prng: Prng): number {
  return prng.pick([1, 2, 4, 8]);
}

/** Every drawn value, a few to a line. */
export function describePlan(plan: Plan): string {
  const lines: string[] = [];
  let line = '';
  for (const [name, value] of Object.entries(plan)) {
    const text =
      typeof value === 'object'
        ? `${name}{${Object.entries(value as Record<string, number>)
            .filter(([, part]) => part !== 0)
            .map(([part, amount]) => `${part} ${round(amount)}`)
            .join(', ')}}`
        : `${name} ${typeof value === 'number' ? round(value) : String(value)}`;
    if (line.length + text.length > 118) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? text : ` · ${text}`;
  }
  lines.push(line);
  return lines.join('\n');
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
