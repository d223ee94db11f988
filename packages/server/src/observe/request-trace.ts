import type { Key } from '@etsd/base';
import type { CallNotes, NotedCall } from '@etsd/rpc';
import type { SpanContext } from '../tracing/span-context.ts';

interface Now {
  nowMs(): number;
}

/** When a request came and when it was over, in milliseconds of the monotonic clock. */
export abstract class RequestTimes implements CallNotes {
  receivedMs = 0;
  /** Of the request that ends just now; before that it means nothing. */
  finishedMs = 0;
  protected readonly clock: Now;

  constructor(clock: Now) {
    this.clock = clock;
  }

  abstract waited(call: NotedCall, requestBytes: number): void;
  abstract readable(key: Key, rangeEnd: Key): void;
  abstract answering(): void;
}

/** Where the time of one request goes. Used again for others. */
export class RequestTrace extends RequestTimes {
  /** Its handler was given it. */
  startedMs = 0;
  /** What it reads was up to date; `NaN` where it reads nothing, or waits still. */
  readableMs: number = Number.NaN;
  /** Its answer began to be made; `NaN` where it is not traced. */
  answeringMs: number = Number.NaN;
  /** What it reads. */
  key: Key = '';
  rangeEnd: Key = '';
  /** −1 where nobody knows any more. */
  requestBytes = 0;
  /** Null where it is not traced. */
  span: SpanContext | null = null;

  /** `receivedMs` is below zero where nobody looked at the clock when the request came. */
  begin(receivedMs: number, requestBytes: number, span: SpanContext | null): void {
    this.receivedMs = this.startedMs = receivedMs < 0 ? this.clock.nowMs() : receivedMs;
    this.readableMs = this.answeringMs = Number.NaN;
    this.key = this.rangeEnd = '';
    this.requestBytes = requestBytes;
    this.span = span;
  }

  override waited(): void {
    this.startedMs = this.clock.nowMs();
  }

  override readable(key: Key, rangeEnd: Key): void {
    this.readableMs = this.clock.nowMs();
    this.key = key;
    this.rangeEnd = rangeEnd;
  }

  override answering(): void {
    if (this.span !== null) this.answeringMs = this.clock.nowMs();
  }
}

/**
 * Of all puts that came in one read and are not traced: they have nothing of their own but the time of their end, and that is
 * of interest only while they end. So nothing is made for any of them, and nothing noted.
 */
export class ReadTimes extends RequestTimes {
  constructor(clock: Now, receivedMs: number) {
    super(clock);
    this.receivedMs = receivedMs;
  }

  /** One that waited has something of its own. */
  override waited(call: NotedCall, requestBytes: number): void {
    const trace = this.traceOf(requestBytes);
    trace.waited();
    call.notes = trace;
  }

  override readable(): void {}

  override answering(): void {}

  /** What is known of one of them, as if it had been noted. */
  traceOf(requestBytes: number): RequestTrace {
    const trace = new RequestTrace(this.clock);
    trace.begin(this.receivedMs, requestBytes, null);
    return trace;
  }
}
