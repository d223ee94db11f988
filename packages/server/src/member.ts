import type { Backend } from '@etsd/backend';
import { U64_ZERO, u64ToHex } from '@etsd/base';
import type { Store } from '@etsd/mvcc';
import { HeaderTemplate } from '@etsd/proto';
import { HttpTransport, type HttpTransportOptions, type OpenedLog, ReplicationNode } from '@etsd/replication';
import { RpcServer } from '@etsd/rpc';
import type { TlsOptions } from '@etsd/runtime';
import type { State } from '@etsd/state';
import { Access, GuardedServer } from './access.ts';
import { registerObserve } from './api/observe.ts';
import { MeasuredApplier } from './apply-metrics.ts';
import type { Archiver } from './archive/archiver.ts';
import { LogTail } from './archive/log-stretches.ts';
import { openArchive } from './archive/member-archive.ts';
import type { CommandRunner } from './archive/sender.ts';
import type { AuditSink } from './audit/audit-buffer.ts';
import { bcryptCost } from './auth-parts.ts';
import { openLog, type StartingLog } from './bootstrap/open-log.ts';
import { MemberRemovedError } from './bootstrap/removed.ts';
import { admitClients, type ClientSide, showFigures } from './client-side.ts';
import { isSecure } from './config/validate-tls.ts';
import type { MemberContext } from './context.ts';
import type { DataDirectory } from './data-directory.ts';
import { makeDebugRoutes } from './debug/member-debug.ts';
import { AutoCompaction } from './duties/auto-compaction.ts';
import { CommitBatches } from './duties/commit-batches.ts';
import { CompactionSlices } from './duties/compaction-slices.ts';
import { DurableIndex } from './duties/durable-index.ts';
import { versionRefusal } from './duties/version-rules.ts';
import type { MemberKeys } from './encryption/member-keys.ts';
import { Abuse } from './guard/abuse.ts';
import { MemberGuard } from './guard/member-guard.ts';
import type { HttpMember } from './http/routes.ts';
import { httpMember } from './http-member.ts';
import { MemberIntegrity } from './integrity/member-integrity.ts';
import { COMMIT_OPERATIONS_MAX, COMPACTION_SLICE_MS } from './limits.ts';
import type { Gate } from './listeners.ts';
import { type FullDisk, logPlace, type OpenedData, openData, placesOf } from './member-data.ts';
import { memberLimits, rpcLimits } from './member-limits.ts';
import { MemberMetrics } from './member-metrics.ts';
import type { Member, MemberParts } from './member-parts.ts';
import { MemberObservation } from './observe/member-observation.ts';
import { Passwords } from './passwords.ts';
import { attachPeerMetrics } from './peer-metrics.ts';
import { type PeerLinks, PeerSide } from './peers.ts';
import { attachProcessMetrics } from './process-metrics.ts';
import { publishMember } from './publish.ts';
import { attachRpcMetrics, CLIENT_VERSION_HEADER, isStream } from './rpc-metrics.ts';
import { registerServices, type Services } from './services.ts';
import { MemberSnapshots } from './snapshots/member-snapshots.ts';
import { SnapshotMetrics } from './snapshots/snapshot-metrics.ts';
import { MemberSpace } from './space/member-space.ts';
import { attachTlsMetrics } from './tls/figures.ts';
import type { TlsSides } from './tls/open-sides.ts';
import type { Tokens } from './tokens.ts';
import { attachV2Metrics } from './v2-metrics.ts';
import { MIN_CLUSTER_VERSION, PROTOCOL_VERSION } from './version.ts';

/** How long running calls may go on when a member stops. */
const DRAIN_MS = 2000;
/** Prefixes told to who is refused for want of space. */
const PREFIXES_TOLD = 5;
/** A member that learns of its removal goes on this many heartbeats. */
const REMOVED_DELAY_TICKS = 10;

/** What is opened before anything is made on disk, since it may be wrong. */
export interface Openings {
  readonly tokens: Tokens;
  readonly auditSink: AuditSink | null;
  readonly commands: CommandRunner | null;
  readonly keys: MemberKeys | null;
}

/** The addresses of a member. */
export interface Gates {
  readonly tls: TlsSides;
  readonly clients: Gate;
  readonly peers: Gate;
}

function versionOf({ serverVersion = PROTOCOL_VERSION }: MemberParts): string {
  return serverVersion;
}

/** A member with all its parts: made by `open`, at work from `serve` on. */
export class RunningMember implements Member {
  readonly replication: ReplicationNode;
  private readonly parts: MemberParts;
  private readonly keys: MemberKeys | null;
  private readonly directory: DataDirectory;
  private readonly backend: Backend;
  private readonly store: Store;
  private readonly state: State;
  private readonly rpc: RpcServer;
  private readonly guarded: GuardedServer;
  private readonly services: Services;
  private readonly guard: MemberGuard;
  private readonly observation: MemberObservation;
  private readonly access: Access;
  private readonly gates: Gates;
  private readonly links: PeerLinks;
  private readonly peers: PeerSide;
  private readonly snapshots: MemberSnapshots;
  private readonly compactions: CompactionSlices;
  private readonly commits: CommitBatches;
  private readonly integrity: MemberIntegrity;
  private readonly space: MemberSpace;
  private readonly archiver: Archiver | null;
  private autoCompaction: AutoCompaction | null = null;
  private clients: ClientSide | null = null;
  private figures: ClientSide | null = null;
  private readonly shown: HttpMember;
  private readonly misused: (kind: string, peer: string, reason: string) => void;
  private isStopped = false;
  /** It has a log from before. */
  private readonly isRestarted: boolean;

  get clientUrls(): readonly string[] {
    return this.parts.config.listenClientUrls.map((endpoint) => endpoint.url);
  }

  private constructor(
    parts: MemberParts,
    directory: DataDirectory,
    data: OpenedData,
    opened: StartingLog,
    metrics: MemberMetrics,
    fullDisk: FullDisk,
    gates: Gates,
    dialTls: TlsOptions | null,
    tail: LogTail,
    { tokens, auditSink, commands, keys }: Openings,
  ) {
    const { world, config, logger } = parts;
    const { backend, store, state, lessor } = data;
    this.parts = parts;
    this.keys = keys;
    this.gates = gates;
    this.directory = directory;
    this.backend = backend;
    this.store = store;
    this.state = state;
    const durable = new DurableIndex({
      flush() {
        state.saveProgress();
        return backend.flush();
      },
      appliedIndex: () => state.appliedIndex,
      lagMax: config.snapshotCount,
      failed: parts.fail,
    });
    this.isRestarted = opened.start.bootstrap === null;
    const snapshotMetrics = new SnapshotMetrics(metrics.registry);
    this.snapshots = new MemberSnapshots({
      ...data,
      world,
      logger,
      directory: directory.snapDirectory,
      metrics: snapshotMetrics,
      isBusy: () => this.replication.isBusy,
    });
    this.links = this.connect(opened, dialTls);
    const applies = new MeasuredApplier(parts.observeApplier?.(state) ?? state, state, config.warningApplyMs);
    applies.attachMetrics(metrics.registry);
    this.replication = new ReplicationNode({
      world,
      logger,
      log: opened.log,
      start: opened.start,
      applier: applies,
      durableIndex: () => durable.read(),
      onFatal: parts.fail,
      transport: this.links,
      installer: this.snapshots.installer,
      heartbeatMs: config.heartbeatIntervalMs,
      electionMs: config.electionTimeoutMs,
      preVote: config.preVote,
      electionTickAdvance: config.initialElectionTickAdvance,
      snapshotCount: config.snapshotCount,
      catchUpEntries: config.snapshotCatchupEntries,
    });
    this.integrity = new MemberIntegrity({
      world,
      logger,
      config: config.upkeep,
      electionMs: config.electionTimeoutMs,
      clusterId: this.replication.clusterId,
      memberId: this.replication.memberId,
      directory: directory.memberDirectory,
      store,
      state,
      replication: this.replication,
      links: this.links,
      receivedAtMs: () => this.snapshots.sink.receivedAtMs,
      install: (snapshot, done) => this.snapshots.installer.exchange(snapshot, done),
      fail: parts.fail,
    });
    const abuse = new Abuse(logger, world.clock);
    const { door } = gates.clients;
    this.misused = (kind, peer, reason) => {
      abuse.note(kind, peer, { reason });
      door?.misused(kind, peer, reason);
    };
    if (door !== null) {
      door.onRefused = (address) => abuse.note('offences_per_address', address);
      door.onSlowed = (peer) => abuse.note('connections_unasked', peer, { reason: 'many connections ask for nothing' });
    }
    this.rpc = new RpcServer(world, {
      logger,
      limits: rpcLimits(config, parts.drainMs ?? DRAIN_MS),
      onMisuse: this.misused,
      timesAll: config.metrics === 'extensive',
      countedHeader: CLIENT_VERSION_HEADER,
      isStream,
    });
    this.compactions = new CompactionSlices(store, {
      after: (ms, callback) => world.timers.after(ms, callback, { ref: false }),
      nowMs: () => world.clock.nowMs(),
      sliceMs: COMPACTION_SLICE_MS,
      batch: config.compactionBatchLimit,
      sliced: () => this.commits.applied(),
      pauseMs: config.compactionSleepIntervalMs,
      held: (ms) => metrics.store.compactionSlice(ms),
      finished: (revision, tookMs) => {
        metrics.store.compacted(tookMs, world.clock.wallMs());
        logger.log('info', 'finished scheduled compaction', { 'compact-revision': revision });
      },
    });
    this.commits = new CommitBatches(backend, {
      every: (ms, callback) => world.timers.every(ms, callback, { ref: false }),
      intervalMs: config.backendBatchIntervalMs,
      limit: Math.min(config.backendBatchLimit, COMMIT_OPERATIONS_MAX),
    });
    const limits = memberLimits(config);
    const access = new Access({
      world,
      auth: state.auth,
      tokens,
      lessor,
      clientCertAuth: config.clientCertAuth,
      appliedIndex: () => state.appliedIndex,
      waitMs: limits.requestTimeoutMs,
    });
    this.access = access;
    this.guard = new MemberGuard({
      world,
      logger,
      config: config.guard,
      access,
      auditSink,
      abuse,
      memberId: u64ToHex(this.replication.memberId),
      pendingProposals: () => this.replication.pendingProposals,
      revision: () => store.revision,
    });
    this.observation = new MemberObservation({
      world,
      logger,
      config: config.observe,
      memberId: this.replication.memberId,
      replication: this.replication,
      store,
      access,
    });
    this.guarded = new GuardedServer(this.rpc, access, this.observation.guards(this.guard.guards));
    const context: MemberContext = {
      world,
      logger,
      config,
      limits,
      clusterId: this.replication.clusterId,
      memberId: this.replication.memberId,
      header: new HeaderTemplate(this.replication.clusterId, this.replication.memberId),
      replication: this.replication,
      store,
      backend,
      state,
      rpc: this.guarded,
      access,
      quarantine: this.integrity.quarantine,
      tracer: this.observation.tracer,
    };
    this.space = new MemberSpace({
      world,
      logger,
      config,
      context,
      state,
      backend,
      places: placesOf(config, directory),
      heldPath: `${directory.memberDirectory}/nospace-held`,
      counted: () => this.observation.tally.largest(PREFIXES_TOLD),
      compact: (revision, done) => this.services.compact(revision, done),
    });
    fullDisk.noticed = () => this.space.disk.refused();
    this.peers = new PeerSide({
      links: this.links,
      gate: gates.peers,
      state,
      memberId: this.replication.memberId,
      logger,
      removed: () => this.removed(),
    });
    for (const { id, peerURLs } of opened.remotes) this.links.addRemote(id, peerURLs);
    state.members.learnersMax = config.maxLearners;
    this.services = registerServices({
      context,
      peers: this.peers,
      links: this.links,
      diskSpace: this.space.disk,
      lessor,
      snapshots: this.snapshots.forClients,
      compactions: this.compactions,
      passwords: new Passwords({
        random: world.random,
        clock: world.clock,
        cost: bcryptCost(config.bcryptCost, logger),
        ...(parts.bcrypt === undefined ? {} : { engine: parts.bcrypt }),
      }),
      processors: world.workers.processors,
      guard: this.guard,
      watchProgressIntervalMs: config.watchProgressNotifyIntervalMs,
      clusterSettings: config,
      v2: config.enableV2 ? { passesIdentity: config.gatewayClientCertAuth } : null,
      serverVersion: versionOf(parts),
      hashTimes: metrics.store.hashTimes,
      promotions: metrics.promotions,
      fail: parts.fail,
    });
    const { tally, usage } = this.observation;
    registerObserve({ context, usage, tally, space: this.space.watch, levels: parts.levels ?? null });
    this.integrity.onChange = (isQuarantined) => {
      this.services.health.set(!isQuarantined);
      if (isQuarantined) this.services.watch.endAll();
    };
    this.integrity.route(this.peers.edge);
    this.archiver = openArchive({
      ...data,
      world,
      logger,
      config,
      clusterId: this.replication.clusterId,
      memberId: this.replication.memberId,
      walDirectory: directory.walDirectory,
      snapDirectory: directory.snapDirectory,
      tail,
      isBusy: () => this.replication.isBusy,
      isTrusted: () => !this.integrity.quarantine.isAlarmed,
      registry: metrics.registry,
      snapshotMetrics,
      runner: commands,
    });
    this.snapshots.onReplaced = () => {
      this.integrity.replaced();
      this.services.watch.hub.storeReplaced();
      this.archiver?.stateReplaced();
    };
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
      quotaBytes: limits.quotaBytes,
      clusterVersion: () => state.version.version,
      auth: state.auth,
      loopDelay: parts.loopDelay,
    });
    metrics.store.attach(store, backend, this.services.watch.hub, this.services.expiry);
    attachRpcMetrics(metrics.registry, this.rpc, config.metrics === 'extensive');
    this.space.attachMetrics(metrics.registry);
    this.observation.attachMetrics(metrics.registry);
    attachV2Metrics(metrics.registry, state.v2.stats, () => this.services.v2?.watchers ?? 0);
    this.integrity.attachMetrics(metrics.registry);
    const sides = [gates.tls.clients, gates.tls.peers].filter((side) => side !== null);
    attachTlsMetrics(
      metrics.registry,
      sides.map(({ figures }) => figures),
      () => world.clock.wallMs(),
    );
    for (const side of sides) side.watch();
    this.shown = httpMember(versionOf(parts), this.replication, state, this.integrity.quarantine, metrics.registry);
    this.guard.attachMetrics(metrics.registry, () => this.rpc.connectionCount);
    if (parts.process !== undefined) attachProcessMetrics(metrics.registry, parts.process);
    if (this.links instanceof HttpTransport) attachPeerMetrics(metrics.registry, this.links, this.replication.memberId);
  }

  /** Reads what is on disk, or founds a new cluster where nothing is. */
  static async open(
    parts: MemberParts,
    directory: DataDirectory,
    gates: Gates,
    openings: Openings,
  ): Promise<RunningMember> {
    const { config, logger, world } = parts;
    const metrics = new MemberMetrics();
    const fullDisk: FullDisk = { noticed: () => {} };
    const data = await openData(parts, directory, fullDisk);
    try {
      const dialTls = gates.tls.peers?.dialOptions() ?? null;
      const tail = new LogTail();
      const place = logPlace(parts, directory, metrics, fullDisk, tail);
      const serverVersion = versionOf(parts);
      const { state } = data;
      const opened = await openLog({ world, config, logger, tls: dialTls, directory, state, place, serverVersion });
      const refusal = versionRefusal(state.version, serverVersion);
      if (refusal !== null) throw refusal;
      logger.log('info', 'starting etcd server', {
        'local-member-id': u64ToHex(opened.start.memberId),
        'cluster-id': u64ToHex(opened.start.clusterId),
        'local-server-version': serverVersion,
        'cluster-version': state.version.version === '' ? 'to_be_decided' : state.version.version,
        name: config.name,
      });
      return new RunningMember(parts, directory, data, opened, metrics, fullDisk, gates, dialTls, tail, openings);
    } catch (error) {
      await data.backend.close();
      throw error;
    }
  }

  private connect(opened: OpenedLog, tls: TlsOptions | null): PeerLinks {
    const { world, config, logger, connectPeers } = this.parts;
    const options: HttpTransportOptions = {
      world,
      logger,
      memberId: opened.start.memberId,
      clusterId: opened.start.clusterId,
      ownPeerUrls: config.initialAdvertisePeerUrls,
      tls,
      serverVersion: versionOf(this.parts),
      minClusterVersion: MIN_CLUSTER_VERSION,
      electionMs: config.electionTimeoutMs,
      host: {
        step: (message) => {
          if (!this.integrity.takes(message)) this.replication.step(message);
        },
        isRemoved: (id) => this.state.members.isRemoved(id),
        reportUnreachable: (id) => this.replication.reportUnreachable(id),
        reportSnapshot: (id, failed) => this.replication.reportSnapshot(id, failed),
        removed: () => this.removed(),
      },
      source: this.snapshots.source,
      sink: this.snapshots.sink,
    };
    return connectPeers?.(options) ?? new HttpTransport(options);
  }

  /** The others have removed this member: its data is of no use any more. */
  private removed(): void {
    if (this.isStopped) return;
    const { world, config, fail } = this.parts;
    // Long enough for the answer to whoever asked for it.
    world.timers.after(REMOVED_DELAY_TICKS * config.heartbeatIntervalMs, () =>
      fail(new MemberRemovedError(config.dataDir)),
    );
  }

  /** After each batch of applied entries: answers leave in the same turn. */
  private readonly batchEnd = (): void => {
    this.commits.applied();
    this.compactions.applied();
    this.rpc.flush();
  };

  /** Waits for a leader, announces the member, then lets clients in. */
  async serve(): Promise<void> {
    const { config, logger } = this.parts;
    if (this.isRestarted && config.initialCorruptCheck) await this.services.duties.initialCheck();
    await this.space.open();
    await this.integrity.open();
    this.replication.start();
    this.showFigures();
    this.integrity.start();
    this.services.duties.start();
    this.peers.open();
    await this.untilLeaderKnown();
    this.space.start();
    this.observation.start();
    const publishing = {
      replication: this.replication,
      logger,
      after: (ms: number, callback: () => void) => this.parts.world.timers.after(ms, callback),
      isStopped: () => this.isStopped,
      members: this.state.members,
    };
    await publishMember(publishing, config.name, config.advertiseClientUrls);
    await this.services.duties.decided;
    this.admitClients();
    this.startAutoCompaction();
    this.archiver?.start();
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

  private showFigures(): void {
    const { world, config, logger } = this.parts;
    const { misused, shown: member } = this;
    this.figures = showFigures({ world, config, logger, gate: this.gates.clients, member, misused });
  }

  private admitClients(): void {
    const { world, config, logger } = this.parts;
    this.clients = admitClients({
      world,
      config,
      logger,
      gate: this.gates.clients,
      rpc: this.rpc,
      guarded: this.guarded,
      member: this.shown,
      v2: this.services.v2,
      isAuthOn: () => this.state.auth.enabled,
      space: () => this.space.explain(),
      misused: this.misused,
      debug: makeDebugRoutes(this.parts, this.replication, this.access),
    });
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

  reload(): void {
    this.keys?.reload();
  }

  /**
   * What the others sent to the leader that this member was, before they heard of the next one, is passed on, so that no
   * request fails for it.
   */
  private stayAMoment(): Promise<void> {
    const { config, world } = this.parts;
    return new Promise((resolve) => void world.timers.after(2 * config.heartbeatIntervalMs, resolve));
  }

  /** Hands leadership over; whether there was any, and another member has it now. */
  private async handOver(): Promise<boolean> {
    const { replication, parts } = this;
    const wasLeader = replication.isLeader;
    const error = await replication.transferAndWait(parts.config.electionTimeoutMs);
    return wasLeader && error === null && !replication.isLeader;
  }

  async stop(): Promise<void> {
    if (this.isStopped) return;
    this.isStopped = true;
    const { logger } = this.parts;
    this.keys?.stop();
    this.autoCompaction?.stop();
    // While it leads: the next leader goes on from the times noted here.
    await this.services.settle();
    const hasHandedOver = await this.handOver();
    await this.clients?.close();
    await this.figures?.close();
    if (this.parts.drainMs === 0) await this.rpc.close();
    else await this.rpc.drain();
    if (hasHandedOver) await this.stayAMoment();
    this.services.stop();
    await this.guard.stop();
    this.observation.stop();
    this.compactions.stop();
    this.commits.stop();
    this.space.stop();
    this.integrity.stop();
    await this.peers.close();
    this.gates.tls.clients?.stop();
    this.gates.tls.peers?.stop();
    await this.replication.stop();
    this.snapshots.stop();
    await this.space.settled();
    await this.archiver?.stop();
    await this.backend.close();
    await this.directory.lock.release();
    logger.log('info', 'closed etcd server', { name: this.parts.config.name, 'data-dir': this.parts.config.dataDir });
  }
}
