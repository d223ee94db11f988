import { type Message, MessageType, type RaftSnapshot } from '@etsd/proto';
import { restoreMembership } from './conf-change.ts';
import { messageTo } from './messages.ts';
import { FOLLOWER, type Raft } from './raft.ts';

/** Follower: replaces the log by a snapshot, unless the log already has all of it (paper §7). */
export function handleSnapshot(raft: Raft, message: Message): void {
  const answer = messageTo(message.from, MessageType.MsgAppResp);
  const snapshot = message.snapshot;
  const isInstalled = snapshot !== null && restoreSnapshot(raft, snapshot);
  answer.index = isInstalled ? raft.log.lastIndex : raft.log.committed;
  raft.send(answer);
}

/** Returns false where the snapshot brings nothing, or is none of this member's business. */
function restoreSnapshot(raft: Raft, snapshot: RaftSnapshot): boolean {
  const metadata = snapshot.metadata;
  const state = metadata?.confState ?? null;
  if (metadata === null || state === null || raft.role !== FOLLOWER) return false;
  const { index, term } = metadata;
  const log = raft.log;
  if (index <= log.committed) return false;
  // One at a time: were each younger one taken as well, the member would install for ever and never be up to date.
  if (log.pendingSnapshot !== null) return false;
  // A snapshot of a cluster this member is not part of: it must not forget its log for that.
  const { voters, learners, votersOutgoing } = state;
  if (!voters.includes(raft.id) && !learners.includes(raft.id) && !votersOutgoing.includes(raft.id)) return false;
  if (log.matches(index, term)) {
    // The log has it all: it only did not know that it is committed.
    log.commitTo(index);
    return false;
  }
  log.restore(snapshot, index, term);
  restoreMembership(raft, state);
  return true;
}
