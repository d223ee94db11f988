import { EtcdError, GrpcCode } from '@etsd/proto';
import type { Waiter } from './results.ts';

/** The answer to every request of the Auth service but AuthStatus. */
export const ErrAuthUnavailable = new EtcdError(
  GrpcCode.Unimplemented,
  'etcdserver: authentication is not available in this version',
);

/** Revision of an auth store that was never changed. */
export const FIRST_AUTH_REVISION = 1;

/**
 * Users, roles and permissions. This version has none: authentication is off, and an entry that would change that is
 * answered with an error and leaves no trace. A cluster in which another member turned authentication on must not be
 * joined, which the member checks at its start by `isForeign`.
 */
export class AuthApplier {
  readonly enabled: boolean = false;
  readonly revision: number = FIRST_AUTH_REVISION;

  /** Applies one of the requests with a field number from 1000 to 1299. */
  apply(waiter: Waiter | null): void {
    waiter?.fail(ErrAuthUnavailable);
  }
}

/** Whether the number of a field of InternalRaftRequest is one of authentication's. */
export function isAuthField(field: number): boolean {
  return field >= 1000 && field < 1300;
}
