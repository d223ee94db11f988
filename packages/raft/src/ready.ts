import type { Entry, HardState, Message, RaftSnapshot } from '@etsd/proto';
import type { PendingWrite } from './log.ts';
import type { ReadState } from './raft.ts';

/**
 * What raft wants done, filled anew by each `RawNode.ready()`. The object and the views in it are valid until raft is
 * called again. What each field waits for:
 *
 *     messages    nothing: send at once, also before the write below is durable
 *     write       write (snapshot, then entries, then hard state), in the order of hand-outs; any number may be in
 *                 flight; when one is durable report it with `RawNode.written(write)`
 *     committed…  apply in order, report with `RawNode.appliedTo(index)`
 *     readStates  serve when applied up to their index
 */
export class Ready {
  /** Not null: part of the write. A change of the commit index alone is given along with the next write. */
  hardState: HardState | null = null;
  /** Whether the write promises something, hence must reach the platter. False for a mere commit index. */
  mustSync = false;
  /** To be installed before anything else of the write; `RawNode.written` says it is. Null: none. */
  snapshot: RaftSnapshot | null = null;
  /** Entries entries[entriesFrom] … entries[entriesTo − 1] are to be appended, replacing what has their index. */
  entries: readonly Entry[] = [];
  entriesFrom = 0;
  entriesTo = 0;
  /** Null: there is nothing to write. */
  write: PendingWrite | null = null;
  messages: Message[] = [];
  readStates: ReadState[] = [];
  /** Indexes (committedFrom, committedTo] are to be applied; `RawNode.entryAt` gives them. Equal: none. */
  committedFrom = 0;
  committedTo = 0;
}
