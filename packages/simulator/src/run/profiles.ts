import type { Plan } from './plan.ts';

/**
 * Three members with the settings that members have by default, and clients of every kind with every operation there is.
 * Open is what goes wrong: faults, their kinds and how often, rot, releases, the network and the disks.
 */
const THREE: Partial<Plan> = {
  founders: 3,
  spares: 0,
  heartbeatMs: 100,
  electionMs: 1000,
  preVote: true,
  snapshotCount: 300,
  catchUpEntries: 50,
  segmentBytes: 65_536,
  batchIntervalMs: 100,
  compactionBatch: 100,
  compactionPauseMs: 10,
  progressMs: 500,
  keys: 10,
  valueBytesMax: 100,
  clients: 8,
  atOnce: 2,
  operations: {
    get: 5,
    list: 1,
    'list-past': 1,
    'stale-get': 3,
    'stale-list': 1,
    put: 3,
    delete: 1,
    'delete-range': 1,
    txn: 1,
    'nested-txn': 1,
    swap: 1,
  },
  leaseClients: 1,
  holders: 1,
  recipeHolders: 1,
  observers: 1,
  queues: 1,
  watchers: 3,
  recorders: 2,
  stirMs: 500,
  compactionMs: 1000,
  keptRevisions: 20,
  defragmentMs: 10_000,
  snapshotMs: 15_000,
  hashMs: 5000,
  moveLeaderMs: 8000,
  membershipMs: 0,
  authMs: 8000,
};

/** What is asked for together travels, is logged and confirmed together, as under real load. */
const BURST = 16;

/** The same with two clients instead of four: each asks for sixteen things together, and rests behind the last answer. */
const BURSTS: Partial<Plan> = { ...THREE, clients: 2 * BURST, atOnce: BURST, pauseMs: 300 };

/** Parts of a plan with a name: what they leave open the seed draws, as in any other run. */
export const PROFILES: Readonly<Record<string, Partial<Plan>>> = {
  three: THREE,
  bursts: BURSTS,
  /**
   * That without those who use what is made of keys, leases and watches: the services for locks and elections, the client
   * library's recipes. One member is watched for all that happens, instead of two.
   */
  store: { ...BURSTS, holders: 0, recipeHolders: 0, observers: 0, queues: 0, recorders: 1 },
};
