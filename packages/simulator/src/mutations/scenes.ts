import { FAULT_POINTS, type FaultPoint } from '@etsd/base';
import { NO_EXTRAS } from '../run/extras.ts';
import { type Fault, LEADER } from '../run/faults.ts';
import type { FaultKind, Plan } from '../run/plan.ts';

/** A run that brings a known bug to light: small and short, and with what the bug needs happening often. */
export interface RunScene {
  readonly kind: 'run';
  /** With this one it does. */
  readonly seed: number;
  readonly seconds: number;
  readonly plan: Partial<Plan>;
  readonly faults: readonly Fault[];
}

/** A function of `testing/scripts.ts`, for what a whole run would need too much luck for. */
export interface ScriptScene {
  readonly kind: 'script';
  readonly name: 'twoSnapshots' | 'lateHeartbeatAnswer';
}

export type Scene = RunScene | ScriptScene;

/** Three members and a few clients at work; nothing goes wrong. */
export const CALM: Omit<Plan, 'faults'> = {
  founders: 3,
  spares: 0,
  heartbeatMs: 50,
  electionMs: 250,
  preVote: true,
  snapshotCount: 10_000,
  catchUpEntries: 500,
  segmentBytes: 65_536,
  batchIntervalMs: 100,
  compactionBatch: 1000,
  compactionPauseMs: 1,
  comparesMembers: false,
  stateCheckMs: 0,
  progressMs: 600_000,
  network: { latencyMinMs: 0.1, latencyMaxMs: 2, lossRate: 0, copyRate: 0, reorderRate: 0, halfOpenRate: 0 },
  diskMaxMs: 1,
  keys: 3,
  valueBytesMax: 8,
  clients: 4,
  pauseMs: 15,
  atOnce: 1,
  operations: {
    get: 2,
    list: 0,
    'list-past': 0,
    'stale-get': 0,
    'stale-list': 0,
    put: 5,
    delete: 2,
    'delete-range': 0,
    txn: 0,
    'nested-txn': 0,
    swap: 0,
  },
  leaseClients: 0,
  watchers: 0,
  recorders: 7,
  stirMs: 100,
  compactionMs: 0,
  keptRevisions: 0,
  defragmentMs: 0,
  snapshotMs: 0,
  hashMs: 0,
  moveLeaderMs: 0,
  membershipMs: 0,
  authMs: 0,
  faultMs: 1_000_000,
  ...NO_EXTRAS,
};

const DELETING = { ...CALM.operations, delete: 8, put: 3 };
const SHORT_LOG = { snapshotCount: 50, catchUpEntries: 5 };

function run(seed: number, seconds: number, plan: Partial<Plan>, faults: readonly Fault[] = []): RunScene {
  return { kind: 'run', seed, seconds, plan: { ...CALM, ...plan }, faults };
}

/** The same fault again and again, of one member after the other. */
function again(kind: FaultKind, everyMs: number, times: number, forMs: number, point?: FaultPoint): Fault[] {
  return Array.from({ length: times }, (_unused, number) => ({
    atMs: 1500 + number * everyMs,
    kind,
    member: number % 3,
    others: [],
    amount: point === undefined ? 0 : FAULT_POINTS.indexOf(point),
    forMs,
  }));
}

function lone(kind: FaultKind, everyMs: number, times: number, forMs: number): Fault[] {
  return again(kind, everyMs, times, forMs).map((fault) => ({ ...fault, member: LEADER }));
}

/** By the mutation's id. */
export const SCENES: Readonly<Record<string, Scene>> = {
  '13766': run(1, 3, {}, again('kill', 700, 4, 100)),
  '14370': run(1, 3, { founders: 1, diskMaxMs: 5 }, lone('power', 400, 4, 50)),
  '14571': run(2, 5, { ...SHORT_LOG, authMs: 200 }, again('isolate', 1700, 2, 1200)),
  '14685': run(1, 4, { defragmentMs: 200, batchIntervalMs: 1000 }, again('kill-at', 500, 5, 50, 'defragment.after')),
  '15220': run(1, 2, { watchers: 8 }),
  '15271': run(1, 4, { ...SHORT_LOG, watchers: 2 }, again('isolate', 1700, 2, 1500)),
  '17247': run(1, 3, { watchers: 8, batchIntervalMs: 1000 }),
  '17529': run(1, 3, { watchers: 8, compactionMs: 200 }),
  '17780': run(
    2,
    4,
    { keys: 1, compactionMs: 100, batchIntervalMs: 10, operations: DELETING },
    again('kill', 400, 6, 50),
  ),
  '18055': { kind: 'script', name: 'twoSnapshots' },
  '18089': run(1, 4, { watchers: 8, compactionMs: 100, operations: DELETING }),
  '18667': run(1, 2, { compactionMs: 200, operations: { ...CALM.operations, txn: 5 } }),
  '19179': run(
    4,
    5,
    {
      watchers: 8,
      recorders: 7,
      compactionMs: 100,
      compactionBatch: 10,
      compactionPauseMs: 50,
      keys: 30,
      batchIntervalMs: 10,
      operations: DELETING,
    },
    again('kill-at', 300, 12, 30, 'compaction.batch'),
  ),
  '20221a': run(1, 5, { ...SHORT_LOG, watchers: 8 }, again('isolate', 1200, 3, 1000)),
  '20221b': run(1, 3, { watchers: 8, progressMs: 100 }),
  '20271': run(4, 5, { ...SHORT_LOG, pauseMs: 5, clients: 6 }, again('isolate', 1200, 3, 1000)),
  '20418': { kind: 'script', name: 'lateHeartbeatAnswer' },
};
