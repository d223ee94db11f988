import type { U64 } from '@etsd/base';
import { RAFT_DEFAULTS, type RawNode } from '@etsd/raft';
import type { Clock, Timers } from '@etsd/runtime';
import { CATCH_UP_GROWTH_MAX, CATCH_UP_NEAR_MS, CATCH_UP_REST_MAX_MS, CATCH_UP_REST_SHARE } from './limits.ts';

/** For how long after a write more are expected. */
const BUSY_MS = 1000;

export type PacedRaft = Pick<
  RawNode,
  'isLeader' | 'commitIndex' | 'lastIndex' | 'progress' | 'pace' | 'takeResting' | 'goOn'
>;

export interface CatchUpPaceParts {
  readonly raft: PacedRaft;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Raft has something to hand out. */
  readonly woken: () => void;
}

/** A follower that gets a lot, piece by piece. */
class Pieces {
  /** When the last one was sent, on the monotonic clock. */
  sentMs: number;
  /** What the follower had then. */
  match: number;
  /** The least that a piece took so far, in milliseconds: the way there and back, and a quiet disk. */
  leastMs = Number.POSITIVE_INFINITY;
  /** The next one waits for its time. */
  isResting = false;

  constructor(sentMs: number, match: number) {
    this.sentMs = sentMs;
    this.match = match;
  }
}

/**
 * Keeps a follower that comes back with a lot missing from slowing everybody else: it takes pieces as fast as it can, on
 * a processor and a disk that it may share with those who serve. While others write and are answered without it, it rests
 * after each piece for a multiple of the time that the piece took. It always gains on the writers: the rest is shorter
 * where that would not be so. When it is needed, as another one is gone, it goes on at once, and so it does where the
 * writers do as much as it would.
 */
export class CatchUpPace {
  private readonly parts: CatchUpPaceParts;
  private readonly followers = new Map<U64, Pieces>();
  private lastIndex = 0;
  private lastMs = 0;
  private commitIndex = 0;
  /** Entries a millisecond that came between the last two ticks. */
  private growth = 0;
  private grownMs = Number.NEGATIVE_INFINITY;

  constructor(parts: CatchUpPaceParts) {
    this.parts = parts;
  }

  /** Looks, once a tick, whether there is anybody who is not to be disturbed. */
  tick(): void {
    const { raft, clock } = this.parts;
    const nowMs = clock.nowMs();
    const isStuck = raft.commitIndex === this.commitIndex && raft.lastIndex > raft.commitIndex;
    this.growth = Math.max(0, raft.lastIndex - this.lastIndex) / Math.max(1, nowMs - this.lastMs);
    if (this.growth > 0) this.grownMs = nowMs;
    this.lastIndex = raft.lastIndex;
    this.lastMs = nowMs;
    this.commitIndex = raft.commitIndex;
    const isPacing = raft.isLeader && !isStuck && this.isBusy && this.growth < CATCH_UP_GROWTH_MAX;
    if (!isPacing) this.followers.clear();
    raft.pace(isPacing);
  }

  /** Whether somebody writes at present. */
  get isBusy(): boolean {
    return this.lastMs - this.grownMs < BUSY_MS;
  }

  /** Sees to followers that have answered a piece. */
  look(): void {
    const { raft } = this.parts;
    if (!raft.takeResting()) return;
    for (const { id, isResting, match } of raft.progress.values()) {
      if (isResting) this.rest(id, match);
    }
  }

  private rest(id: U64, match: number): void {
    const { clock, timers } = this.parts;
    const nowMs = clock.nowMs();
    let pieces = this.followers.get(id);
    if (pieces === undefined) {
      pieces = new Pieces(nowMs, match);
      this.followers.set(id, pieces);
    }
    if (pieces.isResting) return;
    pieces.isResting = true;
    const followed = pieces;
    if (match > pieces.match) pieces.leastMs = Math.min(pieces.leastMs, nowMs - pieces.sentMs);
    timers.after(this.restMs(pieces, match, nowMs), () => this.goOn(id, followed, match));
  }

  private restMs({ sentMs, match }: Pieces, answered: number, nowMs: number): number {
    const tookMs = nowMs - sentMs;
    const gainingMs = (answered - match) / (2 * this.growth) - tookMs;
    return Math.max(0, Math.min(tookMs * CATCH_UP_REST_SHARE, CATCH_UP_REST_MAX_MS, gainingMs));
  }

  private goOn(id: U64, pieces: Pieces, match: number): void {
    const { raft, clock, woken } = this.parts;
    if (this.followers.get(id) !== pieces) return;
    pieces.isResting = false;
    pieces.sentMs = clock.nowMs();
    pieces.match = match;
    raft.goOn(id, pieceBytes(pieces.leastMs));
    woken();
  }
}

/** Who is far away, or has a slow disk, gets more at a time. */
function pieceBytes(leastMs: number): number {
  if (!Number.isFinite(leastMs)) return RAFT_DEFAULTS.pieceBytes;
  return Math.max(1, leastMs / CATCH_UP_NEAR_MS) * RAFT_DEFAULTS.pieceBytes;
}
