import { errorFrom, type Logger, type U64, U64_ZERO, u64ToHex } from '@etsd/base';
import { type ConfState, Message, MessageType, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import type { ReplicationNode } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import type { PeerRequests } from '../duties/member-versions.ts';

/** Where a member in quarantine asks another one for its state. */
export const SNAPSHOT_PATH = '/etsd/snapshot';

/** Marks a snapshot that was asked for here: raft never sees it. */
const CONTEXT = Buffer.from('etsd: for a member in quarantine');

const REQUEST_TIMEOUT_MS = 5000;
/** How often the way of a snapshot is looked at. */
const LOOK_MS = 500;
/** An attempt is given up where nothing has come for so long. */
const SILENCE_MS = 120_000;
/** Entries that may wait to be applied meanwhile; with more the attempt is given up, for they wait in memory. */
const BACKLOG_MAX = 200_000;
/** Pauses between attempts: doubled from the first to the last. */
const PAUSE_MIN_MS = 1000;
const PAUSE_MAX_MS = 60_000;

export interface ResyncParts {
  readonly world: Pick<World, 'clock' | 'timers'>;
  readonly logger: Logger;
  readonly memberId: U64;
  readonly replication: Pick<
    ReplicationNode,
    | 'appliedIndex'
    | 'commitIndex'
    | 'holdApplying'
    | 'isLeader'
    | 'leader'
    | 'resumeApplying'
    | 'term'
    | 'transferAndWait'
  >;
  readonly electionMs: number;
  readonly peers: PeerRequests & { send(messages: readonly Message[]): void };
  /** The other members. */
  readonly others: () => readonly U64[];
  /** When the last bytes of a snapshot came. */
  readonly receivedAtMs: () => number;
  /** Puts a received snapshot, of the index at which applying is held, in place of the state. */
  readonly install: (snapshot: RaftSnapshot, done: (error: Error | null) => void) => void;
  /** The state is another member's. */
  readonly healed: () => Promise<void>;
  /** Going on is unsafe. */
  readonly fail: (error: unknown) => void;
}

/**
 * Gives a member in quarantine the state of another one, while its own log goes on:
 *
 * ```
 *   hold applying at A ─▶ ask ─▶ snapshot of index S arrives ─▶ S ≥ A: apply up to S, exchange the state, go on behind S
 *                          ▲                    S < A, silence │
 *                          └── the next member, after a pause ─┘
 * ```
 * Since the exchange is made at the very index of the snapshot, raft and the log need not know of it.
 */
export class Resync {
  /** States taken from other members since the start. */
  healedTotal = 0;
  private readonly parts: ResyncParts;
  private isRunning = false;
  private isStopped = false;
  private failures = 0;
  private arrived: ((snapshot: RaftSnapshot) => void) | null = null;

  constructor(parts: ResyncParts) {
    this.parts = parts;
  }

  /** Begins; goes on until the state is replaced. */
  start(): void {
    if (this.isRunning || this.isStopped) return;
    this.isRunning = true;
    this.run().then(
      () => {
        this.isRunning = false;
      },
      (error: unknown) => this.parts.fail(error),
    );
  }

  stop(): void {
    this.isStopped = true;
  }

  /** Whether the message is a snapshot that was asked for here; raft must not get it then. */
  takes(message: Message): boolean {
    if (message.type !== MessageType.MsgSnap || !CONTEXT.equals(message.context)) return false;
    const { snapshot } = message;
    if (snapshot !== null) this.arrived?.(snapshot);
    return true;
  }

  /** Sends this member's state to another one that asked for it. */
  sendTo(member: U64, confState: ConfState): void {
    const { memberId, peers, replication } = this.parts;
    const message = new Message();
    message.type = MessageType.MsgSnap;
    message.to = member;
    message.from = memberId;
    message.term = replication.term;
    message.context = CONTEXT;
    const metadata = SnapshotMetadata.create({ index: replication.appliedIndex, term: replication.term, confState });
    message.snapshot = RaftSnapshot.create({ metadata });
    peers.send([message]);
  }

  private async run(): Promise<void> {
    const { electionMs, logger, replication } = this.parts;
    while (!this.isStopped) {
      if (replication.isLeader) {
        // Others must not wait for a leader that answers nobody.
        await replication.transferAndWait(electionMs);
      }
      if (!replication.isLeader && replication.leader !== U64_ZERO) {
        const failure = await this.attempt(this.source());
        if (failure === '' || this.isStopped) return;
        replication.resumeApplying();
        logger.log('warn', 'failed to take the state of another member; another attempt follows', { error: failure });
      }
      const pause = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(this.failures++, 10));
      await this.pause(pause);
    }
  }

  /** The leader first, then the others in turn. */
  private source(): U64 {
    const { others, replication } = this.parts;
    const list = [replication.leader, ...others().filter((id) => id !== replication.leader)];
    return list[this.failures % list.length] as U64;
  }

  /** '' where the state was replaced, or why not. */
  private async attempt(source: U64): Promise<string> {
    const { healed, logger, replication } = this.parts;
    replication.holdApplying(replication.appliedIndex, () => {});
    logger.log('info', 'asking another member for its state', { 'remote-peer-id': u64ToHex(source) });
    const outcome = await this.fetch(source);
    if (typeof outcome === 'string') return outcome;
    const { index } = outcome.metadata as SnapshotMetadata;
    if (index < replication.appliedIndex) return `the state of entry ${index} is older than this member's`;
    await new Promise<void>((resolve) => replication.holdApplying(index, resolve));
    if (this.isStopped) return 'stopped';
    await new Promise<void>((resolve, reject) =>
      this.parts.install(outcome, (error) => (error === null ? resolve() : reject(error))),
    );
    this.failures = 0;
    this.healedTotal++;
    await healed();
    replication.resumeApplying();
    return '';
  }

  /** Asks, and waits for the snapshot to be on this member's disk; its message, or what was in the way. */
  private async fetch(source: U64): Promise<RaftSnapshot | string> {
    const { memberId, peers, receivedAtMs, replication, world } = this.parts;
    let snapshot: RaftSnapshot | null = null;
    let refusal = '';
    this.arrived = (come) => {
      if (come.metadata !== null) snapshot = come;
    };
    let sinceMs = world.clock.nowMs();
    const body = Buffer.from(JSON.stringify({ member: memberId }));
    peers.request(source, 'POST', SNAPSHOT_PATH, body, 'application/json', REQUEST_TIMEOUT_MS, (error, status) => {
      if (error !== null) refusal = error.message;
      else if (status !== 202) refusal = `the member answered ${status}`;
    });
    try {
      while (snapshot === null) {
        await this.pause(LOOK_MS);
        if (this.isStopped) return 'stopped';
        if (refusal !== '') return refusal;
        if (replication.commitIndex - replication.appliedIndex > BACKLOG_MAX) return 'too many entries wait';
        sinceMs = Math.max(sinceMs, receivedAtMs());
        if (world.clock.nowMs() - sinceMs > SILENCE_MS) return 'no snapshot came';
      }
      return snapshot;
    } finally {
      this.arrived = null;
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.parts.world.timers.after(ms, resolve, { ref: false }));
  }
}

/** The member that asks, out of the body of its request; null where it makes no sense. */
export function readSnapshotRequest(body: Buffer): U64 | null {
  try {
    const { member } = JSON.parse(body.toString('utf8')) as { member?: unknown };
    return typeof member === 'string' && /^[0-9a-f]{16}$/.test(member) ? (member as U64) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw errorFrom(error);
  }
}
