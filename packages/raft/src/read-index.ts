import { EMPTY, type U64, U64_ZERO } from '@etsd/base';
import { type Message, MessageType } from '@etsd/proto';
import { entryOf, messageTo } from './messages.ts';
import { jointVote, VOTE_WON } from './quorum.ts';
import { type Raft, ReadState } from './raft.ts';
import type { ReadRound } from './read-rounds.ts';

/** The name of the youngest waiting round, which every heartbeat carries: confirming it confirms all before it. */
export function waitingContext(raft: Raft): Buffer {
  return raft.reads.last?.heartbeat ?? EMPTY;
}

/**
 * Leader: a read that must see everything committed before it (Raft thesis §6.4). `message.from` is zero or this member
 * for its own, otherwise the follower which forwarded it.
 */
export function handleReadIndex(raft: Raft, message: Message): void {
  if (raft.hasCommittedInTerm) startRound(raft, message);
  else raft.readsBeforeCommit.push(message);
}

/** Heartbeats go out at the next hand-out: one for all rounds that start in a turn. */
function startRound(raft: Raft, message: Message): void {
  const context = contextOf(message);
  if (raft.isOnlyVoter) {
    answer(raft, message, context, raft.log.committed);
    return;
  }
  const round = raft.reads.add(context, raft.log.committed, message);
  if (round === null) return;
  round.confirmed.set(raft.id, true);
  raft.heartbeatPending = true;
}

/** The first entry of the term is committed: the reads that waited for it may ask now. */
export function releaseReadsBeforeCommit(raft: Raft): void {
  const waiting = raft.readsBeforeCommit;
  raft.readsBeforeCommit = [];
  for (const message of waiting) startRound(raft, message);
}

/** Leader: a follower still takes us for the leader. When a majority does, the round and all before it are answered. */
export function confirmRead(raft: Raft, message: Message): void {
  if (message.context.length === 0) return;
  const round = raft.reads.confirm(message.from, message.context);
  if (round !== null) finishIfConfirmed(raft, round);
}

function finishIfConfirmed(raft: Raft, round: ReadRound): void {
  if (jointVote(raft.membership.voters, raft.membership.outgoing, round.confirmed) !== VOTE_WON) return;
  for (const done of raft.reads.takeThrough(round)) {
    if (done.request !== null) answer(raft, done.request, done.context, done.index);
  }
}

function answer(raft: Raft, request: Message, context: Buffer, index: number): void {
  const reader: U64 = request.from;
  if (reader === U64_ZERO || reader === raft.id) {
    raft.readStates.push(new ReadState(index, context));
    return;
  }
  const message = messageTo(reader, MessageType.MsgReadIndexResp);
  message.index = index;
  message.entries = request.entries;
  raft.send(message);
  // The reader waits until that is applied there, hence until it is known there to be committed.
  const progress = raft.progress.get(reader);
  if (progress === undefined || progress.sentCommit >= index) return;
  progress.awaitedCommit = Math.max(progress.awaitedCommit, index);
  raft.broadcastPending = true;
}

/** Follower: the leader's answer to a forwarded read. */
export function handleReadIndexResponse(raft: Raft, message: Message): void {
  if (message.entries.length !== 1) return;
  raft.readStates.push(new ReadState(message.index, contextOf(message)));
}

/** A request for a read, as it travels: the context is the data of its one entry. */
export function readIndexMessage(context: Buffer): Message {
  const message = messageTo(U64_ZERO, MessageType.MsgReadIndex);
  message.entries.push(entryOf(0, context));
  return message;
}

function contextOf(message: Message): Buffer {
  return message.entries[0]?.data ?? EMPTY;
}
