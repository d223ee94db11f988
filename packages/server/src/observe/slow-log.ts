import type { Logger } from '@etsd/base';
import { formatDuration } from '../config/values.ts';

/** Lines a second; what comes beyond is counted in the next line. */
const LINES_PER_SECOND = 10;

/** Writes of requests that took too long, as many lines as can be read. */
export class SlowLog {
  /** Slow requests, told or not. */
  total = 0;
  private readonly logger: Logger;
  private secondMs = Number.NEGATIVE_INFINITY;
  private lines = 0;
  private untold = 0;

  constructor(logger: Logger) {
    this.logger = logger;
  }

  /** Whether a line may be written now; where not, the request is only counted. */
  mayTell(nowMs: number): boolean {
    this.total++;
    if (nowMs - this.secondMs >= 1000) {
      this.secondMs = nowMs;
      this.lines = 0;
    }
    if (this.lines++ < LINES_PER_SECOND) return true;
    this.untold++;
    return false;
  }

  /** `stages`: milliseconds by name; what is not known is left out. */
  tell(
    tookMs: number,
    expectedMs: number,
    fields: Readonly<Record<string, unknown>>,
    stages: Readonly<Record<string, number>>,
  ): void {
    const known = Object.entries(stages).filter(([, ms]) => !Number.isNaN(ms));
    this.logger.log('warn', 'apply request took too long', {
      took: shown(tookMs),
      'expected-duration': shown(expectedMs),
      ...fields,
      ...Object.fromEntries(known.map(([name, ms]) => [name, shown(Math.max(0, ms))])),
      ...(this.untold === 0 ? {} : { 'untold-requests': this.untold }),
    });
    this.untold = 0;
  }
}

/** As etcd's log prints durations, to a thousandth of the unit. */
function shown(ms: number): string {
  const step = ms < 1 ? 1e6 : ms < 1000 ? 1e3 : 1;
  return formatDuration(Math.round(ms * step) / step);
}
