import type { Entry, HardState, WalSnapshot } from '@etsd/proto';

/**
 * The write-ahead log as replication needs it (`Wal` of `@etsd/wal`). Callbacks come in the order of the calls and may
 * come before the call returns. After an error nothing more succeeds.
 */
export interface LogStore {
  /** Appends `entries[from, to)`, replacing what has their indexes. The arguments are not kept. */
  save(
    hardState: HardState | null,
    entries: readonly Entry[],
    from: number,
    to: number,
    done: (error: Error | null) => void,
  ): void;
  /** Notes that the state is on disk up to this position: replay can start from it. */
  saveSnapshot(snapshot: WalSnapshot, done: (error: Error | null) => void): void;
  /** Starts writing what was saved, if the disk is free; without it, writing starts at the end of the turn. */
  flush(): void;
  /** Nothing before the entry at `index` will be read again. */
  releaseTo(index: number): void;
  /** Writes what was saved and gives up the files. */
  close(): Promise<void>;
}
