import { formatDuration, formatSize } from './go.ts';

const REDRAW_MS = 100;
const BAR_CELLS = 30;
/** The rate shown is that of about this long. */
const RATE_WINDOW_MS = 5000;
/** Before this much has passed a rate says nothing. */
const RATE_FIRST_MS = 500;

type Terminal = NodeJS.WritableStream & { isTTY?: boolean };

export interface ProgressOptions {
  /** What is counted are bytes: their amount, the rate and the time left are shown too. */
  readonly isBytes?: boolean;
  readonly nowMs?: () => number;
}

/** How far long work is: a line that is drawn over on a terminal, nothing in a pipe. */
export class Progress {
  private readonly output: Terminal | null;
  private readonly title: string;
  private readonly isBytes: boolean;
  private readonly nowMs: () => number;
  private shownMs = Number.NEGATIVE_INFINITY;
  /** From where on the rate is counted. */
  private sinceMs = -1;
  private sinceDone = 0;
  private rate = 0;

  constructor(output: Terminal, title: string, options: ProgressOptions = {}) {
    this.output = output.isTTY === true ? output : null;
    this.title = title;
    this.isBytes = options.isBytes === true;
    this.nowMs = options.nowMs ?? (() => performance.now());
  }

  show(done: number, total: number): void {
    if (this.output === null || total <= 0) return;
    const now = this.nowMs();
    this.measure(now, done);
    if (now - this.shownMs < REDRAW_MS && done < total) return;
    this.shownMs = now;
    const cells = Math.floor((BAR_CELLS * done) / total);
    const bar = '█'.repeat(cells).padEnd(BAR_CELLS, '░');
    const percent = `${Math.floor((100 * done) / total)}%`;
    this.output.write(`\r${this.title} ${bar} ${percent}${this.isBytes ? this.amounts(done, total) : ''}`);
  }

  /** A rate that follows changes: that of the present window, blended into the one before. */
  private measure(now: number, done: number): void {
    if (this.sinceMs < 0) {
      this.sinceMs = now;
      this.sinceDone = done;
      return;
    }
    const passedMs = now - this.sinceMs;
    if (passedMs < RATE_FIRST_MS) return;
    const recent = (1000 * (done - this.sinceDone)) / passedMs;
    const weight = this.rate === 0 ? 1 : Math.min(1, passedMs / RATE_WINDOW_MS);
    this.rate += weight * (recent - this.rate);
    this.sinceMs = now;
    this.sinceDone = done;
  }

  private amounts(done: number, total: number): string {
    const amount = ` ${formatSize(done)} of ${formatSize(total)}`;
    // What was drawn before may have been longer.
    const rest = '\x1b[K';
    if (this.rate <= 0) return `${amount}${rest}`;
    const leftSeconds = Math.ceil((total - done) / this.rate);
    return `${amount}, ${formatSize(Math.round(this.rate))}/s, ${formatDuration(1000 * leftSeconds)} left${rest}`;
  }

  done(text: string): void {
    this.output?.write(`\r\x1b[K${this.title}: ${text}\n`);
  }

  /** Leaves the line as it is, for what is printed next. */
  stop(): void {
    if (this.shownMs !== Number.NEGATIVE_INFINITY) this.output?.write('\n');
  }
}
