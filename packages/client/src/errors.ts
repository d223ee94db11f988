/** What can go wrong, as typed errors. Whatever a server answered is an `EtcdError` with etcd's code and text. */
import { catalogueError, EtcdError, GrpcCode, type WatchResponse } from '@etsd/proto';

/** A call that ended without the server's word on it: no connection, or no answer in time. `cause` says what was seen last. */
export class UnavailableError extends EtcdError {
  /** Whether the request certainly never left, so that nothing can have come of it. */
  readonly notSent: boolean;

  constructor(message: string, notSent: boolean) {
    super(GrpcCode.Unavailable, message);
    this.notSent = notSent;
  }
}

/** The time given to a call ran out; a write may or may not have happened. */
export class TimeoutError extends EtcdError {
  constructor(cause?: Error) {
    super(GrpcCode.DeadlineExceeded, 'context deadline exceeded', cause === undefined ? undefined : { cause });
  }
}

/** The caller's signal was aborted, or the client closed. */
export class CanceledError extends EtcdError {
  constructor(cause?: unknown) {
    super(GrpcCode.Canceled, 'context canceled', cause === undefined ? undefined : { cause });
  }
}

/** A lease that was held is gone, or has to be taken for gone: the reason of `HeldLease.signal`. */
export class LeaseLostError extends EtcdError {
  /**
   * `expired`: nobody could be reached in time. `stalled`: this process stood still for longer than the lease lasts.
   * `revoked`: the server knows it no more. `ended`: its owner gave it up. `failed`: it cannot be renewed, see `cause`.
   */
  readonly why: 'expired' | 'stalled' | 'revoked' | 'ended' | 'failed';

  constructor(why: LeaseLostError['why'], message: string, cause?: unknown) {
    super(GrpcCode.NotFound, message, cause === undefined ? undefined : { cause });
    this.why = why;
  }
}

/** A stored value that the codec could not read. */
export class DecodeError extends EtcdError {
  readonly key: string;
  readonly revision: number;

  constructor(key: string, revision: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(GrpcCode.DataLoss, `the value of "${key}" at revision ${revision} cannot be read: ${reason}`, { cause });
    this.key = key;
    this.revision = revision;
  }
}

/** The watch is over and cannot be resumed. */
export class WatchCanceledError extends EtcdError {
  /** Zero unless history was needed that is compacted; then the first revision that can be had. */
  readonly compactRevision: number;
  /** The server's last word. */
  readonly response: WatchResponse;

  constructor(reason: string, compactRevision: number, response: WatchResponse) {
    const code = compactRevision === 0 ? cancelError(reason)?.code : GrpcCode.OutOfRange;
    super(code ?? GrpcCode.Canceled, reason);
    this.compactRevision = compactRevision;
    this.response = response;
  }
}

/** The error of the catalogue that a watch was canceled with; servers put it as "rpc error: code = … desc = …". */
export function cancelError(reason: string): EtcdError | undefined {
  return catalogueError(reason.replace(/^rpc error: code = \w+ desc = /, ''));
}

/** Whether an error is this one of the catalogue, whoever made it: `isError(error, ErrLeaseNotFound)`. */
export function isError(error: unknown, expected: EtcdError): boolean {
  return error instanceof EtcdError && error.code === expected.code && error.message === expected.message;
}

/** The error a call ended with, from the status it got; `notSent` as of `UnavailableError`. */
export function statusError(code: number, message: string, notSent: boolean): EtcdError {
  const known = catalogueError(message);
  if (code === GrpcCode.Unavailable && known?.code !== code) return new UnavailableError(message, notSent);
  if (code === GrpcCode.DeadlineExceeded) return new TimeoutError(new EtcdError(code, message));
  if (code === GrpcCode.Canceled && message === 'context canceled') return new CanceledError();
  return new EtcdError(code, message);
}

/** Whatever was thrown, as one of our errors. */
export function clientError(thrown: unknown): EtcdError {
  if (thrown instanceof EtcdError) return thrown;
  return new EtcdError(GrpcCode.Unknown, String(thrown), { cause: thrown });
}

/** Whether a stream that ended like this may do better on another connection or a little later. */
export function isRetryable(error: EtcdError): boolean {
  switch (error.code) {
    case GrpcCode.Unavailable:
    case GrpcCode.Internal:
    case GrpcCode.ResourceExhausted:
    case GrpcCode.Aborted:
    case GrpcCode.Unknown:
    case GrpcCode.DeadlineExceeded:
    case GrpcCode.Canceled:
      return true;
    default:
      return false;
  }
}
