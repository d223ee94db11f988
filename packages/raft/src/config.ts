import { assert, type U64, U64_ZERO } from '@etsd/base';
import type { RaftTracer } from './trace.ts';

/** How one raft member behaves. Times are in ticks; the driver decides how long a tick is. */
export interface RaftOptions {
  /** This member; not zero. */
  id: U64;
  /** Ticks without a sign of a leader after which an election starts; the actual time is drawn from [n, 2n). */
  electionTicks: number;
  /** Ticks between a leader's heartbeats. */
  heartbeatTicks: number;
  /** Ask before campaigning, so that a member which cannot win does not raise the term (Raft thesis §9.6). */
  preVote: boolean;
  /** A leader that hears of no majority for an election timeout steps down; votes wait for the leader's lease. */
  checkQuorum: boolean;
  /** Largest sum of entries in one append, in bytes; one entry always fits. */
  appendBytesMax: number;
  /** Appends on the way to one follower. */
  inflightMax: number;
  /** Bytes on the way to one follower; 0: no limit. */
  inflightBytesMax: number;
  /** While pacing (`RawNode.pace`): entries not even sent from which on a follower is behind … */
  behindEntries: number;
  /** … and the largest sum of entries it is then sent at once, in bytes. */
  pieceBytes: number;
  /** Is told of everything that the TLA+ trace specification knows; null or absent: nobody, at no cost. */
  tracer?: RaftTracer | null;
  /** A whole number in [0, bound): the only chance in raft, drawn for each election timeout. */
  draw: (bound: number) => number;
}

/**
 * etcd's settings, but for sizes: what is under way to a follower waits in the leader's memory, and is encoded in one go when
 * a follower comes back that lacks a lot. Smaller pieces keep the others from waiting for it.
 */
export const RAFT_DEFAULTS = {
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: true,
  checkQuorum: true,
  appendBytesMax: 256 * 1024,
  inflightMax: 512,
  inflightBytesMax: 4 * 1024 * 1024,
  // Above what many clients propose in one turn, and well below what a restart misses under load.
  behindEntries: 2000,
  // One or two milliseconds of the follower's work.
  pieceBytes: 64 * 1024,
} as const;

export function validateOptions(options: RaftOptions): void {
  assert(options.id !== U64_ZERO, 'raft: the id must not be zero');
  assert(options.heartbeatTicks > 0, 'raft: heartbeatTicks must be above zero');
  assert(options.electionTicks > options.heartbeatTicks, 'raft: electionTicks must be above heartbeatTicks');
  assert(options.inflightMax > 0, 'raft: inflightMax must be above zero');
  assert(options.appendBytesMax > 0, 'raft: appendBytesMax must be above zero');
  assert(options.pieceBytes > 0, 'raft: pieceBytes must be above zero');
}
