import type { ConfChange, ConfChangeV2, ConfState, EtcdError, RaftSnapshot } from '@etsd/proto';

/**
 * Who waits for the outcome of a proposal or of a read barrier. Exactly one of the two is called, once. A result may be
 * an object that is reused: it is valid only during `done`.
 */
export interface Waiter {
  done(result: unknown): void;
  fail(error: EtcdError): void;
}

/**
 * What the log is for; the server passes its state. Entries come in order, each exactly once, and only when they are
 * committed and durable on this member. What it throws stops the member.
 */
export interface Applier {
  /** The last entry applied. At start: what the stored state contains; everything behind it is applied again. */
  readonly appliedIndex: number;
  /** The configuration as of `appliedIndex`; null before the first membership change was applied. */
  readonly confState: ConfState | null;
  apply(index: number, term: number, data: Buffer, waiter: Waiter | null): void;
  /** How long the entry just applied took, in milliseconds. */
  took?(ms: number): void;
  /** An entry without data: the first of a leader's term, or a proposal that raft had to void. */
  applyEmpty(index: number, term: number): void;
  /**
   * A membership change. Calls `toRaft` exactly once: with the change, or with null where it refuses it, and stores the
   * configuration that comes back.
   */
  applyConfChange(
    index: number,
    term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void;
  /**
   * A change of several members at once, or, where it names nobody, the step out of a joint configuration. As above.
   * Members that go stay reachable until the configuration that comes back has no outgoing voters.
   */
  applyWideChange(
    index: number,
    term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void;
  /** Everything that was applicable, or a slice of it, has been applied: the place to write out answers. */
  batchEnd(): void;
}

/**
 * Puts the state of a snapshot in place of the present one, when this member was away for so long that the leader has
 * forgotten what it lacks. The data of the snapshot came beside the message; how is between installer and transport.
 */
export interface SnapshotInstaller {
  /**
   * The log already has the record of the snapshot: after a crash from here on, the next start finds a state older than
   * that record and must install the snapshot's data (durable since before the message was taken) before anything else.
   * Nothing is applied meanwhile. `done` without an error means that the new state is on disk, and that the applier's
   * `appliedIndex` and `confState` are those of the snapshot. An error stops the member.
   */
  install(snapshot: RaftSnapshot, done: (error: Error | null) => void): void;
}

/**
 * What identifies a proposal of this member by its data; null for one of another member, or one without an id. Called for
 * each applied entry while forwarded proposals wait: a number is cheaper than a text.
 */
export type RequestKeyOf = (data: Buffer) => number | string | null;
