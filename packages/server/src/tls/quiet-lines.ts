import type { Logger, LogLevel } from '@etsd/base';
import type { Clock } from '@etsd/runtime';

/** Lines that may come in a flood: so many at once, so many a second in the long run, and how many were left out. */
export class QuietLines {
  private readonly logger: Logger;
  private readonly clock: Clock;
  private readonly burst: number;
  private readonly perSecond: number;
  private tokens: number;
  private filledMs: number;
  private leftOut = 0;

  constructor(logger: Logger, clock: Clock, burst = 20, perSecond = 1) {
    this.logger = logger;
    this.clock = clock;
    this.burst = burst;
    this.perSecond = perSecond;
    this.tokens = burst;
    this.filledMs = clock.nowMs();
  }

  log(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>): void {
    const nowMs = this.clock.nowMs();
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.filledMs) / 1000) * this.perSecond);
    this.filledMs = nowMs;
    if (this.tokens < 1) {
      this.leftOut++;
      return;
    }
    this.tokens--;
    this.logger.log(level, message, this.leftOut === 0 ? fields : { ...fields, 'left-out-before': this.leftOut });
    this.leftOut = 0;
  }
}
