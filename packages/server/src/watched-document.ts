/**
 * Something that is read again now and then, and taken over where it has changed and is good: what is not stays what it
 * was, and the log says why.
 */
import { errorFrom, type Logger } from '@etsd/base';
import type { TimerHandle } from './context.ts';

export interface WatchedParts {
  readonly timers: { after(ms: number, fn: () => void): TimerHandle };
  readonly logger: Logger;
  /** For the log: `keys of tokens`. */
  readonly name: string;
  readonly everyMs: number;
  read(): Promise<readonly Buffer[]>;
  /** Checks what was read and makes it count; throws where it is of no use. */
  take(contents: readonly Buffer[]): void;
}

/** Between two readings that were asked for, in milliseconds. */
const ASKED_MS = 10_000;

export class WatchedDocument {
  failures = 0;
  private readonly parts: WatchedParts;
  private current: readonly Buffer[] | null;
  private timer: TimerHandle | null = null;
  private isReading = false;
  private mayAsk = true;
  private isStopped = false;

  /** `current`: what counts already; null where nothing does. */
  constructor(parts: WatchedParts, current: readonly Buffer[] | null) {
    this.parts = parts;
    this.current = current;
  }

  start(): void {
    this.timer = this.parts.timers.after(this.parts.everyMs, () => void this.look());
  }

  /** Reads soon, unless that was done a moment ago. */
  ask(): void {
    if (!this.mayAsk || this.isReading || this.isStopped) return;
    this.mayAsk = false;
    this.timer?.cancel();
    void this.look();
  }

  stop(): void {
    this.isStopped = true;
    this.timer?.cancel();
    this.timer = null;
  }

  /** Reads now. */
  async look(): Promise<void> {
    const { logger, name, everyMs, timers } = this.parts;
    this.isReading = true;
    try {
      const contents = await this.parts.read();
      if (!this.isStopped && !isSame(contents, this.current)) {
        this.parts.take(contents);
        logger.log('info', `took over ${name}`, { first: this.current === null });
        this.current = contents;
      }
    } catch (error) {
      this.failures++;
      logger.log('warn', `kept the former ${name}`, { error: errorFrom(error).message });
    }
    this.isReading = false;
    if (this.isStopped) return;
    // Until there is something it is looked for more often.
    this.timer = timers.after(this.current === null ? Math.min(everyMs, ASKED_MS) : everyMs, () => void this.look());
    if (!this.mayAsk) timers.after(ASKED_MS, this.again);
  }

  private readonly again = (): void => {
    this.mayAsk = true;
  };
}

function isSame(contents: readonly Buffer[], former: readonly Buffer[] | null): boolean {
  if (former === null || former.length !== contents.length) return false;
  return contents.every((bytes, place) => bytes.equals(former[place] as Buffer));
}
