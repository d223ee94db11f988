import { EMPTY, type U64, U64_ZERO } from '@etsd/base';
import { EntryType, type Message, MessageType } from '@etsd/proto';
import { CAMPAIGN_TRANSFER, entryOf, isTransferCampaign, messageTo } from './messages.ts';
import { jointVote, VOTE_LOST, VOTE_WON } from './quorum.ts';
import { CANDIDATE, LEADER, PRE_CANDIDATE, type Raft } from './raft.ts';
import { appendAsLeader } from './replicate.ts';
import { traceState } from './trace.ts';

/** Starts an election unless this member leads, may not lead, or has a membership change to apply first. */
export function hup(raft: Raft, transfer: boolean): void {
  if (raft.role === LEADER || !raft.promotable) return;
  // A leader elected by a configuration that is already history could overlap with one elected by the new one.
  if (hasUnappliedConfChange(raft)) return;
  if (transfer) campaign(raft, true);
  else if (raft.options.preVote) preCampaign(raft);
  else campaign(raft, false);
}

/** The leader asks this member to campaign. With a membership change to apply first, that is done when it is applied. */
export function takeOver(raft: Raft): void {
  raft.takeOverPending = hasUnappliedConfChange(raft);
  if (!raft.takeOverPending) hup(raft, true);
}

function hasUnappliedConfChange(raft: Raft): boolean {
  const log = raft.log;
  for (let index = log.applied + 1; index <= log.committed; index++) {
    if (log.at(index).type !== EntryType.EntryNormal) return true;
  }
  return false;
}

/** Asks whether the election could be won, without disturbing anybody (Raft thesis §9.6). */
function preCampaign(raft: Raft): void {
  raft.becomePreCandidate();
  if (raft.isOnlyVoter) campaign(raft, false);
  else requestVotes(raft, MessageType.MsgPreVote, raft.term + 1, false);
}

function campaign(raft: Raft, transfer: boolean): void {
  raft.becomeCandidate();
  requestVotes(raft, MessageType.MsgVote, raft.term, transfer);
}

/** Asks all voters; the own vote is cast by a message to itself, which counts only when term and vote are durable. */
function requestVotes(raft: Raft, type: number, term: number, transfer: boolean): void {
  const answer = type === MessageType.MsgVote ? MessageType.MsgVoteResp : MessageType.MsgPreVoteResp;
  for (const id of votersOf(raft)) {
    if (id === raft.id) {
      raft.send(messageTo(id, answer, term));
      continue;
    }
    const request = messageTo(id, type, term);
    request.index = raft.log.lastIndex;
    request.logTerm = raft.log.lastTerm;
    if (transfer) request.context = CAMPAIGN_TRANSFER;
    raft.send(request);
  }
}

function votersOf(raft: Raft): U64[] {
  const { voters, outgoing } = raft.membership;
  if (outgoing.length === 0) return voters;
  return [...new Set([...voters, ...outgoing])].sort();
}

/**
 * A refusal says up to where its sender knows the log to be committed. A voter that cannot win may be missing just that: a
 * leader which was removed has the longest log, will not campaign, and alone knew that its vote counts no more.
 */
export function tellCommit(raft: Raft, refusal: Message): void {
  refusal.commit = raft.log.committed;
  refusal.logTerm = raft.log.termAt(raft.log.committed);
}

/**
 * Takes the commit index of a refusal. Whose log has that entry has everything before it (paper §5.3), so that it is
 * committed here as well, whatever became of the election. Members other than ours leave the index at zero.
 */
export function learnCommit(raft: Raft, refusal: Message): void {
  const { log } = raft;
  const from = log.committed;
  if (raft.role === LEADER || refusal.commit <= from || !log.matches(refusal.commit, refusal.logTerm)) return;
  log.commitTo(refusal.commit);
  // Votes were asked of a configuration that may be history: begin anew when the change is applied.
  if (isCampaigning(raft) && hasUnappliedConfChange(raft)) raft.becomeFollower(raft.term, U64_ZERO);
}

/** A vote counted by the candidate or pre-candidate that asked for it. */
export function handleVoteResponse(raft: Raft, message: Message): void {
  const own = raft.role === PRE_CANDIDATE ? MessageType.MsgPreVoteResp : MessageType.MsgVoteResp;
  if (message.type !== own) return;
  if (!raft.votes.has(message.from)) raft.votes.set(message.from, !message.reject);
  const result = jointVote(raft.membership.voters, raft.membership.outgoing, raft.votes);
  if (result === VOTE_WON) {
    if (raft.role === PRE_CANDIDATE) campaign(raft, false);
    else becomeLeader(raft);
  } else if (result === VOTE_LOST) {
    raft.becomeFollower(raft.term, U64_ZERO);
  }
}

function becomeLeader(raft: Raft): void {
  raft.reset(raft.term);
  raft.role = LEADER;
  raft.leader = raft.id;
  const self = raft.self;
  if (self !== null) {
    self.becomeReplicate();
    self.recentActive = true;
  }
  // There may be a change of members among the entries not yet committed: look no closer, just wait for all of them.
  raft.pendingConfIndex = raft.log.lastIndex;
  if (raft.tracer !== null) traceState(raft, 'BecomeLeader');
  // An empty entry of its own term lets the leader commit what earlier leaders left (paper §5.4.2 and §8).
  appendAsLeader(raft, entryOf(EntryType.EntryNormal, EMPTY));
}

/**
 * Answers a request for a vote (paper §5.2, §5.4.1), of a term not below ours. At most one vote a term, only for a log at
 * least as complete as ours; a pre-vote promises nothing and leaves no trace.
 */
export function handleVoteRequest(raft: Raft, message: Message): void {
  const isPreVote = message.type === MessageType.MsgPreVote;
  const free =
    raft.vote === message.from ||
    (raft.vote === U64_ZERO && raft.leader === U64_ZERO) ||
    (isPreVote && message.term > raft.term);
  const granted = free && raft.log.isUpToDate(message.index, message.logTerm);
  const type = isPreVote ? MessageType.MsgPreVoteResp : MessageType.MsgVoteResp;
  // A granted pre-vote answers in the term asked for: the candidate would ignore its present, lower one.
  const answer = messageTo(message.from, type, granted ? message.term : raft.term);
  answer.reject = !granted;
  if (!granted) tellCommit(raft, answer);
  raft.send(answer);
  if (granted && !isPreVote) {
    raft.electionElapsed = 0;
    raft.vote = message.from;
  }
}

/**
 * Whether a vote request is to be ignored because this member hears from a leader: nobody may depose a leader that a
 * majority hears (Raft thesis §4.2.3), unless that leader asked for it.
 */
export function heldByLease(raft: Raft, message: Message): boolean {
  return (
    !isTransferCampaign(message) &&
    raft.options.checkQuorum &&
    raft.leader !== U64_ZERO &&
    raft.electionElapsed < raft.options.electionTicks
  );
}

/** Once an election timeout: a leader that has not heard from a majority in it steps down (Raft thesis §6.2). */
export function checkQuorum(raft: Raft): void {
  const active = raft.votes;
  active.clear();
  for (const progress of raft.progress.values()) {
    if (!progress.isLearner) active.set(progress.id, progress.id === raft.id || progress.recentActive);
    progress.recentActive = progress.id === raft.id;
  }
  const result = jointVote(raft.membership.voters, raft.membership.outgoing, active);
  active.clear();
  if (result !== VOTE_WON) raft.becomeFollower(raft.term, U64_ZERO);
}

/** Whether this member is asking for votes. */
export function isCampaigning(raft: Raft): boolean {
  return raft.role === CANDIDATE || raft.role === PRE_CANDIDATE;
}
