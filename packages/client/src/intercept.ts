/** What a program can do around every call of a client: count, log, time, refuse, add headers. */
import type { CallOptions } from './options.ts';

/** A call on its way. */
export interface CallInfo {
  /** With package: `etcdserverpb.KV`. */
  readonly service: string;
  readonly method: string;
  /** A stream's `next` settles when the stream is over; watches and keep-alives open a new one after each loss. */
  readonly kind: 'unary' | 'stream';
  readonly options: CallOptions;
  /** The message, for a unary call; may be replaced before `next`. */
  request: unknown;
  /** Sent with the call: names in lower case, values of printable ASCII. To be added to before `next`. */
  readonly headers: Map<string, string>;
  /** Asked last; empty before the first attempt. */
  endpoint: string;
  /** Made so far. */
  attempts: number;
}

/**
 * Goes around a call. What it returns (for unary calls the response that `next` resolved to, or another) is what the
 * caller gets; what it throws too. A stream's result is not looked at.
 */
export type Interceptor = (call: CallInfo, next: () => Promise<unknown>) => Promise<unknown>;

/** Runs `last` inside of all interceptors. */
export function intercepted(
  interceptors: readonly Interceptor[],
  call: CallInfo,
  last: () => Promise<unknown>,
): Promise<unknown> {
  let run = last;
  for (const interceptor of [...interceptors].reverse()) {
    const inner = run;
    run = async () => interceptor(call, inner);
  }
  return run();
}

export function callInfo(path: string, kind: CallInfo['kind'], request: unknown, options: CallOptions): CallInfo {
  const slash = path.lastIndexOf('/');
  const service = path.slice(1, slash);
  return {
    service,
    method: path.slice(slash + 1),
    kind,
    options,
    request,
    headers: new Map(),
    endpoint: '',
    attempts: 0,
  };
}
