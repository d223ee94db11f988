import { assert, type Logger, type U64, U64_ZERO } from '@etsd/base';
import {
  type ConfChange,
  type ConfChangeV2,
  ErrBadLeaderTransferee,
  ErrContextDeadlineExceeded,
  ErrNotLeader,
  ErrRequestTooManyRequests,
  ErrStopped,
  ErrTimeoutDueToLeaderFail,
  ErrUnhealthy,
  type EtcdError,
  type Message,
  MessageType,
} from '@etsd/proto';
import { FORWARDED, PROBE, RAFT_DEFAULTS, RawNode, REPLICATE, ROLE_NAMES, SNAPSHOT } from '@etsd/raft';
import type { Clock, Timer, Timers } from '@etsd/runtime';
import type { Waiter } from './applier.ts';
import { CatchUpPace } from './catch-up-pace.ts';
import { ChangeProposals } from './change-proposals.ts';
import { DiskGuard } from './disk-guard.ts';
import { ElectionAdvance } from './election-advance.ts';
import { ForwardedProposals } from './forwarded.ts';
import {
  APPLY_GAP_MAX,
  CATCH_UP_ENTRIES,
  COMMIT_DELAY_WRITES_PER_SECOND,
  PROPOSAL_BYTES_MAX,
  READ_RETRY_MS,
  REQUEST_TIMEOUT_MS,
  SNAPSHOT_COUNT,
  TICK_ADVANCE_WAIT_MS,
} from './limits.ts';
import { LogCutter } from './log-cutter.ts';
import type { LogStore } from './log-store.ts';
import type { EntryWatcher, LogTimes } from './log-times.ts';
import type { ReplicationOptions } from './options.ts';
import { Parked } from './parked.ts';
import type { Transport } from './peers/transport.ts';
import { Proposals } from './proposals.ts';
import { ReadRounds } from './read-rounds.ts';
import { Reads } from './reads.ts';
import { ReadyPump } from './ready-pump.ts';
import { type RequestId, RequestIds, requestKeysOf } from './request-ids.ts';
import { TimeOuts } from './time-outs.ts';
import { bestSuccessor, Transfers } from './transfers.ts';

export interface RaftStatus {
  readonly role: (typeof ROLE_NAMES)[number];
  readonly vote: U64;
  readonly transferee: U64;
  readonly progress: readonly {
    readonly id: U64;
    readonly match: number;
    readonly next: number;
    readonly state: string;
  }[];
}

/** As etcd's library calls the states of a follower. */
const PROGRESS_NAMES = { [PROBE]: 'StateProbe', [REPLICATE]: 'StateReplicate', [SNAPSHOT]: 'StateSnapshot' };

/** Is told when this member begins or ceases to lead, or hears of another leader. */
export type LeadershipListener = (isLeader: boolean, leader: U64, term: number) => void;

/**
 * One member's part of the replicated log: proposals go in, applied entries come out of it in the same order on every
 * member. It knows neither what entries mean (`Applier`) nor how messages travel (`Transport`) nor what a log on disk
 * looks like (`LogStore`).
 *
 * The result of a proposal that failed with a time-out or a change of leader is not known: it may still be applied.
 */
export class ReplicationNode {
  readonly memberId: U64;
  readonly clusterId: U64;
  private readonly raft: RawNode;
  private readonly logger: Logger;
  private readonly log: LogStore;
  private readonly transport: Transport | null;
  private readonly onFatal: (error: Error) => void;
  private readonly pump: ReadyPump;
  private readonly cutter: LogCutter;
  private readonly proposals = new Proposals();
  private readonly forwarded: ForwardedProposals;
  private readonly parked = new Parked();
  private readonly changes: ChangeProposals;
  private readonly reads = new Reads();
  private readonly readRounds: ReadRounds;
  private readonly requestIds: RequestIds;
  private readonly disk: DiskGuard;
  private readonly catchUp: CatchUpPace;
  private readonly advance: ElectionAdvance;
  private readonly transfers: Transfers;
  private readonly timeOuts: TimeOuts;
  private readonly listeners: LeadershipListener[] = [];
  /** Ticks since the start: the only time that waiting requests know. */
  private tickCount = 0;
  private readonly timeoutTicks: number;
  /** Writes that were finished at the last tick. */
  private finishedBefore = 0;
  private ticker: Timer | null = null;
  /** Heartbeats sent too late since the start: this member was too busy, or its machine. */
  lateHeartbeats = 0;
  private tickedMs: number;
  private readonly heartbeatMs: number;
  private readonly clock: Clock;
  private readonly timers: Timers;
  private knownLeader: U64 = U64_ZERO;
  private knownTerm = -1;
  private wasLeader = false;
  private isStopped = false;
  /** Somebody's proposals of this turn are about to be written. */
  private isAboutToWrite = false;
  private readonly companions: (() => void)[] = [];
  /** The committed part of the log that was found at the start is not applied yet. */
  private isFresh = true;

  constructor(options: ReplicationOptions) {
    const { world, start, applier } = options;
    const heartbeatMs = options.heartbeatMs ?? 100;
    const electionMs = options.electionMs ?? heartbeatMs * RAFT_DEFAULTS.electionTicks;
    this.memberId = start.memberId;
    this.clusterId = start.clusterId;
    this.logger = options.logger;
    this.log = options.log;
    this.transport = options.transport ?? null;
    this.timers = world.timers;
    this.clock = world.clock;
    this.tickedMs = world.clock.nowMs();
    this.onFatal = options.onFatal;
    this.heartbeatMs = heartbeatMs;
    this.timeoutTicks = Math.ceil((REQUEST_TIMEOUT_MS + 2 * electionMs) / heartbeatMs);
    const electionTicks = Math.max(2, Math.round(electionMs / heartbeatMs));
    this.requestIds = new RequestIds(start.memberId, world.clock.wallMs());
    this.forwarded = new ForwardedProposals(options.requestKeyOf ?? requestKeysOf(start.memberId));
    this.raft = new RawNode(
      {
        ...RAFT_DEFAULTS,
        id: start.memberId,
        electionTicks,
        preVote: options.preVote ?? RAFT_DEFAULTS.preVote,
        tracer: options.tracer ?? null,
        checkQuorum: options.checkQuorum ?? RAFT_DEFAULTS.checkQuorum,
        draw: (bound) => Math.floor(world.random.float() * bound),
      },
      start.stored,
    );
    if (start.bootstrap !== null) this.raft.bootstrap(start.bootstrap);
    const advanceMs = options.electionTickAdvance === false ? 0 : TICK_ADVANCE_WAIT_MS;
    this.advance = new ElectionAdvance(this.raft, this.transport, electionTicks, Math.ceil(advanceMs / heartbeatMs));
    this.changes = new ChangeProposals(this.raft, this.proposals, this.forwarded);
    this.transfers = new Transfers(this.raft);
    this.timeOuts = new TimeOuts({
      raft: this.raft,
      transport: this.transport,
      clock: world.clock,
      lossTicks: 2 * electionTicks,
      tickMs: heartbeatMs,
    });
    this.readRounds = new ReadRounds({
      raft: this.raft,
      reads: this.reads,
      requestIds: this.requestIds,
      timers: world.timers,
      retryTicks: Math.max(1, Math.round(READ_RETRY_MS / heartbeatMs)),
      appliedIndex: () => this.pump.appliedIndex,
      asked: () => this.pump.run(),
    });
    this.catchUp = new CatchUpPace({
      raft: this.raft,
      clock: world.clock,
      timers: world.timers,
      woken: () => this.pump.run(),
    });
    this.pump = new ReadyPump({
      raft: this.raft,
      log: this.log,
      applier,
      proposals: this.proposals,
      forwarded: this.forwarded,
      reads: this.reads,
      transport: this.transport,
      installer: options.installer ?? null,
      installed: (index) => this.cutter.restartAt(index),
      timers: world.timers,
      clock: world.clock,
      aboutToRun: () => this.askCompanions(),
      stateChanged: () => this.stateChanged(),
      failed: (error) => this.failed(error),
    });
    this.disk = new DiskGuard({
      raft: this.raft,
      writes: this.pump.writes,
      transport: this.transport,
      logger: this.logger,
      electionTicks,
      stalled: () => {
        if (!this.raft.isOnlyVoter) this.reads.failAll(ErrUnhealthy);
      },
    });
    this.cutter = new LogCutter({
      raft: this.raft,
      log: this.log,
      pump: this.pump,
      snapshotCount: options.snapshotCount ?? SNAPSHOT_COUNT,
      catchUpEntries: options.catchUpEntries ?? CATCH_UP_ENTRIES,
      durableIndex: options.durableIndex,
      cut: (index) => this.logger.log('info', 'cut the log', { index, firstIndex: this.raft.firstIndex }),
      startIndex: start.stored.baseIndex,
    });
  }

  /** Begins to tick and to apply what the log already holds. A member that decides alone takes the lead at once. */
  start(): void {
    assert(this.ticker === null, 'replication: started twice');
    this.tickedMs = this.clock.nowMs();
    this.ticker = this.timers.every(this.heartbeatMs, this.tick);
    this.pump.run();
  }

  /** Once, when the configuration is known: nobody else can answer, so there is nothing to wait for. */
  private takeLeadIfAlone(): void {
    const { raft } = this;
    if (raft.appliedIndex < raft.commitIndex || raft.leader !== U64_ZERO) return;
    this.isFresh = false;
    if (raft.isOnlyVoter) raft.campaign();
  }

  get term(): number {
    return this.raft.term;
  }
  /** The leader this member knows of, `U64_ZERO` if none. */
  get leader(): U64 {
    return this.raft.leader;
  }
  get isLeader(): boolean {
    return this.raft.isLeader;
  }
  get isLearner(): boolean {
    return this.raft.isLearner;
  }
  get commitIndex(): number {
    return this.raft.commitIndex;
  }
  get appliedIndex(): number {
    return this.pump.appliedIndex;
  }
  /** Index of the last entry of this member's log, committed or not. */
  get lastIndex(): number {
    return this.raft.lastIndex;
  }
  /** Position of the last snapshot record in the log. */
  get snapshotIndex(): number {
    return this.cutter.snapshotIndex;
  }
  /** Proposals of this member whose result is not known yet. */
  get pendingProposals(): number {
    return this.proposals.length + this.forwarded.size + this.parked.length + this.changes.length;
  }

  /** Proposals of this member that failed: not taken in time, not applied in time, or replaced by others. */
  get failedProposals(): number {
    return this.proposals.failedTotal + this.forwarded.failedTotal + this.parked.failedTotal;
  }

  /** Read rounds that the leader did not confirm in time, and those that failed otherwise. */
  get readRoundsTimedOut(): number {
    return this.reads.timedOutTotal;
  }
  get readRoundsFailed(): number {
    return this.reads.failedTotal;
  }

  /** What an operator may want to know of raft; what a leader believes of the others is empty elsewhere. */
  status(): RaftStatus {
    const { raft } = this;
    const progress = raft.isLeader
      ? [...raft.progress.values()].map(({ id, match, next, state }) => ({
          id,
          match,
          next,
          state: PROGRESS_NAMES[state] as string,
        }))
      : [];
    return { role: ROLE_NAMES[raft.role], vote: raft.vote, transferee: raft.transferee, progress };
  }

  /** How long the oldest write to the log that is not durable has taken so far, in milliseconds; 0 where there is none. */
  get oldestUnfinishedSyncMs(): number {
    return this.pump.writes.oldestMs;
  }
  /**
   * The disk has not finished a write for an election time-out. Meanwhile this member does not lead, unless it is alone,
   * and serves no linearizable reads.
   */
  get isDiskStalled(): boolean {
    return this.disk.isStalled;
  }

  /** When the last entries passed the stages of the log. */
  get times(): LogTimes {
    return this.pump.times;
  }
  /** Is told of every entry that is applied from now on. */
  watchEntries(watcher: EntryWatcher | null): void {
    this.pump.watcher = watcher;
  }

  /** Somebody writes at present: what can wait is better done at leisure. */
  get isBusy(): boolean {
    return this.catchUp.isBusy;
  }

  /**
   * Applies the log up to `index` and no further, while it goes on being written and committed, so that the state of that
   * index can be put in the place of what is there; `reached` is called once it is applied, not before this returns.
   */
  holdApplying(index: number, reached: () => void): void {
    this.pump.holdApplying(index, reached);
  }

  /** Applies everything again. */
  resumeApplying(): void {
    this.pump.resumeApplying();
  }

  /** A fresh request id; the object is reused by the next call. */
  nextRequestId(): RequestId {
    return this.requestIds.next();
  }

  /**
   * Puts an entry into the log. The waiter is given the result of applying it here, or fails: `ErrRequestTooManyRequests`
   * or `ErrContextDeadlineExceeded` (nothing was done, since there was nobody to do it), `ErrStopped`, or one of the
   * time-outs (the result is not known). `data` must not be changed any more.
   */
  propose(data: Buffer, waiter: Waiter): void {
    const { raft, proposals } = this;
    if (this.isStopped) {
      waiter.fail(ErrStopped);
      return;
    }
    if (
      raft.commitIndex - this.pump.appliedIndex > APPLY_GAP_MAX ||
      proposals.bytes + this.parked.bytes > PROPOSAL_BYTES_MAX
    ) {
      waiter.fail(ErrRequestTooManyRequests);
      return;
    }
    this.place(data, this.tickCount, waiter);
    this.isAboutToWrite = true;
    this.pump.schedule();
  }

  /**
   * `companion` is called at the end of each turn in which this member or, where it leads, another proposed something,
   * before that is written: what it proposes is part of the same write, and of the same sync. For what can wait for
   * somebody else's proposal, so that nobody waits for its.
   */
  accompanyWrites(companion: () => void): void {
    this.companions.push(companion);
  }

  private askCompanions(): void {
    if (!this.isAboutToWrite) return;
    for (const companion of this.companions) companion();
    this.isAboutToWrite = false;
  }

  /**
   * As `propose`, but only if this member leads and can take it at once; otherwise nothing happens and the answer is false.
   * For what holds only as long as this member leads, and must not reach another leader, as a proposal that waits would.
   */
  proposeAsLeader(data: Buffer, waiter: Waiter): boolean {
    const { raft, proposals } = this;
    if (this.isStopped || !raft.isLeader || raft.commitIndex - this.pump.appliedIndex > APPLY_GAP_MAX) return false;
    const index = raft.propose(data);
    if (index <= 0) return false;
    proposals.add(index, raft.term, data.length, this.tickCount, waiter);
    this.pump.schedule();
    return true;
  }

  /** Gives a proposal to raft; where nobody takes it, it waits for the next leader. */
  private readonly place = (data: Buffer, since: number, waiter: Waiter): void => {
    const index = this.raft.propose(data);
    if (index > 0) this.proposals.add(index, this.raft.term, data.length, since, waiter);
    else if (index === FORWARDED) this.forwarded.add(data, since, waiter);
    else this.parked.add(data, since, waiter);
  };

  /**
   * Proposes a change of members, under `change.id`. It waits while another one is not applied yet, and fails with
   * `ErrMemberNotEnoughStarted` if it would leave no voter.
   */
  proposeConfChange(change: ConfChange, waiter: Waiter): void {
    if (this.isStopped) {
      waiter.fail(ErrStopped);
      return;
    }
    this.changes.propose(change, this.tickCount, waiter);
    this.pump.schedule();
  }

  /**
   * Proposes a change of several members at once, which goes through a joint configuration: while it lasts, majorities of
   * the old and of the new voters are needed. It is left without being asked. The waiter is answered when the joint
   * configuration is entered. The context must be unique: it stands for the id of the request.
   *
   * Only where every member is etsd: etcd's members stop when they are to apply such an entry.
   */
  proposeConfChangeV2(change: ConfChangeV2, waiter: Waiter): void {
    if (this.isStopped) {
      waiter.fail(ErrStopped);
      return;
    }
    assert(change.changes.length > 0, 'replication: a joint configuration is left by itself');
    this.changes.proposeWide(change, this.tickCount, waiter);
    this.pump.schedule();
  }

  /**
   * Calls `done` when everything that was committed before this call, on whatever member, is applied here; before it
   * returns where nothing is missing. Readers of one turn share one question to the majority. Fails with `ErrTimeout`,
   * `ErrTimeoutWaitAppliedIndex`, `ErrStopped`, or `ErrUnhealthy` while the disk hangs.
   */
  readBarrier(waiter: Waiter): void {
    if (this.isStopped) {
      waiter.fail(ErrStopped);
      return;
    }
    const index = this.raft.readIndexNow();
    if (index >= 0 && index <= this.pump.appliedIndex) {
      waiter.done(null);
      return;
    }
    if (this.disk.isStalled && !this.raft.isOnlyVoter) {
      waiter.fail(ErrUnhealthy);
      return;
    }
    this.readRounds.add(waiter);
  }

  /** A message of another member. */
  step(message: Message): void {
    if (this.isStopped) return;
    try {
      this.raft.step(message);
      if (message.type === MessageType.MsgProp) this.isAboutToWrite = true;
    } catch (error) {
      // A broken promise of the other member, or of our own disk: nothing that the connection could be blamed for.
      this.pump.fail(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.pump.schedule();
  }

  /** Messages to the member may be lost. */
  reportUnreachable(id: U64): void {
    if (this.isStopped) return;
    this.raft.reportUnreachable(id);
    this.pump.schedule();
  }

  /** A snapshot was delivered to the member, or could not be. */
  reportSnapshot(id: U64, failed: boolean): void {
    if (this.isStopped) return;
    this.raft.reportSnapshot(id, failed);
    this.pump.schedule();
  }

  /**
   * How much of this member's log another one is known to have, from 0 to 1; null where this member does not lead, or the
   * other is none of the cluster.
   */
  matchShare(id: U64): number | null {
    const progress = this.raft.isLeader ? this.raft.progress.get(id) : undefined;
    if (progress === undefined) return null;
    return this.raft.lastIndex === 0 ? 1 : Math.min(1, progress.match / this.raft.lastIndex);
  }

  /**
   * Hands leadership over and calls `done` when `to` leads. Fails with `ErrNotLeader`, `ErrBadLeaderTransferee` if `to` is
   * no other voter, or `ErrTimeoutLeaderTransfer` after `timeoutMs` (by default what a request may take).
   */
  moveLeader(to: U64, waiter: Waiter, timeoutMs: number = this.timeoutTicks * this.heartbeatMs): void {
    const { raft } = this;
    const progress = raft.progress.get(to);
    if (this.isStopped) waiter.fail(ErrStopped);
    else if (!raft.isLeader) waiter.fail(ErrNotLeader);
    else if (progress === undefined || progress.isLearner) waiter.fail(ErrBadLeaderTransferee);
    else if (to === this.memberId) waiter.done(null);
    else {
      this.transfers.start(to, this.tickCount + Math.ceil(timeoutMs / this.heartbeatMs), waiter);
      this.pump.schedule();
    }
  }

  /**
   * Before a stop: hands leadership to whoever is best prepared and resolves when that member leads, to null. Nothing is
   * to be done where this member does not lead or is alone. Resolves to `ErrUnhealthy` if nobody else can be reached, and
   * to `ErrTimeoutLeaderTransfer` if it took longer than `timeoutMs`; the others then elect somebody by themselves.
   */
  transferAndWait(timeoutMs: number): Promise<EtcdError | null> {
    const { raft } = this;
    if (this.isStopped || !raft.isLeader || raft.isOnlyVoter) return Promise.resolve(null);
    const to = bestSuccessor(raft, this.transport);
    if (to === null) return Promise.resolve(ErrUnhealthy);
    this.logger.log('info', 'leadership transfer starting', { from: this.memberId, to });
    return new Promise((resolve) => {
      this.moveLeader(to, { done: () => resolve(null), fail: resolve }, timeoutMs);
    });
  }

  onLeadership(listener: LeadershipListener): void {
    this.listeners.push(listener);
  }

  private readonly tick = (): void => {
    if (this.isStopped) return;
    this.tickCount++;
    this.countLateHeartbeats();
    this.raft.tick();
    this.measureLoad();
    this.catchUp.tick();
    this.disk.look();
    this.advance.look(this.tickCount);
    this.expire();
    this.transfers.look(this.tickCount);
    this.unpark();
    this.readRounds.tick(this.tickCount);
    this.pump.run();
    this.cutter.check();
  };

  /** A leader that does not get to its tick for two of them is late with the heartbeats to all others. */
  private countLateHeartbeats(): void {
    const nowMs = this.clock.nowMs();
    const isLate = nowMs - this.tickedMs > 2 * this.heartbeatMs;
    this.tickedMs = nowMs;
    if (isLate && this.raft.isLeader) this.lateHeartbeats += this.raft.progress.size - 1;
  }

  /** With many writes a second the commit index travels with the entries of the next. */
  private measureLoad(): void {
    const { finished } = this.pump.writes;
    const perSecond = ((finished - this.finishedBefore) * 1000) / this.heartbeatMs;
    this.finishedBefore = finished;
    this.raft.delayCommits(perSecond >= COMMIT_DELAY_WRITES_PER_SECOND);
  }

  /** Offers raft again what it did not take. */
  private unpark(): void {
    if (this.parked.length > 0) this.parked.drain(this.place);
    this.changes.retry();
  }

  private expire(): void {
    const tick = this.tickCount - this.timeoutTicks;
    if (this.proposals.isDue(tick)) this.proposals.expire(tick, this.timeOuts.reason(tick, this.tickCount));
    if (this.forwarded.isDue(tick)) this.forwarded.expire(tick, this.timeOuts.reason(tick, this.tickCount));
    // Nobody ever took these.
    this.parked.expire(tick, ErrContextDeadlineExceeded);
    this.changes.expire(tick, ErrContextDeadlineExceeded);
    this.reads.expire(tick);
  }

  private stateChanged(): void {
    const { raft } = this;
    this.catchUp.look();
    if (this.isFresh) this.takeLeadIfAlone();
    const { leader, term, isLeader } = raft;
    if (leader === this.knownLeader && term === this.knownTerm && isLeader === this.wasLeader) return;
    if (leader !== this.knownLeader && leader !== U64_ZERO) this.timeOuts.leaderChanged(this.tickCount);
    this.knownLeader = leader;
    this.knownTerm = term;
    if (isLeader && !this.wasLeader) {
      // What was proposed in an earlier term of ours may have been replaced; what is left has an index within the log.
      this.proposals.sweep((index) => raft.termAt(index), this.pump.appliedIndex, ErrTimeoutDueToLeaderFail);
    }
    this.wasLeader = isLeader;
    if (leader !== U64_ZERO) {
      // What was asked of the leader before, or of nobody, is to be asked of this one.
      this.unpark();
      this.readRounds.askAgain();
    }
    this.transfers.look(this.tickCount);
    this.logger.log('info', 'raft state changed', { role: ROLE_NAMES[raft.role], term, leader });
    for (const listener of this.listeners) listener(isLeader, leader, term);
  }

  private failed(error: Error): void {
    this.quit();
    this.onFatal(error);
  }

  private quit(): void {
    this.isStopped = true;
    this.ticker?.cancel();
    this.ticker = null;
    this.proposals.expire(Number.MAX_SAFE_INTEGER, ErrStopped);
    this.forwarded.expire(Number.MAX_SAFE_INTEGER, ErrStopped);
    this.parked.expire(Number.MAX_SAFE_INTEGER, ErrStopped);
    this.changes.expire(Number.MAX_SAFE_INTEGER, ErrStopped);
    this.reads.failAll(ErrStopped);
    this.transfers.failAll(ErrStopped);
  }

  /** Fails everybody who waits, writes what the log was given, closes it and the transport. May be called again. */
  async stop(): Promise<void> {
    if (!this.isStopped) {
      this.pump.stop();
      this.quit();
    }
    await this.transport?.close();
    await this.log.close();
  }
}
