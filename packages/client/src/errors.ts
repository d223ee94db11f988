/** What can go wrong, as typed errors. Whatever a server answered is an `EtcdError` with etcd's code and text. */
import { catalogueError, EtcdError, GrpcCode, type WatchResponse } from '@etsd/proto';
import { RpcError } from '@etsd/rpc';

/** A call that ended without the server's word on it: no connection, or no answer in time. `cause` says what was seen last. */
export class UnavailableError extends EtcdError {}

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

/** The watch is over and cannot be resumed. */
export class WatchCanceledError extends EtcdError {
  /** Zero unless history was needed that is compacted; then the first revision that can be had. */
  readonly compactRevision: number;
  /** The server's last word. */
  readonly response: WatchResponse;

  constructor(reason: string, compactRevision: number, response: WatchResponse) {
    super(compactRevision === 0 ? GrpcCode.Canceled : GrpcCode.OutOfRange, reason);
    this.compactRevision = compactRevision;
    this.response = response;
  }
}

/** Whether an error is this one of the catalogue, whoever made it: `isError(error, ErrLeaseNotFound)`. */
export function isError(error: unknown, expected: EtcdError): boolean {
  return error instanceof EtcdError && error.code === expected.code && error.message === expected.message;
}

/** What a failed call means to the caller. */
export function clientError(error: unknown): EtcdError {
  if (error instanceof EtcdError) return error;
  if (!(error instanceof RpcError)) return new EtcdError(GrpcCode.Unknown, String(error), { cause: error });
  const known = catalogueError(error.message);
  if (error.code === GrpcCode.Unavailable && known?.code !== error.code) {
    return new UnavailableError(error.code, error.message);
  }
  if (error.code === GrpcCode.DeadlineExceeded) return new TimeoutError(error);
  if (error.code === GrpcCode.Canceled && error.message === 'context canceled') return new CanceledError(error);
  return new EtcdError(error.code, error.message);
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
