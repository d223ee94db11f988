/** What may go wrong in a simulated world. All are rates between 0 and 1 unless they say otherwise; 0 is never. */
export interface DiskFaults {
  /** How long an operation takes, in milliseconds; drawn evenly. */
  latencyMinMs: number;
  latencyMaxMs: number;
  /** An operation takes `stallMs` longer. */
  stallRate: number;
  stallMs: number;
  /** A write fails; what it wrote is unknown. */
  writeErrorRate: number;
  /** A sync fails. As in Linux the pages count as clean afterwards, whether they reached the medium or not. */
  syncErrorRate: number;
  readErrorRate: number;
  /** A write is reported done and lies elsewhere: in another sector of the same file. */
  misdirectRate: number;
  /** Writes that make files larger than this in all, in bytes, fail with `ENOSPC`. */
  capacityBytes: number;
  /** In a crash an unsynced write is kept as a whole … */
  crashKeepRate: number;
  /** … or torn: each of its sectors of 512 bytes is kept or not. Otherwise it is lost. Each write for itself, so that of
   * two a later one may stay where the earlier is lost. */
  crashTearRate: number;
}

export interface NetworkFaults {
  latencyMinMs: number;
  latencyMaxMs: number;
  /** A connection breaks instead of carrying the next piece. */
  resetRate: number;
  /** A piece is lost. In a stream it comes after a retransmission, with everything behind it; a message never comes. */
  lossRate: number;
  /** A message comes twice. Streams hide this, as TCP does. */
  copyRate: number;
  /** A message takes up to `reorderMs` longer, so that others overtake it. Streams keep their order. */
  reorderRate: number;
  reorderMs: number;
  /** Of a machine that crashes the others hear nothing: their connections stay half open until they are given up. */
  halfOpenRate: number;
}

export interface ClockFaults {
  /** Milliseconds that pass on this machine per simulated millisecond. */
  rate: number;
  /** How far the wall clock is off, in milliseconds. */
  wallOffsetMs: number;
}

/** Nothing goes wrong, and a crash loses what was not synced in every way it can. */
export function calmDisk(): DiskFaults {
  return {
    latencyMinMs: 0.05,
    latencyMaxMs: 0.5,
    stallRate: 0,
    stallMs: 0,
    writeErrorRate: 0,
    syncErrorRate: 0,
    readErrorRate: 0,
    misdirectRate: 0,
    capacityBytes: Number.POSITIVE_INFINITY,
    crashKeepRate: 0.3,
    crashTearRate: 0.4,
  };
}

export function calmNetwork(): NetworkFaults {
  return {
    latencyMinMs: 0.1,
    latencyMaxMs: 1,
    resetRate: 0,
    lossRate: 0,
    copyRate: 0,
    reorderRate: 0,
    reorderMs: 0,
    halfOpenRate: 0,
  };
}
