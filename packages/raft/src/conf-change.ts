import { type U64, U64_ZERO } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfChangeV2,
  type ConfState,
  type Entry,
  EntryType,
} from '@etsd/proto';
import { membershipOf } from './conf-state.ts';
import { Progress } from './progress.ts';
import { LEADER, Membership, type Raft } from './raft.ts';
import { maybeCommit } from './replicate.ts';
import { traceApplied } from './trace.ts';
import { abortTransfer, handOverIfNoVoter } from './transfer.ts';

/** A change that cannot be made to the configuration it meets. It should have been refused before it was proposed. */
export class ConfChangeError extends Error {
  override readonly name = 'ConfChangeError';
}

/** The change in an entry, whichever of the two forms it has. */
export function confChangeOf(entry: Entry): ConfChangeV2 {
  if (entry.type === EntryType.EntryConfChangeV2) return ConfChangeV2.decode(entry.data);
  return confChangeV2Of(ConfChange.decode(entry.data));
}

export function confChangeV2Of(change: ConfChange): ConfChangeV2 {
  const single = new ConfChangeSingle();
  single.type = change.type;
  single.nodeId = change.nodeId;
  const wide = new ConfChangeV2();
  wide.changes.push(single);
  wide.context = change.context;
  return wide;
}

/** Whether a change ends a joint configuration: it names nobody. */
export function leavesJoint(change: ConfChangeV2): boolean {
  return change.changes.length === 0 && change.transition === ConfChangeTransition.ConfChangeTransitionAuto;
}

function entersJoint(change: ConfChangeV2): boolean {
  return change.changes.length > 1 || change.transition !== ConfChangeTransition.ConfChangeTransitionAuto;
}

/** The configuration `change` makes of `from`, which stays as it is. */
export function changedMembership(from: Membership, change: ConfChangeV2): Membership {
  const next = copyOf(from);
  if (leavesJoint(change)) return left(next);
  if (from.outgoing.length > 0) throw new ConfChangeError('a joint configuration must be left before another change');
  if (entersJoint(change)) {
    if (next.voters.length === 0) throw new ConfChangeError('a configuration without voters cannot become joint');
    next.outgoing = [...next.voters];
    next.autoLeave = change.transition !== ConfChangeTransition.ConfChangeTransitionJointExplicit;
  }
  for (const single of change.changes) if (single.nodeId !== U64_ZERO) make(next, single);
  if (next.voters.length === 0) throw new ConfChangeError('the last voter must not be removed');
  if (next.outgoing.length === 0 && difference(from.voters, next.voters) > 1) {
    throw new ConfChangeError('more than one voter changed outside of a joint configuration');
  }
  return next;
}

function make(next: Membership, change: ConfChangeSingle): void {
  const id = change.nodeId;
  switch (change.type) {
    case ConfChangeType.ConfChangeAddNode:
      drop(next.learners, id);
      drop(next.learnersNext, id);
      insert(next.voters, id);
      return;
    case ConfChangeType.ConfChangeAddLearnerNode:
      drop(next.voters, id);
      // A voter of the outgoing half keeps its vote until that half is gone (Raft thesis §4.3).
      if (next.outgoing.includes(id)) insert(next.learnersNext, id);
      else insert(next.learners, id);
      return;
    case ConfChangeType.ConfChangeRemoveNode:
      drop(next.voters, id);
      drop(next.learners, id);
      drop(next.learnersNext, id);
      return;
    case ConfChangeType.ConfChangeUpdateNode:
      return;
    default:
      throw new ConfChangeError(`unknown kind of membership change ${change.type}`);
  }
}

function left(next: Membership): Membership {
  if (next.outgoing.length === 0) throw new ConfChangeError('there is no joint configuration to leave');
  for (const id of next.learnersNext) insert(next.learners, id);
  next.learnersNext = [];
  next.outgoing = [];
  next.autoLeave = false;
  return next;
}

function copyOf(from: Membership): Membership {
  const copy = new Membership();
  copy.voters = [...from.voters];
  copy.outgoing = [...from.outgoing];
  copy.learners = [...from.learners];
  copy.learnersNext = [...from.learnersNext];
  copy.autoLeave = from.autoLeave;
  return copy;
}

function insert(list: U64[], id: U64): void {
  if (list.includes(id)) return;
  list.push(id);
  list.sort();
}

function drop(list: U64[], id: U64): void {
  const place = list.indexOf(id);
  if (place >= 0) list.splice(place, 1);
}

/** How many members are in one list and not in the other. */
function difference(before: readonly U64[], after: readonly U64[]): number {
  let count = 0;
  for (const id of before) if (!after.includes(id)) count++;
  for (const id of after) if (!before.includes(id)) count++;
  return count;
}

/** Takes a change whose entry is being applied. Every member does this at the same index. */
export function applyConfChange(raft: Raft, change: ConfChangeV2): void {
  switchTo(raft, changedMembership(raft.membership, change));
}

/** Starts from a configuration as stored: at start, or with a snapshot. */
export function restoreMembership(raft: Raft, state: ConfState): void {
  raft.progress = new Map();
  switchTo(raft, membershipOf(state));
}

function switchTo(raft: Raft, next: Membership): void {
  if (raft.tracer !== null) traceApplied(raft, next);
  raft.membership = next;
  trackMembers(raft, next);
  if (raft.role !== LEADER) return;
  // A smaller quorum may commit what the larger did not; a new member is to be sent what it lacks.
  maybeCommit(raft);
  raft.broadcastPending = true;
  if (raft.transferee !== U64_ZERO) {
    const progress = raft.progress.get(raft.transferee);
    if (progress === undefined || progress.isLearner) abortTransfer(raft);
  }
  handOverIfNoVoter(raft);
}

/** Gives every member of the configuration its progress, in order of ids, and keeps what is known of those that stay. */
function trackMembers(raft: Raft, next: Membership): void {
  const ids = [...new Set([...next.voters, ...next.outgoing, ...next.learners])].sort();
  const kept = raft.progress;
  const tracked = new Map<U64, Progress>();
  for (const id of ids) {
    const isLearner = next.learners.includes(id);
    const known = kept.get(id);
    if (known !== undefined) known.isLearner = isLearner;
    tracked.set(id, known ?? newProgress(raft, id, isLearner));
  }
  raft.progress = tracked;
  raft.self = tracked.get(raft.id) ?? null;
  raft.isLearner = raft.self?.isLearner ?? false;
}

function newProgress(raft: Raft, id: U64, isLearner: boolean): Progress {
  const { inflightMax, inflightBytesMax } = raft.options;
  const progress = new Progress(id, Math.max(raft.log.lastIndex, 1), isLearner, inflightMax, inflightBytesMax);
  // It has not had a chance to speak yet; without this the next quorum check could fail because of it.
  progress.recentActive = true;
  if (id === raft.id) {
    progress.match = raft.log.stable;
    progress.next = raft.log.lastIndex + 1;
  }
  return progress;
}
