/**
 * Places of the write path with a name, so that a simulation can stop a member exactly there, and count which of them its
 * runs have reached. Nothing listens in production: a call then is the look at one variable.
 */
export const FAULT_POINTS = [
  /** Entries, term and vote are handed to the log; they are durable. */
  'raft.save.before',
  'raft.save.after',
  /** Messages of a leader, or of anybody else, are handed to the transport. */
  'raft.send.leader',
  'raft.send.follower',
  /** A batch of entries is about to be applied; it is, and nobody was told yet. */
  'apply.before',
  'apply.after',
  /** A batch of the store is about to be closed; the hook that adds the index has run; the engine has it. */
  'backend.commit.before',
  'backend.commit.hooked',
  'backend.commit.after',
  /** Everything written to the store is about to be made durable; it is. */
  'backend.flush.before',
  'backend.flush.after',
  /** The store is rewritten without its holes: before the copy; before the copy takes the place of the old file; after. */
  'defragment.before',
  'defragment.exchange',
  'defragment.after',
  /** A new segment of the log is begun; it is the one that is written to. */
  'wal.cut.before',
  'wal.cut.after',
  /** Segments that nobody will read again are removed; they are. */
  'wal.release.before',
  'wal.release.after',
  /** The record that says "replay can start here" is handed to the log; it is durable. */
  'wal.snapshot.before',
  'wal.snapshot.after',
  /** A snapshot of another member is being received; its file is durable under its own name. */
  'snapshot.receive.before',
  'snapshot.receive.after',
  /** A received snapshot is put in place: before; its state is read and durable beside the old one; it is the state. */
  'snapshot.apply.before',
  'snapshot.apply.exchange',
  'snapshot.apply.after',
  /** A compaction is noted; some of its records are removed; all are, and it is about to be noted; it is over. */
  'compaction.scheduled',
  'compaction.batch',
  'compaction.finish.before',
  'compaction.finished',
] as const;

export type FaultPoint = (typeof FAULT_POINTS)[number];

let listener: ((name: FaultPoint) => void) | null = null;

/** The program is at this place now. */
export function faultPoint(name: FaultPoint): void {
  if (listener !== null) listener(name);
}

/** For simulations: who is told of every place reached from now on, null for nobody. Gives who was told before. */
export function listenToFaultPoints(next: ((name: FaultPoint) => void) | null): ((name: FaultPoint) => void) | null {
  const before = listener;
  listener = next;
  return before;
}
