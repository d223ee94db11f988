import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Timers } from './timers.ts';

/** What a function in a thread of its own has of the world, and of whoever started it. */
export interface ThreadParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly disk: Disk;
  say(message: unknown): void;
  /** The next thing that was said to it, in order. One at a time. */
  hear(): Promise<unknown>;
}

/** A thread with one long piece of work, as whoever started it sees it. */
export interface Talk {
  say(message: unknown): void;
  /** Ends the thread, whatever it is doing; resolves when it has. */
  close(): Promise<void>;
}

export interface TalkListener {
  heard(message: unknown): void;
  /** The work is done, or failed. Not called after `close`. */
  ended(error: Error | null): void;
}

/** Work that would hold the event loop, done elsewhere. */
export interface Workers {
  /** Processors that this process may use. */
  readonly processors: number;
  /**
   * Calls the exported function `exportName` of the module at `moduleUrl` with `args` in another thread and gives its
   * result, or fails with its error. Arguments and result are cloned, but for the buffers in `transfer`, which change
   * owner. The function must be pure: it has no `World`, and in a simulation it runs here.
   */
  run(
    moduleUrl: string,
    exportName: string,
    args: readonly unknown[],
    transfer?: readonly ArrayBuffer[],
  ): Promise<unknown>;
  /**
   * Calls the function with `ThreadParts` and `args` in a thread of its own, which gives way to all others where the system
   * allows that. Null in a simulation, where there are no threads: what it would do has to be done in another way.
   */
  talk(moduleUrl: string, exportName: string, args: readonly unknown[], listener: TalkListener): Talk | null;
  /** Ends the threads. What is under way fails. */
  close(): Promise<void>;
}
