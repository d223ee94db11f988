import type { U64 } from '@etsd/base';
import { CompactionRequest, RaftRequestField } from '@etsd/proto';
import type { Lessor } from '@etsd/state';
import { registerAuth } from './api/auth.ts';
import { registerCluster } from './api/cluster.ts';
import { registerElection } from './api/election.ts';
import { proposeRequest, refusal } from './api/guards.ts';
import { type Health, registerHealth } from './api/health.ts';
import { KeyQueue } from './api/key-queue.ts';
import { registerKv } from './api/kv.ts';
import { LeaderGuard } from './api/leader-guard.ts';
import { registerLease } from './api/lease.ts';
import { PeerLeaseForwarder } from './api/lease-peers.ts';
import { registerLock } from './api/lock.ts';
import { type HashTimes, registerMaintenance } from './api/maintenance.ts';
import { PROMOTE_PATH, Promotion, type PromotionFigures } from './api/promotion.ts';
import { Reconfiguration } from './api/reconfiguration.ts';
import { SliceRunner } from './api/slice-runner.ts';
import { registerSnapshot, type SnapshotFileSource } from './api/snapshot.ts';
import { registerWatch, type WatchService } from './api/watch.ts';
import type { ApiWaiter, MemberContext } from './context.ts';
import { ClusterDuties, type ClusterDutiesSettings } from './duties/cluster-duties.ts';
import type { CompactionSlices } from './duties/compaction-slices.ts';
import { LearnerPromotion } from './duties/learner-promotion.ts';
import { CHECKPOINT_INTERVAL_MS, LeaseExpiry, REVOKES_PER_SECOND } from './duties/lease-expiry.ts';
import { V2Expiry } from './duties/v2-expiry.ts';
import type { MemberGuard } from './guard/member-guard.ts';
import { routeDuties } from './http/duty-routes.ts';
import { MEMBERS_PATH, membersRoute, promoteRoute } from './http/member-routes.ts';
import { V2Api, type V2Links } from './http/v2/v2-api.ts';
import type { Passwords } from './passwords.ts';
import type { PeerLinks, PeerSide } from './peers.ts';
import { Quota } from './quota.ts';

export interface ServicesParts {
  readonly context: MemberContext;
  readonly lessor: Lessor;
  readonly snapshots: SnapshotFileSource;
  readonly peers: PeerSide;
  readonly links: PeerLinks & V2Links;
  readonly compactions: CompactionSlices;
  readonly passwords: Passwords;
  /** Of the machine. */
  readonly processors: number;
  readonly guard: Pick<MemberGuard, 'audit' | 'guards' | 'logins'>;
  readonly watchProgressIntervalMs: number;
  readonly diskSpace: { readonly isLow: boolean };
  readonly clusterSettings: ClusterDutiesSettings;
  /** The API of etcd 2; null where it is not served. */
  readonly v2: { readonly passesIdentity: boolean } | null;
  readonly serverVersion: string;
  readonly hashTimes: HashTimes;
  readonly promotions: PromotionFigures;
  readonly fail: (error: unknown) => void;
}

/** The gRPC services of a member, and the duties that belong to them. */
export interface Services {
  readonly watch: WatchService;
  readonly health: Health;
  readonly expiry: LeaseExpiry;
  readonly duties: ClusterDuties;
  /** Null where it is not served. */
  readonly v2: V2Api | null;
  /** Compacts through the log, as a client's request would. */
  compact(revision: number, done: (failure: string | undefined) => void): void;
  /** While the log still takes entries: notes in it what a restart should know. Takes a second at most. */
  settle(): Promise<void>;
  stop(): void;
}

/** Longest that a stop waits for what is still to be noted in the log. */
const SETTLE_MS = 1000;

export function registerServices(parts: ServicesParts): Services {
  const { context, lessor, compactions } = parts;
  const { access, world, replication, rpc, state, store } = context;
  state.auth.listener = access.listener;
  const electionMs = context.config.electionTimeoutMs;
  const quota = new Quota(context, () => parts.diskSpace.isLow);
  const guard = new LeaderGuard({ world, replication, electionMs });
  const runner = new SliceRunner(world, context.limits.sliceMs);
  registerKv({ context, quota, compactions, runner });
  registerMaintenance({ context, runner, hashTimes: parts.hashTimes, serverVersion: parts.serverVersion });
  registerSnapshot(context, parts.snapshots);
  const learners = registerMembership(parts);
  registerAuth(context, parts.passwords, parts.guard.logins, parts.processors);
  const health = registerHealth(context);
  const watch = registerWatch({
    world,
    rpc,
    replication,
    header: context.header,
    store,
    maxRequestBytes: context.limits.maxRequestBytes,
    progressIntervalMs: parts.watchProgressIntervalMs,
    guard,
    refusal: (call) => refusal(context, call, false),
    access(call, key, rangeEnd) {
      const error = access.readError(call, key, rangeEnd);
      if (error !== null) parts.guard.audit?.refusedOnStream(call, error.code);
      return error;
    },
  });
  store.listener = watch.hub;
  const queue = new KeyQueue(context, quota, watch);
  registerLock(context, queue);
  registerElection(context, queue);
  const expiry = new LeaseExpiry({
    world,
    replication,
    lessor,
    electionMs,
    revokesPerSecond: REVOKES_PER_SECOND,
    checkpointIntervalMs: CHECKPOINT_INTERVAL_MS,
    asRoot: () => access.asRoot(),
  });
  const duties = new ClusterDuties({
    context,
    peers: parts.links,
    settings: parts.clusterSettings,
    serverVersion: parts.serverVersion,
    fail: parts.fail,
  });
  routeDuties(parts.peers.edge, context.clusterId, duties);
  state.onTermBegin = () => {
    if (replication.isLeader) expiry.promote();
    duties.termBegan();
  };
  expiry.start();
  const v2Expiry = new V2Expiry({
    every: (ms, callback) => world.timers.every(ms, callback),
    wallMs: () => world.clock.wallMs(),
    replication,
    keys: state.v2,
  });
  const { guards } = parts.guard;
  const v2 = parts.v2 === null ? null : new V2Api({ context, quota, links: parts.links, runner, guards, ...parts.v2 });
  const forwarder = new PeerLeaseForwarder(parts.peers.postLease);
  parts.peers.answerLeases(registerLease({ context, quota, lessor, expiry, guard, forwarder }));
  return {
    watch,
    health,
    expiry,
    duties,
    v2,
    compact(revision, done) {
      const body = CompactionRequest.encode(CompactionRequest.create({ revision }));
      const waiter: ApiWaiter = { done: () => done(undefined), fail: (error) => done(error.message) };
      proposeRequest(context, RaftRequestField.Compaction, body, 0, body.length, waiter, access.asRoot());
    },
    settle() {
      return new Promise((resolve) => {
        const timer = world.timers.after(SETTLE_MS, resolve);
        expiry.checkpointAll(() => {
          timer.cancel();
          resolve();
        });
      });
    },
    stop() {
      learners?.stop();
      v2Expiry.stop();
      v2?.close();
      watch.stop();
      expiry.stop();
      duties.stop();
      guard.stop();
      access.stop();
    },
  };
}

/** Membership towards clients and towards the other members, and promoting learners unasked where that is wanted. */
function registerMembership({ context, peers, links, promotions }: ServicesParts): LearnerPromotion | null {
  const { world, config, replication, state, memberId, clusterId, logger } = context;
  const { members } = state;
  const activeSince = (id: U64): number | null => links.activeSince(id);
  const rules = new Reconfiguration({
    members,
    memberId,
    activeSince,
    nowMs: () => world.clock.nowMs(),
    isStrict: config.strictReconfigCheck,
  });
  const promotion = new Promotion({
    context,
    rules,
    request: (...question) => links.request(...question),
    figures: promotions,
  });
  registerCluster({ context, rules, promotion });
  const readBarrier = (waiter: ApiWaiter): void => replication.readBarrier(waiter);
  peers.edge.route(MEMBERS_PATH, membersRoute({ clusterId, members, readBarrier }));
  peers.edge.route(PROMOTE_PATH, promoteRoute(clusterId, promotion));
  if (!config.autoPromoteLearners) return null;
  const every = (ms: number, callback: () => void) => world.timers.every(ms, callback);
  return new LearnerPromotion({ every, replication, members, activeSince, promotion, logger });
}
