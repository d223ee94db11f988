import { type U64, U64_ZERO } from '@etsd/base';
import { type Entry, type Message, MessageType } from '@etsd/proto';
import { type RaftOptions, validateOptions } from './config.ts';
import { RaftLog } from './log.ts';
import type { Progress } from './progress.ts';
import { jointIndex } from './quorum.ts';
import { ReadRounds } from './read-rounds.ts';
import { type RaftTracer, traceSent, traceState } from './trace.ts';

export const FOLLOWER = 0;
export const PRE_CANDIDATE = 1;
export const CANDIDATE = 2;
export const LEADER = 3;
export type Role = typeof FOLLOWER | typeof PRE_CANDIDATE | typeof CANDIDATE | typeof LEADER;

export const ROLE_NAMES = ['follower', 'pre-candidate', 'candidate', 'leader'] as const;

/** Who takes part. `outgoing` is filled only while two configurations are joint (Raft thesis §4.3). Lists are sorted. */
export class Membership {
  voters: U64[] = [];
  outgoing: U64[] = [];
  learners: U64[] = [];
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  learnersNext: U64[] = [];
  /** Leave the joint configuration without being asked. */
  autoLeave = false;
}

/** A read may be served once the state is applied up to `index`; `context` is what the reader gave. */
export class ReadState {
  readonly index: number;
  readonly context: Buffer;

  constructor(index: number, context: Buffer) {
    this.index = index;
    this.context = context;
  }
}

/**
 * The state of one member (Raft paper, figure 2). The functions of `election`, `replicate`, `read-index`, `transfer` and
 * `conf-change` act on it, `step` decides which; nothing here calls out: what is to be sent, stored or applied is left
 * in `outbox`, `log` and `readStates`, and the driver fetches it through `RawNode`.
 */
export class Raft {
  readonly id: U64;
  readonly options: RaftOptions;
  readonly log: RaftLog = new RaftLog();
  readonly tracer: RaftTracer | null;

  /** Never lowered. Durable before anything that promises it leaves. */
  term = 0;
  /** Whom this member voted for in `term`; zero: nobody. */
  vote: U64 = U64_ZERO;
  role: Role = FOLLOWER;
  /** The leader of `term` as far as known; zero: none. */
  leader: U64 = U64_ZERO;

  membership: Membership = new Membership();
  /** One for each member of the configuration, this one included; ordered by id. */
  progress: Map<U64, Progress> = new Map();
  /** Whether this member is a learner. */
  isLearner = false;

  /** Answers of the election under way: granted or refused. */
  readonly votes: Map<U64, boolean> = new Map();
  /** Messages that may leave at once. */
  outbox: Message[] = [];
  /** Messages that may leave when everything in the log and the hard state is durable; those to itself are stepped. */
  outboxAfterWrite: Message[] = [];
  readStates: ReadState[] = [];

  /** Ticks since the last sign of a leader; on a leader: since the last quorum check. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** Drawn from [electionTicks, 2·electionTicks) for each term and role. */
  electionTimeout = 0;

  /** Index of the last configuration change that may not be applied yet. While it is above `applied` no other starts. */
  pendingConfIndex = 0;
  /** To whom leadership is being handed; zero: nobody. Proposals are refused meanwhile. */
  transferee: U64 = U64_ZERO;
  /** Proposals of other members that came while nobody takes any: for the next leader, or for this one again. */
  heldProposals: Message[] = [];
  /** The leader asked this member to take over, and a membership change must be applied before it may campaign. */
  takeOverPending = false;
  /** This member must not lead at present: its driver says that its disk hangs. */
  abstains = false;
  /** The log or the commit index moved: followers are to be told before the next hand-out. */
  broadcastPending = false;
  /** A commit index that nobody waits for need not be told at once; see `RawNode.delayCommits`. */
  delaysCommits = false;
  /** The commit index was not told to somebody, as nobody waits for it there. */
  hasUntoldCommit = false;
  /** Followers that lack a lot get it piece by piece, and rest between; see `RawNode.pace`. */
  paces = false;
  /** One of them has come to rest, and nobody took notice yet. */
  hasResting = false;
  /** Followers are being told, and these are the entries that the last of them was sent; see `entriesFrom`. */
  isBroadcasting = false;
  shared: Entry[] | null = null;
  readonly reads: ReadRounds = new ReadRounds();
  /** A read round waits for heartbeats that are to go out before the next hand-out. */
  heartbeatPending = false;
  /** Reads that came before the leader committed in its term. */
  readsBeforeCommit: Message[] = [];
  /** Self's progress while this member is in the configuration. Kept apart for speed. */
  self: Progress | null = null;

  constructor(options: RaftOptions) {
    validateOptions(options);
    this.id = options.id;
    this.options = options;
    this.tracer = options.tracer ?? null;
  }

  /** Whether this member may start an election. */
  get promotable(): boolean {
    return this.self !== null && !this.self.isLearner && this.log.pendingSnapshot === null && !this.abstains;
  }

  /** Whether this member alone decides. */
  get isOnlyVoter(): boolean {
    const { voters, outgoing } = this.membership;
    return outgoing.length === 0 && voters.length === 1 && voters[0] === this.id;
  }

  get isJoint(): boolean {
    return this.membership.outgoing.length > 0;
  }

  /** Whether an entry of the leader's own term is committed; until then its commit index may be old (paper §8). */
  get hasCommittedInTerm(): boolean {
    return this.log.termAt(this.log.committed) === this.term;
  }

  /** Queues a message; one that is passed on keeps its sender. Answers that promise something stored wait for the disk. */
  send(message: Message): void {
    if (message.from === U64_ZERO) message.from = this.id;
    const type = message.type;
    if (message.term === 0 && type !== MessageType.MsgProp && type !== MessageType.MsgReadIndex) {
      message.term = this.term;
    }
    if (this.tracer !== null) traceSent(this, message);
    if (type === MessageType.MsgAppResp || type === MessageType.MsgVoteResp || type === MessageType.MsgPreVoteResp) {
      this.outboxAfterWrite.push(message);
    } else {
      this.outbox.push(message);
    }
  }

  /** Start of a term or a role: forget what belonged to the one before. */
  reset(term: number): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = U64_ZERO;
    }
    this.leader = U64_ZERO;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.electionTimeout = this.options.electionTicks + this.options.draw(this.options.electionTicks);
    this.transferee = U64_ZERO;
    this.takeOverPending = false;
    this.votes.clear();
    for (const progress of this.progress.values()) {
      progress.reset(progress.id === this.id ? this.log.stable : 0, this.log.lastIndex);
    }
    this.pendingConfIndex = 0;
    this.broadcastPending = false;
    this.heartbeatPending = false;
    this.hasUntoldCommit = false;
    this.reads.clear();
    this.readsBeforeCommit = [];
  }

  becomeFollower(term: number, leader: U64): void {
    this.reset(term);
    this.role = FOLLOWER;
    this.leader = leader;
    if (this.tracer !== null) traceState(this, 'BecomeFollower');
  }

  /** Asks whether an election could be won; neither term nor vote change. */
  becomePreCandidate(): void {
    this.votes.clear();
    this.role = PRE_CANDIDATE;
    this.leader = U64_ZERO;
    this.electionElapsed = 0;
  }

  becomeCandidate(): void {
    this.reset(this.term + 1);
    this.role = CANDIDATE;
    this.vote = this.id;
    if (this.tracer !== null) traceState(this, 'BecomeCandidate');
  }

  /** Highest index a majority has; the commit index follows only for entries of this term (paper §5.4.2). */
  majorityMatch(): number {
    const { voters, outgoing } = this.membership;
    if (this.self !== null && voters.length === 1 && outgoing.length === 0 && voters[0] === this.id) {
      return this.self.match;
    }
    return jointIndex(voters, outgoing, this.matchOf);
  }

  private readonly matchOf = (id: U64): number => this.progress.get(id)?.match ?? 0;
}
