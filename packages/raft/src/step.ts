import { EMPTY, type U64, U64_ZERO } from '@etsd/base';
import { type Entry, EntryType, type Message, MessageType, ProtoError } from '@etsd/proto';
import { ConfChangeError, changedMembership, confChangeOf } from './conf-change.ts';
import {
  checkQuorum,
  handleVoteRequest,
  handleVoteResponse,
  heldByLease,
  hup,
  isCampaigning,
  learnCommit,
  takeOver,
  tellCommit,
} from './election.ts';
import { messageTo } from './messages.ts';
import { LEADER, PRE_CANDIDATE, type Raft } from './raft.ts';
import { confirmRead, handleReadIndex, handleReadIndexResponse, waitingContext } from './read-index.ts';
import {
  appendAsLeader,
  broadcastHeartbeats,
  handleAppend,
  handleAppendResponse,
  handleHeartbeat,
  handleHeartbeatResponse,
  handleSnapshotStatus,
  handleUnreachable,
} from './replicate.ts';
import { handleSnapshot } from './snapshot.ts';
import { traceChange, traceReceived } from './trace.ts';
import { abortTransfer, handOverIfNoVoter, startTransfer, transferIfCaughtUp } from './transfer.ts';

/** One tick of the driver's clock. */
export function tick(raft: Raft): void {
  raft.electionElapsed++;
  if (raft.role !== LEADER) {
    if (raft.electionElapsed >= raft.electionTimeout) {
      // Whoever proposed them has heard of no leader, either, and asks anew or gives up: not to be carried out much later.
      if (raft.heldProposals.length > 0) raft.heldProposals = [];
      if (raft.promotable) {
        raft.electionElapsed = 0;
        hup(raft, false);
      }
    }
    return;
  }
  raft.heartbeatElapsed++;
  if (raft.electionElapsed >= raft.options.electionTicks) {
    raft.electionElapsed = 0;
    if (raft.options.checkQuorum) checkQuorum(raft);
    // Whoever was to take over did not: go on leading rather than refuse proposals for ever (Raft thesis §3.10).
    abortTransfer(raft);
    if (raft.role === LEADER) handOverIfNoVoter(raft);
    if (raft.role === LEADER && raft.heldProposals.length > 0 && canPropose(raft)) releaseProposals(raft);
  }
  if (raft.role === LEADER && raft.heartbeatElapsed >= raft.options.heartbeatTicks) {
    raft.heartbeatElapsed = 0;
    for (const progress of raft.progress.values()) progress.tick();
    broadcastHeartbeats(raft, waitingContext(raft));
  }
}

/** Takes a message of another member, or a local one (term 0). */
export function step(raft: Raft, message: Message): void {
  if (raft.tracer !== null) traceReceived(raft, message);
  if (message.term > raft.term) {
    if (!acceptHigherTerm(raft, message)) return;
  } else if (message.term !== 0 && message.term < raft.term) {
    answerLowerTerm(raft, message);
    return;
  }
  switch (message.type) {
    case MessageType.MsgHup:
      hup(raft, false);
      return;
    case MessageType.MsgVote:
    case MessageType.MsgPreVote:
      handleVoteRequest(raft, message);
      return;
    default:
      if (raft.role === LEADER) stepLeader(raft, message);
      else stepOther(raft, message);
      if (raft.heldProposals.length > 0 && (raft.role === LEADER ? canPropose(raft) : raft.leader !== U64_ZERO)) {
        releaseProposals(raft);
      }
  }
}

/** A higher term ends ours (paper §5.1), but for pre-votes, which have no term yet. Returns false to ignore. */
function acceptHigherTerm(raft: Raft, message: Message): boolean {
  const type = message.type;
  if (type === MessageType.MsgVote || type === MessageType.MsgPreVote) {
    if (heldByLease(raft, message)) return false;
    if (type === MessageType.MsgPreVote) return true;
  }
  // A granted pre-vote names the term of the election to come. A refused one tells of a term that really is.
  if (type === MessageType.MsgPreVoteResp && !message.reject) return true;
  raft.becomeFollower(message.term, isFromLeader(type) ? message.from : U64_ZERO);
  return true;
}

function isFromLeader(type: number): boolean {
  return type === MessageType.MsgApp || type === MessageType.MsgHeartbeat || type === MessageType.MsgSnap;
}

/** What comes from an old term is ignored, yet its sender may be stuck and must learn of ours. */
function answerLowerTerm(raft: Raft, message: Message): void {
  const type = message.type;
  const { checkQuorum: hasCheck, preVote } = raft.options;
  if ((hasCheck || preVote) && (type === MessageType.MsgHeartbeat || type === MessageType.MsgApp)) {
    // With leases a member whose term ran ahead cannot depose the leader by a vote; this answer does.
    raft.send(messageTo(message.from, MessageType.MsgAppResp));
  } else if (type === MessageType.MsgPreVote) {
    // The candidate may be behind in terms although its log is not; let it catch up.
    const answer = messageTo(message.from, MessageType.MsgPreVoteResp, raft.term);
    answer.reject = true;
    tellCommit(raft, answer);
    raft.send(answer);
  }
}

function stepLeader(raft: Raft, message: Message): void {
  switch (message.type) {
    case MessageType.MsgBeat:
      broadcastHeartbeats(raft, waitingContext(raft));
      return;
    case MessageType.MsgCheckQuorum:
      checkQuorum(raft);
      return;
    case MessageType.MsgProp:
      takeProposals(raft, message);
      return;
    case MessageType.MsgReadIndex:
      handleReadIndex(raft, message);
      return;
    default:
  }
  const progress = raft.progress.get(message.from);
  if (progress === undefined) return;
  switch (message.type) {
    case MessageType.MsgAppResp:
      handleAppendResponse(raft, progress, message);
      transferIfCaughtUp(raft, progress);
      return;
    case MessageType.MsgHeartbeatResp:
      handleHeartbeatResponse(raft, progress);
      confirmRead(raft, message);
      return;
    case MessageType.MsgSnapStatus:
      handleSnapshotStatus(progress, message.reject);
      return;
    case MessageType.MsgUnreachable:
      handleUnreachable(progress);
      return;
    case MessageType.MsgTransferLeader:
      startTransfer(raft, message.from);
      return;
    default:
  }
}

/** Messages of followers that are held while nobody takes them; more are dropped, as all are in etcd. */
const HELD_PROPOSALS_MAX = 1024;

function holdProposals(raft: Raft, message: Message): void {
  if (raft.heldProposals.length < HELD_PROPOSALS_MAX) raft.heldProposals.push(message);
}

function takeProposals(raft: Raft, message: Message): void {
  if (!canPropose(raft)) {
    holdProposals(raft, message);
    return;
  }
  for (const entry of message.entries) appendProposal(raft, entry);
  awaitCommit(raft, message.from, raft.log.lastIndex);
}

/**
 * What followers proposed while leadership was handed over, or to a member that led before the election now under way:
 * whoever sent it thinks that it is on its way, and nobody else will propose it again.
 */
function releaseProposals(raft: Raft): void {
  const held = raft.heldProposals;
  raft.heldProposals = [];
  for (const message of held) {
    if (raft.role === LEADER) takeProposals(raft, message);
    else passToLeader(raft, message);
  }
}

/** A follower has somebody who waits until it knows that this index is committed. */
function awaitCommit(raft: Raft, id: U64, index: number): void {
  const progress = raft.progress.get(id);
  if (progress !== undefined && index > progress.awaitedCommit) progress.awaitedCommit = index;
}

/** Whether the leader takes proposals: not when it is no voter any more, not while it hands over. */
export function canPropose(raft: Raft): boolean {
  return raft.self !== null && !raft.self.isLearner && raft.transferee === U64_ZERO;
}

/** Why a membership change may not enter the log now: nothing speaks against it, … */
export const CHANGE_FITS = 0;
/** … another one may be under way: later; … */
export const CHANGE_TOO_EARLY = 1;
/** … or it cannot be made to the present configuration, or be read at all. */
export const CHANGE_UNFIT = 2;

/**
 * Whether the leader may append a membership change (Raft thesis §4.1). Nothing can come between this check and the
 * application of the entry: that is what the first condition is for.
 */
export function checkChange(raft: Raft, entry: Entry): number {
  if (raft.pendingConfIndex > raft.log.applied) return CHANGE_TOO_EARLY;
  try {
    changedMembership(raft.membership, confChangeOf(entry));
    return CHANGE_FITS;
  } catch (error) {
    if (error instanceof ProtoError || error instanceof ConfChangeError) return CHANGE_UNFIT;
    throw error;
  }
}

/** Appends a proposal. A membership change that may not be made is replaced by an empty entry. */
export function appendProposal(raft: Raft, entry: Entry): void {
  if (entry.type !== EntryType.EntryNormal) {
    if (checkChange(raft, entry) === CHANGE_FITS) {
      raft.pendingConfIndex = raft.log.lastIndex + 1;
      if (raft.tracer !== null) traceChange(raft, confChangeOf(entry));
    } else {
      entry.type = EntryType.EntryNormal;
      entry.data = EMPTY;
    }
  }
  appendAsLeader(raft, entry);
}

function stepOther(raft: Raft, message: Message): void {
  switch (message.type) {
    case MessageType.MsgApp:
    case MessageType.MsgHeartbeat:
    case MessageType.MsgSnap:
      hearLeader(raft, message);
      return;
    case MessageType.MsgVoteResp:
    case MessageType.MsgPreVoteResp:
      if (message.reject && message.commit > 0) learnCommit(raft, message);
      if (isCampaigning(raft)) handleVoteResponse(raft, message);
      return;
    case MessageType.MsgProp:
      if (raft.leader === U64_ZERO) holdProposals(raft, message);
      else passToLeader(raft, message);
      return;
    case MessageType.MsgReadIndex:
    case MessageType.MsgTransferLeader:
      passToLeader(raft, message);
      return;
    case MessageType.MsgTimeoutNow:
      // The leader hands over: no pre-vote, its lease must not hold the others back (Raft thesis §3.10).
      if (!isCampaigning(raft)) takeOver(raft);
      return;
    case MessageType.MsgReadIndexResp:
      handleReadIndexResponse(raft, message);
      return;
    default:
  }
}

/** There is a leader in this term: follow it. */
function hearLeader(raft: Raft, message: Message): void {
  if (isCampaigning(raft)) raft.becomeFollower(raft.term, message.from);
  raft.electionElapsed = 0;
  raft.leader = message.from;
  if (message.type === MessageType.MsgApp) handleAppend(raft, message);
  else if (message.type === MessageType.MsgHeartbeat) handleHeartbeat(raft, message);
  else handleSnapshot(raft, message);
}

/** Dropped where there is no leader; whoever asked tries again or gives up. */
function passToLeader(raft: Raft, message: Message): void {
  if (raft.leader === U64_ZERO || raft.role === PRE_CANDIDATE) return;
  message.to = raft.leader;
  raft.send(message);
}
