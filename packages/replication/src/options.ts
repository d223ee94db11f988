import type { Logger } from '@etsd/base';
import type { RaftTracer } from '@etsd/raft';
import type { Clock, Random, Timers } from '@etsd/runtime';
import type { Applier, RequestKeyOf, SnapshotInstaller } from './applier.ts';
import type { StartState } from './bootstrap.ts';
import type { LogStore } from './log-store.ts';
import type { Transport } from './peers/transport.ts';

/** What a `ReplicationNode` is made of, and how it is to behave. */
export interface ReplicationOptions {
  readonly world: { readonly clock: Clock; readonly timers: Timers; readonly random: Random };
  readonly logger: Logger;
  readonly log: LogStore;
  readonly start: StartState;
  readonly applier: Applier;
  /** Up to which index the applied state is on disk; see `LogCutter`. */
  readonly durableIndex: () => number;
  /** Called at most once, when going on would be unsafe: the log failed, or applying did. The node has stopped itself. */
  readonly onFatal: (error: Error) => void;
  /** How messages reach the other members; null for a member without any. */
  readonly transport?: Transport | null;
  /** Installs snapshots that a leader sends; null for a member without peers. */
  readonly installer?: SnapshotInstaller | null;
  /** How to recognise a forwarded proposal when it is applied; by default by the id in the header of etcd's requests. */
  readonly requestKeyOf?: RequestKeyOf;
  /** Length of a tick. Flag `heartbeat-interval`. */
  readonly heartbeatMs?: number;
  /** Flag `election-timeout`; a multiple of the above. */
  readonly electionMs?: number;
  /** Flag `pre-vote`. */
  readonly preVote?: boolean;
  /** Lead only while a majority is heard from; etcd always does. */
  readonly checkQuorum?: boolean;
  /** After a start shorten the wait for an election once the others are connected. Flag `initial-election-tick-advance`. */
  readonly electionTickAdvance?: boolean;
  /** Is told of every step of raft, for the trace specification. */
  readonly tracer?: RaftTracer | null;
  /** Flag `snapshot-count`. */
  readonly snapshotCount?: number;
  /** Entries kept in memory behind a cut. Flag `experimental-snapshot-catchup-entries`. */
  readonly catchUpEntries?: number;
}
