import type { Backend } from '@etsd/backend';
import type { Logger } from '@etsd/base';
import type { Applier, HttpTransportOptions, ReplicationNode } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import type { State } from '@etsd/state';
import type { WalOptions } from '@etsd/wal';
import type { LevelSwitch } from './api/observe.ts';
import type { CommandRunner } from './archive/sender.ts';
import type { MemberConfig } from './config/config.ts';
import type { Profiler } from './debug/profiler.ts';
import type { LoopDelay } from './duties/loop-delay.ts';
import type { KeyReader } from './encryption/member-keys.ts';
import type { BcryptEngine } from './passwords.ts';
import type { PeerLinks } from './peers.ts';
import type { ProcessFigures } from './process-metrics.ts';

/** What was found in a store that is sound. */
export interface CheckedStore {
  readonly records: number;
  /** False for one that an older version wrote: only its structure could be looked at. */
  readonly hasChecksum: boolean;
}

/** What a member is made of that differs between production and a simulated world. */
export interface MemberParts {
  readonly world: World;
  readonly config: MemberConfig;
  readonly logger: Logger;
  /** Lets operators change which lines are written; without it they cannot. */
  readonly levels?: LevelSwitch;
  /**
   * Opens the store in this file. `onFailure` hears of a batch that it refused for good, `onOutOfSpace` of one that waits
   * for room on the disk.
   */
  readonly openBackend: (path: string, onFailure: (error: Error) => void, onOutOfSpace: () => void) => Backend;
  /**
   * Looks at the whole file of the store before it is opened, if there is one, and rejects with a `CorruptionError` where
   * it is not what was written. `pause` gives everybody else their turn. Null where there is nothing to look at.
   */
  readonly checkStore?: (path: string, pause: () => Promise<void>) => Promise<CheckedStore | null>;
  /** Loads what `openBackend` needs, where that takes long: called while a program locks the data directory for us. */
  readonly loadBackend?: () => void;
  readonly loopDelay: LoopDelay;
  /** Shown among the metrics, where there is a process of the member's own. */
  readonly process?: ProcessFigures;
  /** Makes profiles of that process, where the operator allows it (`--enable-pprof`). */
  readonly profiler?: Profiler;
  /** Called at most once, when the member cannot go on. */
  readonly fail: (error: unknown) => void;
  /** Makes the connections to other members; a simulated world has its own. */
  readonly connectPeers?: (options: HttpTransportOptions) => PeerLinks;
  /** Hashes passwords; a simulated world has no threads for that. */
  readonly bcrypt?: BcryptEngine;
  /** Sizes of the log's segments, which a simulated world keeps small. */
  readonly wal?: Pick<WalOptions, 'segmentBytes' | 'segmentsMax' | 'fillAheadBytes'>;
  /** Records kept in memory, in bytes; a simulated world has several members in one process. */
  readonly cacheBytes?: number;
  /** May stand between the log and what applies it: a simulated world looks at every entry that comes by. */
  readonly observeApplier?: (state: State) => Applier;
  /** What it says it is, and joins and refuses clusters as; default `PROTOCOL_VERSION`. A simulated world mixes releases. */
  readonly serverVersion?: string;
  /** For `--archive-command`, which is refused without it. Called once, early: starting a program later costs more. */
  readonly startCommands?: () => CommandRunner;
  /** Reads the keys of encryption at rest, which is refused without it. */
  readonly readKeys?: KeyReader;
  /** How long running calls may go on when the member stops, in milliseconds; default 2000, 0 cuts them off. */
  readonly drainMs?: number;
}

/** A running member. */
export interface Member {
  readonly replication: ReplicationNode;
  /** Where clients are served, with the ports that were really bound. */
  readonly clientUrls: readonly string[];
  /** Reads again what may be exchanged while it runs: the keys of encryption at rest. */
  reload(): void;
  /** Lets running calls end, then puts everything on disk. */
  stop(): Promise<void>;
}
