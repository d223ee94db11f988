import { type Entry, EntryType, type Message, MessageType, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import { confStateOf } from './conf-state.ts';
import { entryBytes } from './log.ts';
import { messageTo } from './messages.ts';
import { PROBE, type Progress, REPLICATE, SNAPSHOT } from './progress.ts';
import type { Raft } from './raft.ts';
import { releaseReadsBeforeCommit } from './read-index.ts';
import { traceReceived, traceSent, traceState } from './trace.ts';

/** Gives an entry its place at the end of the leader's log. Followers are told at the next hand-out, all at once. */
export function appendAsLeader(raft: Raft, entry: Entry): void {
  entry.term = raft.term;
  entry.index = raft.log.lastIndex + 1;
  if (raft.tracer !== null && entry.type === EntryType.EntryNormal) traceState(raft, 'Replicate');
  raft.log.push(entry);
  if (raft.tracer !== null) traceSent(raft, ownAcknowledgement(raft, entry.index));
  if (raft.self !== null) raft.self.next = entry.index + 1;
  raft.broadcastPending = true;
}

/** Tells every follower what it does not know yet. Called before each hand-out, so that a turn's entries travel together. */
export function broadcastAppends(raft: Raft): void {
  raft.broadcastPending = false;
  if (raft.progress.size <= 1) return;
  raft.isBroadcasting = true;
  for (const progress of raft.progress.values()) if (progress.id !== raft.id) sendAppends(raft, progress);
  raft.isBroadcasting = false;
  raft.shared = null;
}

/**
 * The entries from `from` on, as many as one append takes. During a broadcast followers that are equally far get the same
 * array, so that whoever sends it may encode it once.
 */
function entriesFrom(raft: Raft, progress: Progress): Entry[] {
  const { shared, log } = raft;
  const from = progress.next;
  if (progress.isBehind) return log.slice(from, progress.pieceBytes || raft.options.pieceBytes);
  if (shared !== null && (shared[0] as Entry).index === from) return shared;
  const entries = log.slice(from, raft.options.appendBytesMax);
  if (raft.isBroadcasting) raft.shared = entries;
  return entries;
}

const NO_ENTRIES: readonly Entry[] = [];

/** As many appends as the follower's window takes; an empty one where only the commit index is news. */
export function sendAppends(raft: Raft, progress: Progress): void {
  const tellable = Math.min(raft.log.committed, progress.next - 1);
  const isNews = progress.sentCommit < tellable;
  const mayWait = isNews && raft.delaysCommits && !isCommitAwaited(raft, progress);
  let sent = sendAppend(raft, progress, isNews && !mayWait);
  if (mayWait && !sent) raft.hasUntoldCommit = true;
  while (sent && progress.state === REPLICATE && progress.next <= raft.log.lastIndex) {
    sent = sendAppend(raft, progress, false);
  }
}

/** Whether the follower is to hear of the commit index at once: for a client of its own, or for a change of members. */
function isCommitAwaited(raft: Raft, progress: Progress): boolean {
  return (
    progress.state !== REPLICATE ||
    progress.awaitedCommit > progress.sentCommit ||
    raft.pendingConfIndex > progress.sentCommit
  );
}

/**
 * Sends the next append, or the snapshot where the entries it needs are gone. Returns whether anything was sent; without
 * entries only if `evenEmpty`.
 */
export function sendAppend(raft: Raft, progress: Progress, evenEmpty: boolean): boolean {
  if (progress.state === SNAPSHOT || progress.paused) return false;
  const log = raft.log;
  const previous = progress.next - 1;
  const previousTerm = log.termAt(previous);
  if (previousTerm < 0) return sendSnapshot(raft, progress);
  // Through a full window, or before a follower that is behind may go on, only an empty append goes: it tells the commit index and finds out about losses.
  const blocked = progress.state === REPLICATE && (progress.inflights.full || isHeldBack(raft, progress));
  const entries = blocked || previous === log.lastIndex ? NO_ENTRIES : entriesFrom(raft, progress);
  if (entries.length === 0 && !evenEmpty) return false;
  const message = messageTo(progress.id, MessageType.MsgApp);
  message.index = previous;
  message.logTerm = previousTerm;
  if (entries.length > 0) message.entries = entries as Entry[];
  message.commit = log.committed;
  raft.send(message);
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  progress.sent(entries.length, bytes, Math.min(log.committed, previous + entries.length));
  return true;
}

/**
 * Whether the follower is to have no more for now. Where it is silent, a piece waits for it already: with more it would
 * come back from a pause to work that keeps others from theirs. Where it is behind, it rests, or has a piece that it
 * did not answer; it stays behind until all is sent.
 */
function isHeldBack(raft: Raft, progress: Progress): boolean {
  if (progress.isSilent && progress.inflights.bytes >= raft.options.pieceBytes) return true;
  const unsent = raft.log.lastIndex - progress.next + 1;
  progress.isBehind = raft.paces && unsent > (progress.isBehind ? 0 : raft.options.behindEntries);
  return progress.isBehind && (progress.isResting || progress.inflights.count > 0);
}

/**
 * The follower needs what is compacted (paper §7). The message names the position only: the sender of snapshots above
 * fills in the data, of that position or a later one.
 */
function sendSnapshot(raft: Raft, progress: Progress): boolean {
  if (!progress.recentActive) return false;
  const message = messageTo(progress.id, MessageType.MsgSnap);
  const snapshot = new RaftSnapshot();
  const metadata = new SnapshotMetadata();
  metadata.index = raft.log.applied;
  metadata.term = raft.log.termAt(raft.log.applied);
  metadata.confState = confStateOf(raft.membership);
  snapshot.metadata = metadata;
  message.snapshot = snapshot;
  progress.becomeSnapshot(metadata.index);
  raft.send(message);
  return true;
}

/** The model of the trace has leaders acknowledge their own entries by a message; here it needs none. */
function ownAcknowledgement(raft: Raft, index: number): Message {
  const message = messageTo(raft.id, MessageType.MsgAppResp, raft.term);
  message.from = raft.id;
  message.index = index;
  return message;
}

/** Moves the commit index to what a majority has of this term (paper §5.3, §5.4.2). Returns whether it moved. */
export function maybeCommit(raft: Raft): boolean {
  const index = raft.majorityMatch();
  const log = raft.log;
  const moves = index > log.committed && log.termAt(index) === raft.term;
  if (moves) log.commitTo(index);
  if (raft.tracer !== null) traceState(raft, 'Commit');
  if (!moves) return false;
  raft.broadcastPending = true;
  if (raft.readsBeforeCommit.length > 0) releaseReadsBeforeCommit(raft);
  return true;
}

/** The leader's own log became durable up to `log.stable`: that is its acknowledgement to itself. */
export function acknowledgeSelf(raft: Raft): void {
  const self = raft.self;
  if (self === null) return;
  const { log } = raft;
  if (raft.tracer !== null && log.termAt(log.stable) === raft.term) {
    traceReceived(raft, ownAcknowledgement(raft, log.stable));
  }
  if (self.acknowledged(raft.log.stable)) maybeCommit(raft);
}

/** Sends heartbeats; `context` asks for the confirmation of a read round. The commit index never exceeds what is there. */
export function broadcastHeartbeats(raft: Raft, context: Buffer): void {
  for (const progress of raft.progress.values()) {
    if (progress.id === raft.id) continue;
    const message = messageTo(progress.id, MessageType.MsgHeartbeat);
    message.commit = Math.min(progress.match, raft.log.committed);
    message.context = context;
    if (message.commit > progress.sentCommit) progress.sentCommit = message.commit;
    raft.send(message);
  }
}

/** Follower: takes entries, or says where its log may agree (paper §5.3). */
export function handleAppend(raft: Raft, message: Message): void {
  const log = raft.log;
  const answer = messageTo(message.from, MessageType.MsgAppResp);
  if (message.index < log.committed) {
    // An old append; what is committed is the same everywhere.
    answer.index = log.committed;
  } else if (log.matches(message.index, message.logTerm)) {
    const last = log.merge(message.index, message.entries);
    log.commitTo(Math.min(message.commit, last));
    answer.index = last;
  } else {
    const hint = log.lastWithTermAtMost(Math.min(message.index, log.lastIndex), message.logTerm);
    answer.index = message.index;
    answer.reject = true;
    answer.rejectHint = hint;
    answer.logTerm = Math.max(log.termAt(hint), 0);
  }
  raft.send(answer);
}

export function handleHeartbeat(raft: Raft, message: Message): void {
  raft.log.commitTo(message.commit);
  const answer = messageTo(message.from, MessageType.MsgHeartbeatResp);
  answer.context = message.context;
  raft.send(answer);
}

/** Leader: a follower has, or refused, an append. */
export function handleAppendResponse(raft: Raft, progress: Progress, message: Message): void {
  progress.recentActive = true;
  if (message.reject) {
    handleRejection(raft, progress, message);
    return;
  }
  const wasPaused = progress.isPaused;
  const isNews = progress.acknowledged(message.index);
  // A probe that was answered ends probing even when the answer moved nothing.
  const endsProbe = progress.state === PROBE && progress.match === message.index;
  if (!isNews && !endsProbe) return;
  if (progress.state === PROBE) progress.becomeReplicate();
  else if (progress.state === SNAPSHOT && progress.match + 1 > raft.log.base) progress.becomeReplicate();
  else if (progress.state === REPLICATE) progress.inflights.freeTo(message.index);
  if (progress.isBehind && progress.inflights.count === 0) {
    progress.isResting = true;
    raft.hasResting = true;
  }
  if (maybeCommit(raft)) {
    // All followers, this one included, are served at the next hand-out.
  } else if (wasPaused || progress.next <= raft.log.lastIndex) {
    raft.broadcastPending = true;
  }
}

/** Skips back over whole terms: the follower said what it has, our own log says where that may be (paper §5.3). */
function handleRejection(raft: Raft, progress: Progress, message: Message): void {
  let hint = message.rejectHint;
  if (message.logTerm > 0) hint = raft.log.lastWithTermAtMost(hint, message.logTerm);
  if (!progress.rejected(message.index, hint)) return;
  if (progress.state === REPLICATE) progress.becomeProbe();
  sendAppend(raft, progress, true);
}

/** Leader: a follower is alive. If it lacks entries, one more append finds out whether something was lost. */
export function handleHeartbeatResponse(raft: Raft, progress: Progress): void {
  progress.recentActive = true;
  progress.paused = false;
  if (progress.match < raft.log.lastIndex || progress.state === PROBE) sendAppend(raft, progress, true);
}

/** Leader: a message to the follower may be lost; ask before going on. */
export function handleUnreachable(progress: Progress): void {
  if (progress.state === REPLICATE) progress.becomeProbe();
}

/** Leader: the snapshot was installed or could not be sent. Either way the next append tells where the follower is. */
export function handleSnapshotStatus(progress: Progress, failed: boolean): void {
  if (progress.state !== SNAPSHOT) return;
  if (failed) progress.pendingSnapshot = 0;
  progress.becomeProbe();
  // Wait for the follower's own answer, or the next heartbeat.
  progress.paused = true;
}
