import { assert, type U64, U64_ZERO } from '@etsd/base';
import {
  type ConfChangeV2,
  type ConfState,
  Entry,
  EntryType,
  HardState,
  type Message,
  MessageType,
  ConfChangeV2 as WideChange,
} from '@etsd/proto';
import { applyConfChange, confChangeOf, restoreMembership } from './conf-change.ts';
import { confStateOf } from './conf-state.ts';
import type { RaftOptions } from './config.ts';
import { takeOver } from './election.ts';
import { ENTRY_OVERHEAD_BYTES, PendingWrite } from './log.ts';
import { entryOf, messageTo } from './messages.ts';
import type { Progress } from './progress.ts';
import { LEADER, Raft, type Role } from './raft.ts';
import { readIndexMessage, waitingContext } from './read-index.ts';
import { Ready } from './ready.ts';
import { acknowledgeSelf, appendAsLeader, broadcastAppends, broadcastHeartbeats, sendAppends } from './replicate.ts';
import { appendProposal, CHANGE_FITS, CHANGE_TOO_EARLY, canPropose, checkChange, step, tick } from './step.ts';
import { traceFounders, traceState } from './trace.ts';

/** What `propose` answers where it has no index: the proposal is on its way to the leader … */
export const FORWARDED = 0;
/** … or nothing was done with it: there is no leader, or it is handing over, or another change is under way; … */
export const DROPPED = -1;
/** … or it is a membership change that cannot be made, now or later: it would leave no voter, or makes no sense. */
export const REFUSED = -2;

/** What a member finds on its disk when it starts; all zero and empty for a new one. */
export interface StoredState {
  hardState: HardState | null;
  /** Position of the compaction or snapshot the entries follow. */
  baseIndex: number;
  baseTerm: number;
  /** Entries baseIndex+1 …; raft keeps the array's elements. */
  entries: readonly Entry[];
  /** Up to where the state machine has applied the log, durably. */
  applied: number;
  /** The configuration as of `applied`; null: none yet. */
  confState: ConfState | null;
}

const NOTHING: never[] = [];

/**
 * The face of raft: a value that is given ticks, messages and reports, and which says in `ready()` what to send, write
 * and apply. It calls nobody, knows no clock, and its only chance is `options.draw`.
 *
 *     propose, step, tick ──▶ RawNode ──ready()──▶ send · write · apply
 *                                ▲                        │
 *                                └── written(), appliedTo()
 */
export class RawNode {
  private readonly raft: Raft;
  private readonly out: Ready = new Ready();
  private savedTerm = 0;
  private savedVote: U64 = U64_ZERO;
  private savedCommit = 0;
  /** Of the entries in the last message of the outbox, if that forwards proposals. */
  private forwardedBytes = 0;

  constructor(options: RaftOptions, stored: StoredState) {
    const raft = new Raft(options);
    this.raft = raft;
    const log = raft.log;
    log.base = stored.baseIndex;
    log.baseTerm = stored.baseTerm;
    for (const entry of stored.entries) {
      assert(entry.index === log.lastIndex + 1, 'raft: stored entries must be consecutive');
      log.push(entry);
    }
    log.stable = log.lastIndex;
    log.handed = log.lastIndex;
    const hard = stored.hardState;
    if (hard !== null) {
      raft.term = hard.term;
      raft.vote = hard.vote;
      log.committed = Math.max(hard.commit, log.base);
    }
    assert(stored.applied >= log.base, 'raft: the applied index is before the beginning of the log');
    assert(stored.applied <= log.lastIndex, 'raft: the applied index is behind the end of the log');
    // What was applied was committed, even where the hard state on disk is older.
    log.committed = Math.max(log.committed, stored.applied);
    assert(log.committed <= log.lastIndex, 'raft: the commit index is behind the end of the log');
    log.applying = stored.applied;
    log.applied = stored.applied;
    if (stored.confState !== null) restoreMembership(raft, stored.confState);
    if (raft.tracer !== null) traceState(raft, 'InitState');
    raft.becomeFollower(raft.term, U64_ZERO);
    if (hard !== null) {
      this.savedTerm = hard.term;
      this.savedVote = hard.vote;
      this.savedCommit = hard.commit;
    }
  }

  /**
   * Makes this the first start of a new cluster: `entries` (the membership changes that add its members, without index
   * and term) become its first entries, committed in term 1. Every first member does the same, so their logs agree.
   */
  bootstrap(entries: readonly Entry[]): void {
    const { log } = this.raft;
    assert(this.raft.term === 0, 'raft: only a member without a past can be bootstrapped');
    assert(log.lastIndex === 0, 'raft: only an empty log can be bootstrapped');
    this.raft.becomeFollower(1, U64_ZERO);
    for (const entry of entries) {
      entry.term = 1;
      entry.index = log.lastIndex + 1;
      log.push(entry);
    }
    log.commitTo(log.lastIndex);
    if (this.raft.tracer !== null) traceFounders(this.raft, entries.map(confChangedMember));
  }

  get id(): U64 {
    return this.raft.id;
  }
  get term(): number {
    return this.raft.term;
  }
  get leader(): U64 {
    return this.raft.leader;
  }
  get role(): Role {
    return this.raft.role;
  }
  get isLeader(): boolean {
    return this.raft.role === LEADER;
  }
  get isLearner(): boolean {
    return this.raft.isLearner;
  }
  get commitIndex(): number {
    return this.raft.log.committed;
  }
  get appliedIndex(): number {
    return this.raft.log.applied;
  }
  get lastIndex(): number {
    return this.raft.log.lastIndex;
  }
  /** The first index still held. */
  get firstIndex(): number {
    return this.raft.log.base + 1;
  }
  get isOnlyVoter(): boolean {
    return this.raft.isOnlyVoter;
  }
  /** Whom this member voted for in its term, `U64_ZERO` if nobody. */
  get vote(): U64 {
    return this.raft.vote;
  }

  get transferee(): U64 {
    return this.raft.transferee;
  }
  get confState(): ConfState {
    return confStateOf(this.raft.membership);
  }

  /** The leader's view of each member, by id. Only meaningful on a leader; not to be changed. */
  get progress(): ReadonlyMap<U64, Progress> {
    return this.raft.progress;
  }

  /**
   * A snapshot came and is not installed yet: what was handed out for application before is superseded by it and must
   * not be applied any more.
   */
  get isInstalling(): boolean {
    return this.raft.log.pendingSnapshot !== null;
  }

  entryAt(index: number): Entry {
    return this.raft.log.at(index);
  }

  /** Term of an entry, −1 where it is not held. */
  termAt(index: number): number {
    return this.raft.log.termAt(index);
  }

  tick(): void {
    tick(this.raft);
  }

  /** A message from another member. Local kinds are refused: nobody else may order an election or report for us. */
  step(message: Message): void {
    const type = message.type;
    const isLocal =
      type === MessageType.MsgHup ||
      type === MessageType.MsgBeat ||
      type === MessageType.MsgCheckQuorum ||
      type === MessageType.MsgUnreachable ||
      type === MessageType.MsgSnapStatus ||
      type > MessageType.MsgPreVoteResp;
    if (isLocal) return;
    step(this.raft, message);
  }

  /** Starts an election now, if this member may. */
  campaign(): void {
    step(this.raft, messageTo(U64_ZERO, MessageType.MsgHup));
  }

  /** While set, this member starts no election, not even when it is told to take over. */
  abstain(isAbstaining: boolean): void {
    this.raft.abstains = isAbstaining;
  }

  /**
   * While set, a commit index for which nobody waits on a follower is not sent by itself: it goes with the next entries,
   * or when `tellCommits` is called, or with a heartbeat. Under load that saves half of all messages.
   */
  delayCommits(isDelaying: boolean): void {
    this.raft.delaysCommits = isDelaying;
  }

  /** Whether there is a follower that was not told the commit index for that reason. */
  get hasUntoldCommit(): boolean {
    return this.raft.hasUntoldCommit;
  }

  /** Tells it to all that have not heard of it. */
  tellCommits(): void {
    const raft = this.raft;
    if (!raft.hasUntoldCommit) return;
    raft.hasUntoldCommit = false;
    if (raft.role !== LEADER) return;
    const delays = raft.delaysCommits;
    raft.delaysCommits = false;
    broadcastAppends(raft);
    raft.delaysCommits = delays;
  }

  /**
   * While set, a follower that lacks a lot is sent it in small pieces, one at a time, and rests after each until `goOn`:
   * it shares a processor, a disk or a wire with those who serve meanwhile. To be set only while entries are committed
   * without it.
   */
  pace(isPacing: boolean): void {
    const raft = this.raft;
    if (raft.paces === isPacing) return;
    raft.paces = isPacing;
    if (isPacing) return;
    raft.hasResting = false;
    for (const progress of raft.progress.values()) progress.catchUpFreely();
    raft.broadcastPending = raft.role === LEADER;
  }

  /** Whether followers came to rest since this was asked last. */
  takeResting(): boolean {
    const { hasResting } = this.raft;
    this.raft.hasResting = false;
    return hasResting;
  }

  /** The follower may have its next piece, of so many bytes. */
  goOn(id: U64, pieceBytes: number): void {
    const raft = this.raft;
    const progress = raft.progress.get(id);
    if (raft.role !== LEADER || progress?.isResting !== true) return;
    progress.isResting = false;
    progress.pieceBytes = Math.min(pieceBytes, raft.options.appendBytesMax);
    sendAppends(raft, progress);
  }

  /** Gives leadership up. The others notice when they hear of no leader any more. */
  stepDown(): void {
    if (this.raft.role === LEADER) this.raft.becomeFollower(this.raft.term, U64_ZERO);
  }

  /** Proposes an entry. Returns its index on the leader (it may still be lost with the leadership), else a code. */
  propose(data: Buffer): number {
    const raft = this.raft;
    if (raft.role !== LEADER) return this.forward(EntryType.EntryNormal, data);
    if (!canPropose(raft)) return DROPPED;
    const entry = new Entry();
    entry.data = data;
    appendAsLeader(raft, entry);
    return entry.index;
  }

  /** Proposes a membership change; `type` tells which of the two forms `data` has. Otherwise like `propose`. */
  proposeConfChange(type: number, data: Buffer): number {
    const raft = this.raft;
    if (raft.role !== LEADER) return this.forward(type, data);
    if (!canPropose(raft)) return DROPPED;
    const entry = entryOf(type, data);
    const verdict = checkChange(raft, entry);
    if (verdict !== CHANGE_FITS) return verdict === CHANGE_TOO_EARLY ? DROPPED : REFUSED;
    appendProposal(raft, entry);
    return entry.index;
  }

  /** What a turn forwards travels together. */
  private forward(type: number, data: Buffer): number {
    const raft = this.raft;
    if (raft.leader === U64_ZERO) return DROPPED;
    const { outbox } = raft;
    const last = outbox[outbox.length - 1];
    const bytes = data.length + ENTRY_OVERHEAD_BYTES;
    if (
      last !== undefined &&
      last.type === MessageType.MsgProp &&
      last.from === raft.id &&
      last.to === raft.leader &&
      this.forwardedBytes + bytes <= raft.options.appendBytesMax
    ) {
      this.forwardedBytes += bytes;
      last.entries.push(entryOf(type, data));
      return FORWARDED;
    }
    this.forwardedBytes = bytes;
    const message = messageTo(U64_ZERO, MessageType.MsgProp);
    message.entries.push(entryOf(type, data));
    step(raft, message);
    return FORWARDED;
  }

  /**
   * The index that a linearizable read on this member must wait for, if that is known without asking anybody: it is the
   * only voter, leads, and has committed in its term. Otherwise −1: use `readIndex`.
   */
  readIndexNow(): number {
    const raft = this.raft;
    return raft.role === LEADER && raft.isOnlyVoter && raft.hasCommittedInTerm ? raft.log.committed : -1;
  }

  /** Asks for a read index; a `ReadState` with the same context comes with a later `ready()`, or never: then ask again. */
  readIndex(context: Buffer): void {
    step(this.raft, readIndexMessage(context));
  }

  /** Asks the leader to hand over to `to`. */
  transferLeader(to: U64): void {
    const message = messageTo(U64_ZERO, MessageType.MsgTransferLeader);
    message.from = to;
    step(this.raft, message);
  }

  /** Messages to the member may have been lost. */
  reportUnreachable(id: U64): void {
    const message = messageTo(U64_ZERO, MessageType.MsgUnreachable);
    message.from = id;
    step(this.raft, message);
  }

  /** A snapshot message was delivered, or could not be. */
  reportSnapshot(id: U64, failed: boolean): void {
    const message = messageTo(U64_ZERO, MessageType.MsgSnapStatus);
    message.from = id;
    message.reject = failed;
    step(this.raft, message);
  }

  hasReady(): boolean {
    const raft = this.raft;
    const log = raft.log;
    return (
      log.lastIndex > log.handed ||
      log.applicable > log.applying ||
      raft.outbox.length > 0 ||
      raft.outboxAfterWrite.length > 0 ||
      raft.readStates.length > 0 ||
      raft.broadcastPending ||
      raft.heartbeatPending ||
      raft.term !== this.savedTerm ||
      raft.vote !== this.savedVote ||
      this.hasUnwrittenSnapshot()
    );
  }

  private hasUnwrittenSnapshot(): boolean {
    const snapshot = this.raft.log.pendingSnapshot;
    return snapshot !== null && snapshot !== this.out.snapshot;
  }

  /** Hands out everything there is to do. What is handed out counts as begun. */
  ready(): Ready {
    const raft = this.raft;
    const log = raft.log;
    const out = this.out;
    if (raft.broadcastPending) broadcastAppends(raft);
    if (raft.heartbeatPending) {
      raft.heartbeatPending = false;
      broadcastHeartbeats(raft, waitingContext(raft));
    }
    if (raft.tracer !== null) traceState(raft, 'Ready');
    this.handOutWrite();
    out.messages = raft.outbox;
    if (raft.outbox.length > 0) raft.outbox = [];
    out.readStates = raft.readStates;
    if (raft.readStates.length > 0) raft.readStates = [];
    out.committedFrom = log.applying;
    log.applying = Math.max(log.applying, log.applicable);
    out.committedTo = log.applying;
    return out;
  }

  private handOutWrite(): void {
    const raft = this.raft;
    const log = raft.log;
    const out = this.out;
    const isNewSnapshot = this.hasUnwrittenSnapshot();
    const hasPromise = raft.term !== this.savedTerm || raft.vote !== this.savedVote;
    const hasEntries = log.lastIndex > log.handed;
    out.write = null;
    out.hardState = null;
    out.snapshot = log.pendingSnapshot;
    out.mustSync = hasEntries || hasPromise || isNewSnapshot;
    if (!out.mustSync) {
      out.entriesFrom = 0;
      out.entriesTo = 0;
      if (raft.outboxAfterWrite.length > 0) this.attachToLastWrite();
      return;
    }
    out.entries = log.entries;
    out.entriesFrom = log.handed - log.base;
    out.entriesTo = log.entries.length;
    log.handed = log.lastIndex;
    if (hasPromise || log.committed !== this.savedCommit) out.hardState = this.takeHardState();
    const write = new PendingWrite(log.lastIndex, isNewSnapshot ? log.base : 0);
    if (raft.outboxAfterWrite.length > 0) {
      write.messages = raft.outboxAfterWrite;
      raft.outboxAfterWrite = [];
    }
    log.writes.push(write);
    out.write = write;
  }

  /**
   * Term, vote and commit index as they are now; they count as handed to storage. Entries may be known to be committed
   * before they were handed out to be written: the commit index does not go beyond those that were, for after a crash it
   * would speak of entries that storage never had.
   */
  takeHardState(): HardState {
    const raft = this.raft;
    const state = new HardState();
    state.term = raft.term;
    state.vote = raft.vote;
    state.commit = this.storableCommit;
    this.savedTerm = state.term;
    this.savedVote = state.vote;
    this.savedCommit = state.commit;
    return state;
  }

  /** Whether `takeHardState` has a commit index that storage was not given. */
  get hasUnsavedCommit(): boolean {
    return this.storableCommit !== this.savedCommit;
  }

  private get storableCommit(): number {
    return Math.min(this.raft.log.committed, this.raft.log.handed);
  }

  /** Nothing new to write, but answers whose promise is in writes under way: they leave with the last of those. */
  private attachToLastWrite(): void {
    const raft = this.raft;
    const waiting = raft.outboxAfterWrite;
    raft.outboxAfterWrite = [];
    const last = raft.log.writes[raft.log.writes.length - 1];
    if (last === undefined) this.release(waiting);
    else if (last.messages === null) last.messages = waiting;
    else for (const message of waiting) last.messages.push(message);
  }

  /** The oldest write in flight is durable. */
  written(write: PendingWrite): void {
    const raft = this.raft;
    const log = raft.log;
    assert(log.writes[0] === write, 'raft: writes are reported in the order of their hand-out');
    if (log.writes.length === 1) log.writes.length = 0;
    else log.writes.splice(0, 1);
    if (write.snapshotIndex > 0 && write.snapshotIndex === log.base && log.pendingSnapshot !== null) {
      log.pendingSnapshot = null;
      log.applying = log.base;
      log.applied = log.base;
    }
    if (write.lastIndex > log.stable) {
      log.stable = write.lastIndex;
      if (raft.role === LEADER) acknowledgeSelf(raft);
    }
    if (write.messages !== null) this.release(write.messages);
  }

  /** Lets messages go whose promise is kept; those to this member itself take effect here. */
  private release(messages: Message[]): void {
    for (const message of messages) {
      if (message.to === this.raft.id) step(this.raft, message);
      else this.raft.outbox.push(message);
    }
  }

  /** Everything up to `index` is applied. */
  appliedTo(index: number): void {
    const raft = this.raft;
    const log = raft.log;
    assert(index >= log.applied, 'raft: the applied index must not go back');
    assert(index <= log.applying, 'raft: what was not handed out cannot be applied');
    log.applied = index;
    if (raft.takeOverPending) takeOver(raft);
    if (raft.membership.autoLeave && raft.role === LEADER && raft.pendingConfIndex <= index && canPropose(raft)) {
      appendProposal(raft, entryOf(EntryType.EntryConfChangeV2, WideChange.encode(new WideChange())));
    }
  }

  /** Takes a membership change whose entry is being applied; throws `ConfChangeError` where it does not fit. */
  applyConfChange(change: ConfChangeV2): ConfState {
    applyConfChange(this.raft, change);
    return confStateOf(this.raft.membership);
  }

  /** Forgets entries up to `index`; they must be applied, and covered by a snapshot record or the state on disk. */
  compact(index: number): void {
    this.raft.log.compact(index);
  }

  /** Whether any read round waits for confirmations. */
  get hasWaitingReads(): boolean {
    return this.raft.reads.last !== null;
  }
}

function confChangedMember(entry: Entry): U64 {
  return confChangeOf(entry).changes[0]?.nodeId ?? U64_ZERO;
}

/** State of a member that has nothing on disk. */
export function emptyState(): StoredState {
  return { hardState: null, baseIndex: 0, baseTerm: 0, entries: NOTHING, applied: 0, confState: null };
}
