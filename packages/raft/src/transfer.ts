import { type U64, U64_ZERO } from '@etsd/base';
import { MessageType } from '@etsd/proto';
import { messageTo } from './messages.ts';
import type { Progress } from './progress.ts';
import type { Raft } from './raft.ts';
import { sendAppend } from './replicate.ts';

/**
 * Leader: hand leadership to `to` (Raft thesis §3.10): stop taking proposals, bring its log up to date, tell it to start
 * an election at once. Given up after one election timeout. Returns whether a transfer (to that member) is under way.
 */
export function startTransfer(raft: Raft, to: U64): boolean {
  const progress = raft.progress.get(to);
  if (progress === undefined || progress.isLearner || to === raft.id) return false;
  if (raft.transferee === to) return true;
  raft.transferee = to;
  raft.electionElapsed = 0;
  if (progress.match === raft.log.lastIndex) sendTimeoutNow(raft, to);
  else sendAppend(raft, progress, true);
  return true;
}

/** The transferee acknowledged: if it has everything now, it may take over. */
export function transferIfCaughtUp(raft: Raft, progress: Progress): void {
  if (progress.id === raft.transferee && progress.match === raft.log.lastIndex) sendTimeoutNow(raft, progress.id);
}

/**
 * A leader that is no voter any more goes on leading, without counting itself, until it has brought the best of the
 * voters up to date and told it to take over (Raft thesis §4.2.2). Had it just stopped, its log could be longer than that
 * of a voter which does not know yet that the change is committed, hence still asks for this member's vote, in vain.
 */
export function handOverIfNoVoter(raft: Raft): void {
  if ((raft.self !== null && !raft.self.isLearner) || raft.transferee !== U64_ZERO) return;
  let best: Progress | null = null;
  for (const progress of raft.progress.values()) {
    if (progress.isLearner) continue;
    if (best === null || progress.match > best.match) best = progress;
  }
  if (best !== null) startTransfer(raft, best.id);
}

export function abortTransfer(raft: Raft): void {
  raft.transferee = U64_ZERO;
}

function sendTimeoutNow(raft: Raft, to: U64): void {
  raft.send(messageTo(to, MessageType.MsgTimeoutNow));
}
