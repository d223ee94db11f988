/**
 * Whether the user an entry names may do what it asks. Judged again while the entry is applied, on every member alike:
 * between question and entry users, roles and keys of a lease may have changed. The API asks the same before it proposes.
 */
import { keyFromBytes, type U64, U64_ZERO } from '@etsd/base';
import {
  DeleteRangeRequest,
  type EtcdError,
  LeaseRevokeRequest,
  type PutRequest,
  PutRequestView,
  type RequestOp,
  type TxnRequest,
} from '@etsd/proto';
import type { AuthStore, Caller } from './auth.ts';
import type { LeasePort } from './ports.ts';

export class AuthGuard {
  private readonly auth: AuthStore;
  private readonly leases: LeasePort;
  private readonly putView = new PutRequestView();

  constructor(auth: AuthStore, leases: LeasePort) {
    this.auth = auth;
    this.leases = leases;
  }

  /** Of the PutRequest in `data[start, end)`. */
  putError(data: Buffer, start: number, end: number, { username, authRevision }: Caller): EtcdError | null {
    const put = this.putView;
    put.parse(data, start, end);
    const key = keyFromBytes(data, put.keyStart, put.keyEnd);
    return (
      this.auth.writeError(username, authRevision, key, '') ??
      this.leaseError(put.lease, username, authRevision) ??
      (put.prevKv ? this.auth.readError(username, authRevision, key, '') : null)
    );
  }

  /** Of the DeleteRangeRequest in `data[start, end)`. */
  deleteError(data: Buffer, start: number, end: number, caller: Caller): EtcdError | null {
    return this.deleteRequestError(DeleteRangeRequest.decode(data, start, end), caller);
  }

  /** Of the LeaseRevokeRequest in `data[start, end)`: it deletes keys. */
  revokeError(data: Buffer, start: number, end: number, { username, authRevision }: Caller): EtcdError | null {
    return this.leaseError(LeaseRevokeRequest.decode(data, start, end).ID, username, authRevision);
  }

  /** Of a transaction with all that is nested in it, whichever branches will be run. */
  txnError(request: TxnRequest, caller: Caller): EtcdError | null {
    const { username, authRevision } = caller;
    for (const { key, rangeEnd } of request.compare) {
      const error = this.auth.readError(username, authRevision, keyFromBytes(key), keyFromBytes(rangeEnd));
      if (error !== null) return error;
    }
    return this.branchError(request.success, caller) ?? this.branchError(request.failure, caller);
  }

  /**
   * Whether the user may do to a lease what concerns its keys: write all of them. To root the lease is open even where its
   * auth revision is old, and a lease without keys is open to everybody.
   */
  leaseError(lease: U64, username: string, authRevision: number): EtcdError | null {
    const { auth } = this;
    if (lease === U64_ZERO || !auth.enabled || auth.isRoot(username)) return null;
    for (const key of this.leases.keysOf(lease)) {
      const error = auth.writeError(username, authRevision, key, '');
      if (error !== null) return error;
    }
    return null;
  }

  private branchError(ops: readonly RequestOp[], caller: Caller): EtcdError | null {
    for (const op of ops) {
      const error = this.opError(op, caller);
      if (error !== null) return error;
    }
    return null;
  }

  private opError(op: RequestOp, caller: Caller): EtcdError | null {
    if (op.requestPut !== null) return this.putRequestError(op.requestPut, caller);
    if (op.requestDeleteRange !== null) return this.deleteRequestError(op.requestDeleteRange, caller);
    if (op.requestTxn !== null) return this.txnError(op.requestTxn, caller);
    if (op.requestRange === null) return null;
    const { key, rangeEnd } = op.requestRange;
    return this.auth.readError(caller.username, caller.authRevision, keyFromBytes(key), keyFromBytes(rangeEnd));
  }

  private putRequestError(put: PutRequest, { username, authRevision }: Caller): EtcdError | null {
    const key = keyFromBytes(put.key);
    return (
      this.auth.writeError(username, authRevision, key, '') ??
      this.leaseError(put.lease, username, authRevision) ??
      (put.prevKv ? this.auth.readError(username, authRevision, key, '') : null)
    );
  }

  private deleteRequestError(request: DeleteRangeRequest, { username, authRevision }: Caller): EtcdError | null {
    const key = keyFromBytes(request.key);
    const rangeEnd = keyFromBytes(request.rangeEnd);
    return (
      this.auth.writeError(username, authRevision, key, rangeEnd) ??
      (request.prevKv ? this.auth.readError(username, authRevision, key, rangeEnd) : null)
    );
  }
}
