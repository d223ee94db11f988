import type { Backend } from '@etsd/backend';
import { type Logger, OperatorError, U64_ZERO, u64ToHex } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { HeaderTemplate } from '@etsd/proto';
import {
  forceSingleMember,
  foundCluster,
  hasLog,
  type OpenedLog,
  openExisting,
  ReplicationNode,
} from '@etsd/replication';
import { RpcServer } from '@etsd/rpc';
import type { World } from '@etsd/runtime';
import { Lessor, leaseTtlMinSeconds, State } from '@etsd/state';
import type { MemberConfig } from './config/config.ts';
import type { MemberContext } from './context.ts';
import { type DataDirectory, openDataDirectory } from './data-directory.ts';
import { AutoCompaction } from './duties/auto-compaction.ts';
import { CommitBatches } from './duties/commit-batches.ts';
import { CompactionSlices } from './duties/compaction-slices.ts';
import { type DiskPlace, DiskSpace } from './duties/disk-space.ts';
import { DurableIndex } from './duties/durable-index.ts';
import type { LoopDelay } from './duties/loop-delay.ts';
import { HttpEdge } from './http/edge.ts';
import { httpMember } from './http-member.ts';
import { COMMIT_OPERATIONS_MAX, COMPACTION_SLICE_MS, makeLimits } from './limits.ts';
import { ClientGate, isSecure } from './listeners.ts';
import { MemberMetrics } from './member-metrics.ts';
import { publishClusterVersion, publishMember } from './publish.ts';
import { isNoSpaceRaised, raiseNoSpace } from './quota.ts';
import { registerServices, type Services } from './services.ts';
import { CLUSTER_VERSION, PROTOCOL_VERSION } from './version.ts';

/** Records of the store read before the event loop gets its turn while a member starts. */
const RESTORE_SLICE = 5000;
/** How long running calls may go on when a member stops. */
const DRAIN_MS = 2000;

/** What a member is made of that differs between production and a simulated world. */
export interface MemberParts {
  readonly world: World;
  readonly config: MemberConfig;
  readonly logger: Logger;
  /**
   * Opens the store in this file. `onFailure` hears of a batch that it refused for good, `onOutOfSpace` of one that waits
   * for room on the disk.
   */
  readonly openBackend: (path: string, onFailure: (error: Error) => void, onOutOfSpace: () => void) => Backend;
  readonly loopDelay: LoopDelay;
  /** Called at most once, when the member cannot go on. */
  readonly fail: (error: unknown) => void;
}

/** A running member. */
export interface Member {
  readonly replication: ReplicationNode;
  /** Lets running calls end, then puts everything on disk. */
  stop(): Promise<void>;
}

/** Starts one member; resolves when clients are served. Rejects with an `OperatorError` on what the operator can mend. */
export async function startMember(parts: MemberParts): Promise<Member> {
  const { world, config, logger } = parts;
  const gate = await ClientGate.bind(world, config);
  try {
    const directory = await openDataDirectory(world, config, logger);
    try {
      const member = await RunningMember.open(parts, directory);
      await member.serve(gate);
      return member;
    } catch (error) {
      await directory.lock.release();
      throw error;
    }
  } catch (error) {
    await gate.close();
    throw error;
  }
}

class RunningMember implements Member {
  readonly replication: ReplicationNode;
  private readonly parts: MemberParts;
  private readonly directory: DataDirectory;
  private readonly backend: Backend;
  private readonly store: Store;
  private readonly state: State;
  private readonly rpc: RpcServer;
  private readonly services: Services;
  private readonly metrics: MemberMetrics;
  private readonly compactions: CompactionSlices;
  private readonly commits: CommitBatches;
  private readonly diskSpace: DiskSpace;
  private autoCompaction: AutoCompaction | null = null;
  private edge: HttpEdge | null = null;
  private isStopped = false;

  private constructor(
    parts: MemberParts,
    directory: DataDirectory,
    data: OpenedData,
    opened: OpenedLog,
    metrics: MemberMetrics,
    fullDisk: FullDisk,
  ) {
    const { world, config, logger } = parts;
    const { backend, store, state, lessor } = data;
    this.parts = parts;
    this.directory = directory;
    this.backend = backend;
    this.store = store;
    this.state = state;
    this.metrics = metrics;
    const durable = new DurableIndex({
      flush: () => backend.flush(),
      appliedIndex: () => state.appliedIndex,
      lagMax: config.snapshotCount,
      failed: parts.fail,
    });
    this.replication = new ReplicationNode({
      world,
      logger,
      log: opened.log,
      start: opened.start,
      applier: state,
      durableIndex: () => durable.read(),
      onFatal: parts.fail,
      heartbeatMs: config.heartbeatIntervalMs,
      electionMs: config.electionTimeoutMs,
      preVote: config.preVote,
      snapshotCount: config.snapshotCount,
      catchUpEntries: config.snapshotCatchupEntries,
    });
    this.rpc = new RpcServer(world, { logger, limits: rpcLimits(config) });
    this.compactions = new CompactionSlices(store, {
      after: (ms, callback) => world.timers.after(ms, callback, { ref: false }),
      nowMs: () => world.clock.nowMs(),
      sliceMs: COMPACTION_SLICE_MS,
      batch: config.compactionBatchLimit,
      sliced: () => this.commits.applied(),
      pauseMs: config.compactionSleepIntervalMs,
      finished: (revision) => logger.log('info', 'finished scheduled compaction', { 'compact-revision': revision }),
    });
    this.commits = new CommitBatches(backend, {
      every: (ms, callback) => world.timers.every(ms, callback, { ref: false }),
      intervalMs: config.backendBatchIntervalMs,
      limit: Math.min(config.backendBatchLimit, COMMIT_OPERATIONS_MAX),
    });
    const context: MemberContext = {
      world,
      logger,
      config,
      limits: memberLimits(config),
      clusterId: this.replication.clusterId,
      memberId: this.replication.memberId,
      header: new HeaderTemplate(this.replication.clusterId, this.replication.memberId),
      replication: this.replication,
      store,
      backend,
      state,
      rpc: this.rpc,
    };
    this.diskSpace = new DiskSpace({
      places: placesOf(config, directory),
      freeBytes: (path) => world.disk.freeBytes(path),
      nowMs: () => world.clock.nowMs(),
      every: (ms, callback) => world.timers.every(ms, callback, { ref: false }),
      logger,
      backend,
      isRaised: () => isNoSpaceRaised(context),
      raise: (done) => raiseNoSpace(context, { done, fail: done }),
    });
    fullDisk.noticed = () => this.diskSpace.refused();
    this.services = registerServices({
      context,
      diskSpace: this.diskSpace,
      lessor,
      compactions: this.compactions,
      watchProgressIntervalMs: config.watchProgressNotifyIntervalMs,
    });
    state.onBatchEnd = this.batchEnd;
    this.replication.onLeadership((isLeader) => {
      if (!isLeader) this.services.expiry.demote();
    });
    metrics.attach({
      replication: this.replication,
      store,
      backend,
      lessor,
      hub: this.services.watch.hub,
      quotaBytes: memberLimits(config).quotaBytes,
      loopDelay: parts.loopDelay,
    });
  }

  /** Reads what is on disk, or founds a new cluster where nothing is. */
  static async open(parts: MemberParts, directory: DataDirectory): Promise<RunningMember> {
    const { config, logger } = parts;
    const metrics = new MemberMetrics();
    const fullDisk: FullDisk = { noticed: () => {} };
    const data = await openData(parts, directory, fullDisk);
    try {
      const opened = await openLog(parts, directory, data.state, metrics, fullDisk);
      logger.log('info', 'starting etcd server', {
        'local-member-id': u64ToHex(opened.start.memberId),
        'cluster-id': u64ToHex(opened.start.clusterId),
        'local-server-version': PROTOCOL_VERSION,
        'cluster-version': data.state.version.version === '' ? 'to_be_decided' : data.state.version.version,
        name: config.name,
      });
      return new RunningMember(parts, directory, data, opened, metrics, fullDisk);
    } catch (error) {
      await data.backend.close();
      throw error;
    }
  }

  /** After each batch of applied entries: answers leave in the same turn. */
  private readonly batchEnd = (): void => {
    this.commits.applied();
    this.compactions.applied();
    this.rpc.flush();
  };

  /** Waits for a leader, announces the member, then lets clients in. */
  async serve(gate: ClientGate): Promise<void> {
    const { config, logger } = this.parts;
    this.replication.start();
    await this.untilLeaderKnown();
    this.diskSpace.start();
    const publishing = {
      replication: this.replication,
      logger,
      after: (ms: number, callback: () => void) => this.parts.world.timers.after(ms, callback),
      isStopped: () => this.isStopped,
    };
    await publishMember(publishing, config.name, config.advertiseClientUrls);
    if (this.state.version.version === '') await publishClusterVersion(publishing, CLUSTER_VERSION);
    this.admitClients(gate);
    this.startAutoCompaction();
    logger.log('info', 'ready to serve client requests');
    for (const endpoint of config.listenClientUrls) {
      const secure = isSecure(endpoint);
      const message = secure
        ? 'serving client traffic securely'
        : 'serving client traffic insecurely; this is strongly discouraged!';
      logger.log('info', message, { traffic: 'grpc+http', address: endpoint.url.replace(/^[a-z]+:\/\//, '') });
    }
  }

  private untilLeaderKnown(): Promise<void> {
    if (this.replication.leader !== U64_ZERO) return Promise.resolve();
    return new Promise((resolve) => {
      this.replication.onLeadership((_isLeader, leader) => {
        if (leader !== U64_ZERO) resolve();
      });
    });
  }

  private admitClients(gate: ClientGate): void {
    const { config } = this.parts;
    const secure = config.listenClientUrls.some(isSecure);
    const edge = new HttpEdge(httpMember(this.replication, this.state, this.metrics.registry), {
      cors: config.cors,
      hostWhitelist: config.hostWhitelist,
      secure,
    });
    this.edge = edge;
    this.rpc.onHttp1((socket, firstBytes) => edge.accept(socket.detach(), firstBytes));
    for (const listener of gate.listeners) this.rpc.adopt(listener);
    gate.open((socket) => this.rpc.accept(socket));
  }

  private startAutoCompaction(): void {
    const { world, config, logger } = this.parts;
    if (config.autoCompactionRetention === 0) return;
    this.autoCompaction = new AutoCompaction(
      {
        nowMs: () => world.clock.nowMs(),
        every: (ms, callback) => world.timers.every(ms, callback, { ref: false }),
        isLeader: () => this.replication.isLeader,
        revision: () => this.store.revision,
        compact: (revision, done) => this.services.compact(revision, done),
      },
      logger,
      config.autoCompactionMode,
      config.autoCompactionRetention,
    );
  }

  async stop(): Promise<void> {
    if (this.isStopped) return;
    this.isStopped = true;
    const { logger } = this.parts;
    this.autoCompaction?.stop();
    this.edge?.close();
    await this.rpc.drain();
    await this.services.settle();
    this.services.stop();
    this.compactions.stop();
    this.commits.stop();
    this.diskSpace.stop();
    await this.replication.stop();
    await this.backend.close();
    await this.directory.lock.release();
    logger.log('info', 'closed etcd server', { name: this.parts.config.name, 'data-dir': this.parts.config.dataDir });
  }
}

interface OpenedData {
  readonly backend: Backend;
  readonly store: Store;
  readonly state: State;
  readonly lessor: Lessor;
}

/** Who is told of an operation that found the disk full; set once the member stands. */
interface FullDisk {
  noticed: () => void;
}

/** Where a full disk would hurt: the log may have a disk of its own. */
function placesOf(config: MemberConfig, directory: DataDirectory): DiskPlace[] {
  const places = [{ holds: 'data', path: config.dataDir }];
  if (config.walDir !== '') places.push({ holds: 'log', path: directory.walDirectory });
  return places;
}

async function openData(parts: MemberParts, directory: DataDirectory, fullDisk: FullDisk): Promise<OpenedData> {
  const { world, config, logger } = parts;
  const startedMs = world.clock.nowMs();
  const backend = parts.openBackend(directory.storePath, parts.fail, () => fullDisk.noticed());
  try {
    const store = new Store(backend);
    store.beginRestore();
    while (!store.restoreSlice(RESTORE_SLICE)) await turn(world);
    const lessor = new Lessor({ store, backend, ttlMinSeconds: leaseTtlMinSeconds(config.electionTimeoutMs) });
    lessor.open();
    for (const [key, lease] of store.restoredLeases ?? []) lessor.attach(key, lease);
    store.restoredLeases = null;
    const state = new State({ backend, store, lessor });
    logger.log('info', 'kvstore restored', {
      'current-rev': store.revision,
      'applied-index': state.appliedIndex,
      took: `${(world.clock.nowMs() - startedMs).toFixed(1)}ms`,
    });
    return { backend, store, state, lessor };
  } catch (error) {
    await backend.close();
    throw error;
  }
}

async function openLog(
  parts: MemberParts,
  directory: DataDirectory,
  state: State,
  metrics: MemberMetrics,
  fullDisk: FullDisk,
): Promise<OpenedLog> {
  const { world, config, logger } = parts;
  const place = {
    world,
    directory: directory.walDirectory,
    logger,
    walOptions: {
      logger,
      unsafeNoSync: config.unsafeNoFsync,
      observer: {
        synced(durationMs: number, bytes: number): void {
          metrics.walSync.observe(durationMs / 1000);
          metrics.walBytes += bytes;
        },
        outOfSpace: () => fullDisk.noticed(),
      },
    },
  };
  const members = [...config.initialCluster].map(([name, peerUrls]) => ({ name, peerUrls }));
  const founding = { members, name: config.name, token: config.initialClusterToken };
  if (await hasLog(place)) {
    const { appliedIndex, confState } = state;
    const existing = await openExisting({ ...place, appliedIndex, confState, founding });
    const { memberId } = existing.start;
    // Neither is a member for ever: a store that was just founded, and a member that was removed, may not list it.
    if (state.members.size > 0 && state.members.get(memberId) === undefined && !state.members.isRemoved(memberId)) {
      await existing.log.close();
      throw new OperatorError(
        `the log in ${directory.walDirectory} is that of member ${u64ToHex(memberId)}, which the store ${directory.storePath} does not know`,
        'They belong to different clusters: give --data-dir and --wal-dir of the same member.',
      );
    }
    if (!config.forceNewCluster) return existing;
    logger.log('warn', 'forcing a new cluster of this member alone');
    return await forceSingleMember(existing, config.initialAdvertisePeerUrls, config.name);
  }
  if (state.appliedIndex > 0) {
    throw new OperatorError(
      `the store ${directory.storePath} contains entries, but there is no log in ${directory.walDirectory}`,
      'Give --wal-dir the directory of the log that belongs to this store, or restore a backup.',
    );
  }
  return await foundCluster({ ...place, ...founding });
}

function memberLimits(config: MemberConfig): ReturnType<typeof makeLimits> {
  return makeLimits({
    maxRequestBytes: config.maxRequestBytes,
    maxTxnOps: config.maxTxnOps,
    quotaBackendBytes: config.quotaBackendBytes,
    electionMs: config.electionTimeoutMs,
  });
}

function rpcLimits(config: MemberConfig): Partial<RpcServer['limits']> {
  return {
    receiveMessageBytes: config.maxRequestBytes + 512 * 1024,
    concurrentStreams: Math.min(config.maxConcurrentStreams, 16_384),
    pingMinMs: config.grpcKeepaliveMinTimeMs,
    keepaliveMs: config.grpcKeepaliveIntervalMs,
    keepaliveTimeoutMs: config.grpcKeepaliveTimeoutMs,
    drainMs: DRAIN_MS,
  };
}

function turn(world: World): Promise<void> {
  return new Promise((resolve) => world.timers.endOfTurn(resolve));
}
