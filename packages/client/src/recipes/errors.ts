/** What recipes reject with, beside what the calls themselves do. */
import { ErrLeaseNotFound, ErrSessionExpired, EtcdError, GrpcCode } from '@etsd/proto';
import { isError } from '../errors.ts';
import type { HeldLease } from '../lease.ts';

/**
 * What was held is held no longer: the lease ended, or somebody removed the key. Nothing that was to be written under it
 * was written.
 */
export class LostError extends EtcdError {
  constructor(what: string, cause?: unknown) {
    super(ErrSessionExpired.code, what, cause === undefined ? undefined : { cause });
  }
}

/** What ended a wait: the loss of the lease, if that is the reason, or the error itself. */
export function endOfWait(error: unknown, lease: HeldLease | undefined, signal: AbortSignal | undefined): unknown {
  if (lease === undefined || error instanceof LostError) return error;
  // The server knows first, where somebody revoked it.
  if (isError(error, ErrLeaseNotFound)) return new LostError('there is no such lease any more', error);
  if (lease.isAlive || signal?.aborted === true) return error;
  return new LostError('the lease was lost while waiting', lease.signal.reason);
}

/** It exists already, and can only be there once: a barrier, an instance of a service. */
export class AlreadyThereError extends EtcdError {
  constructor(what: string) {
    super(GrpcCode.AlreadyExists, what);
  }
}

/** More wanted to come in than there are places. */
export class TooManyError extends EtcdError {
  constructor(what: string) {
    super(GrpcCode.ResourceExhausted, what);
  }
}

/** Others were faster as often as one was ready to try. */
export class ConflictError extends EtcdError {
  constructor(attempts: number) {
    super(GrpcCode.Aborted, `gave up after ${attempts} attempts: others wrote what was read`);
  }
}

/** What is stored under a key is not what belongs there. */
export class UnreadableError extends EtcdError {
  constructor(key: Buffer, what: string, cause?: unknown) {
    const text = `${JSON.stringify(key.toString())} ${what}`;
    super(GrpcCode.FailedPrecondition, text, cause === undefined ? undefined : { cause });
  }
}
