import { type U64, U64_ZERO, u64ToDecimal } from '@etsd/base';
import { ConfChangeType, type ConfChangeV2, type Message, MessageType } from '@etsd/proto';
import type { Membership, Raft } from './raft.ts';

/**
 * Events in the terms of the public TLA+ trace specification of etcd's raft (`Traceetcdraft.tla`), which can check that a
 * run of several members is one that its model allows. Names and fields are those the specification reads; see
 * `docs/internals/raft-trace.md`. Ids are decimal texts there.
 */
export interface TraceEvent {
  readonly name: string;
  readonly nid: string;
  readonly state: { readonly term: number; readonly vote: string; readonly commit: number };
  readonly role: string;
  /** Last index of the log. */
  readonly log: number;
  /** Voters of the incoming and of the outgoing configuration. */
  readonly conf: readonly [readonly string[], readonly string[]];
  readonly msg?: TraceMessage;
  readonly prop?: Readonly<Record<string, unknown>>;
}

export interface TraceMessage {
  readonly type: string;
  readonly term: number;
  readonly from: string;
  readonly to: string;
  /** How many; of a snapshot the index up to which it reaches. */
  readonly entries: number;
  readonly logTerm: number;
  readonly index: number;
  readonly commit: number;
  readonly vote: string;
  readonly reject: boolean;
  readonly rejectHint: number;
}

/** Is told of every event, in order. Where members share one, the order of the events is the order of the run. */
export interface RaftTracer {
  traced(event: TraceEvent): void;
}

const ROLES = ['StateFollower', 'StatePreCandidate', 'StateCandidate', 'StateLeader'] as const;

/** Pre-votes, hand-overs and reads are not in the model. */
const SENT: ReadonlyMap<number, [type: string, sent: string, received: string]> = new Map([
  [MessageType.MsgApp, ['MsgApp', 'SendAppendEntriesRequest', 'ReceiveAppendEntriesRequest']],
  [MessageType.MsgHeartbeat, ['MsgHeartbeat', 'SendAppendEntriesRequest', 'ReceiveAppendEntriesRequest']],
  [MessageType.MsgSnap, ['MsgSnap', 'SendAppendEntriesRequest', 'ReceiveAppendEntriesRequest']],
  [MessageType.MsgAppResp, ['MsgAppResp', 'SendAppendEntriesResponse', 'ReceiveAppendEntriesResponse']],
  [MessageType.MsgHeartbeatResp, ['MsgHeartbeatResp', 'SendAppendEntriesResponse', 'ReceiveAppendEntriesResponse']],
  [MessageType.MsgVote, ['MsgVote', 'SendRequestVoteRequest', 'ReceiveRequestVoteRequest']],
  [MessageType.MsgVoteResp, ['MsgVoteResp', 'SendRequestVoteResponse', 'ReceiveRequestVoteResponse']],
]);

const ACTIONS: ReadonlyMap<number, string> = new Map([
  [ConfChangeType.ConfChangeAddNode, 'AddNewServer'],
  [ConfChangeType.ConfChangeRemoveNode, 'RemoveServer'],
  [ConfChangeType.ConfChangeAddLearnerNode, 'AddLearner'],
]);

/** Tells of a change of the member itself. All of these are only called where there is a tracer. */
export function traceState(raft: Raft, name: string): void {
  emit(raft, name, undefined, undefined);
}

export function traceSent(raft: Raft, message: Message): void {
  const names = SENT.get(message.type);
  if (names === undefined) return;
  const progress = message.type === MessageType.MsgApp ? raft.progress.get(raft.id) : undefined;
  const prop = progress === undefined ? undefined : { match: progress.match, next: progress.next };
  emit(raft, names[1], traceMessage(message, names[0]), prop);
}

export function traceReceived(raft: Raft, message: Message): void {
  const names = SENT.get(message.type);
  if (names !== undefined) emit(raft, names[2], traceMessage(message, names[0]), undefined);
}

/** A membership change enters the leader's log. One that only leaves a joint configuration is not an event. */
export function traceChange(raft: Raft, change: ConfChangeV2): void {
  const changes: { nid: string; action: string }[] = [];
  for (const { type, nodeId } of change.changes) {
    const action = ACTIONS.get(type);
    if (action !== undefined) changes.push({ nid: u64ToDecimal(nodeId), action });
  }
  if (changes.length > 0) emit(raft, 'ChangeConf', undefined, { cc: { changes } });
}

/**
 * The founders of a new cluster. Here they take effect when their entries are applied, as any change; the model has them
 * from the start.
 */
export function traceFounders(raft: Raft, founders: readonly U64[]): void {
  for (let count = 1; count <= founders.length; count++) {
    const newconf = founders.slice(0, count).map(u64ToDecimal);
    emit(raft, 'ApplyConfChange', undefined, { cc: { newconf } });
  }
}

/** A configuration is about to take effect. */
export function traceApplied(raft: Raft, next: Membership): void {
  emit(raft, 'ApplyConfChange', undefined, { cc: { newconf: next.voters.map(u64ToDecimal) } });
}

function emit(raft: Raft, name: string, msg: TraceMessage | undefined, prop: TraceEvent['prop']): void {
  const { term, vote, log, membership, role } = raft;
  raft.tracer?.traced({
    name,
    nid: u64ToDecimal(raft.id),
    state: { term, vote: u64ToDecimal(vote), commit: log.committed },
    role: ROLES[role],
    log: log.lastIndex,
    conf: [membership.voters.map(u64ToDecimal), membership.outgoing.map(u64ToDecimal)],
    ...(msg === undefined ? {} : { msg }),
    ...(prop === undefined ? {} : { prop }),
  });
}

function traceMessage(message: Message, type: string): TraceMessage {
  const snapshot = message.type === MessageType.MsgSnap ? (message.snapshot?.metadata ?? null) : null;
  return {
    type,
    term: message.term,
    from: u64ToDecimal(message.from),
    to: u64ToDecimal(message.to),
    // The model knows a snapshot as an append of the whole log up to its index.
    entries: snapshot === null ? message.entries.length : snapshot.index,
    logTerm: snapshot === null ? message.logTerm : 0,
    index: snapshot === null ? message.index : 0,
    commit: message.commit,
    vote: u64ToDecimal(U64_ZERO),
    reject: message.reject,
    rejectHint: message.rejectHint,
  };
}
