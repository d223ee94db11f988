import type { Key } from '@etsd/base';
import type { CallNotes } from '@etsd/rpc';
import type { SpanContext } from '../tracing/span-context.ts';

/** Where the time of one request goes, in milliseconds of the monotonic clock. Used again for others. */
export class RequestTrace implements CallNotes {
  receivedMs = 0;
  /** Its handler was given it. */
  startedMs = 0;
  /** It is over. */
  finishedMs = 0;
  /** What it reads was up to date; `NaN` where it reads nothing, or waits still. */
  readableMs = Number.NaN;
  /** Its answer began to be made; `NaN` where it is not traced. */
  answeringMs = Number.NaN;
  /** What it reads. */
  key: Key = '';
  rangeEnd: Key = '';
  requestBytes = 0;
  /** Null where it is not traced. */
  span: SpanContext | null = null;
  private readonly clock: { nowMs(): number };

  constructor(clock: { nowMs(): number }) {
    this.clock = clock;
  }

  /** `receivedMs` is below zero where nobody looked at the clock when the request came. */
  begin(receivedMs: number, requestBytes: number, span: SpanContext | null): void {
    this.receivedMs = this.startedMs = receivedMs < 0 ? this.clock.nowMs() : receivedMs;
    this.readableMs = this.answeringMs = Number.NaN;
    this.key = this.rangeEnd = '';
    this.requestBytes = requestBytes;
    this.span = span;
  }

  waited(): void {
    this.startedMs = this.clock.nowMs();
  }

  readable(key: Key, rangeEnd: Key): void {
    this.readableMs = this.clock.nowMs();
    this.key = key;
    this.rangeEnd = rangeEnd;
  }

  answering(): void {
    if (this.span !== null) this.answeringMs = this.clock.nowMs();
  }
}
