/** What is counted of the calls of one method. Slots that the way of a call adds to; whoever reads makes sense of them. */

/** Codes that a call can end with, 0 to 16. */
const CODES = 17;

/** One call in so many is timed where not all are: reading a clock twice costs more than all the counting together. */
export const TIMED_EVERY = 64;

/** Upper bounds of the times of calls in seconds, the usual ones of gRPC's figures. */
export const CALL_SECONDS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Times of calls in buckets; the last one is for what took longer than all bounds. */
export class CallTimes {
  readonly bounds: readonly number[] = CALL_SECONDS;
  readonly counts = new Float64Array(CALL_SECONDS.length + 1);
  sum = 0;
  count = 0;

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < CALL_SECONDS.length && seconds > (CALL_SECONDS[bucket] as number)) bucket++;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sum += seconds;
    this.count++;
  }
}

export class MethodFigures {
  readonly path: string;
  started = 0;
  /** By status code. */
  readonly handled = new Float64Array(CODES);
  /** Messages, and their bytes as they are without compression. */
  received = 0;
  sent = 0;
  receivedBytes = 0;
  sentBytes = 0;
  /** From the first byte of the call to its end: of every call, or of one in `TIMED_EVERY`. */
  readonly times = new CallTimes();
  /** How long the event loop was held by the handlers of timed calls as their messages came, in seconds. */
  heldSeconds = 0;
  /** A bit mask on `started`: calls where it gives 0 are timed. */
  private readonly timedMask: number;

  constructor(path: string, timesAll: boolean) {
    this.path = path;
    this.timedMask = timesAll ? 0 : TIMED_EVERY - 1;
  }

  /** Counts a call that begins; whether it is to be timed. The first one is. */
  begin(): boolean {
    return (this.started++ & this.timedMask) === 0;
  }

  messageReceived(bytes: number): void {
    this.received++;
    this.receivedBytes += bytes;
  }

  messageSent(bytes: number): void {
    this.sent++;
    this.sentBytes += bytes;
  }

  end(code: number): void {
    this.handled[code] = (this.handled[code] as number) + 1;
  }
}

/** Calls by the value of one header, of either kind; few values, since memory must not be for the clients to fill. */
export class CallersByHeader {
  readonly name: string;
  readonly unary = new Map<string, CallerCount>();
  readonly stream = new Map<string, CallerCount>();

  constructor(name: string) {
    this.name = name;
  }

  of(kind: 'unary' | 'stream', value: string | undefined): CallerCount {
    const counts = this[kind];
    const known = value === undefined || !/^[\w.+-]{1,32}$/.test(value) ? 'unknown' : value;
    let count = counts.get(known);
    if (count !== undefined) return count;
    if (counts.size >= CALLERS_MAX && known !== 'unknown') return this.of(kind, undefined);
    count = new CallerCount();
    counts.set(known, count);
    return count;
  }
}

/** Values told apart, one of them being `unknown`. */
const CALLERS_MAX = 32;

export class CallerCount {
  calls = 0;
}
