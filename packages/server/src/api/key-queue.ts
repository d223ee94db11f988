/**
 * The queue behind locks and elections: a key under a name for each who waits, held by a lease, and first is whose key is
 * the oldest. Clients of etcd keep the same queue without these services, so the keys are as theirs: NAME/LEASE, with the
 * lease in hexadecimal.
 *
 * Nothing here is done often, so it is written with promises.
 */
import { type Key, keyFromBytes, keyToBytes, prefixEnd, type U64, U64_ZERO, u64FromHalves, u64ToHex } from '@etsd/base';
import { type RangeResult, WHOLE_RANGE } from '@etsd/mvcc';
import {
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  ErrCanceled,
  ErrUserEmpty,
  type EtcdError,
  EventType,
  KeyValue,
  LeaseGrantRequest,
  PutRequest,
  RaftRequestField,
  RangeRequest,
  RequestOp,
  ResponseHeader,
  SortOrder,
  SortTarget,
  TxnRequest,
} from '@etsd/proto';
import type { LeaseResult, TxnResult } from '@etsd/state';
import type { ApiCall, MemberContext } from '../context.ts';
import { LEASE_COST_BYTES, type Quota } from '../quota.ts';
import { type Caller, NOBODY } from '../tokens.ts';
import { proposeRequest } from './guards.ts';
import { LocalWatch } from './local-watch.ts';
import { txnCost } from './txn-rules.ts';
import type { WatchService } from './watch.ts';

/** Life of the lease of who brings none: as long as that of a session of etcd's Go client. */
const SESSION_TTL_SECONDS = 60;

/** What became of a transaction, to keep. */
export interface Committed {
  readonly succeeded: boolean;
  readonly header: ResponseHeader;
  /** The first record that each operation found. */
  readonly found: readonly (KeyValue | null)[];
}

/** A place in the queue. */
export interface Place {
  readonly key: Key;
  readonly createRevision: number;
}

/** A record, and the store's revision when it was read. */
export interface Reading {
  readonly kv: KeyValue | null;
  readonly header: ResponseHeader;
}

export class KeyQueue {
  private readonly context: MemberContext;
  private readonly quota: Quota;
  private readonly watch: Pick<WatchService, 'hub'>;
  /** In whose name everything is done. Asked anew each time: a wait may be long. */
  private readonly caller: () => Caller | EtcdError;

  constructor(
    context: MemberContext,
    quota: Quota,
    watch: Pick<WatchService, 'hub'>,
    caller: () => Caller | EtcdError = () => NOBODY,
  ) {
    this.context = context;
    this.quota = quota;
    this.watch = watch;
    this.caller = caller;
  }

  /** The same, for whoever makes this call. */
  for(call: ApiCall): KeyQueue {
    return new KeyQueue(this.context, this.quota, this.watch, () => this.context.access.callerOf(call));
  }

  private readError(key: Key, rangeEnd: Key): EtcdError | null {
    const { access } = this.context;
    return access.auth.enabled ? access.readErrorOf(this.caller(), key, rangeEnd) : null;
  }

  header(revision: number): ResponseHeader {
    const { clusterId, memberId, replication } = this.context;
    return ResponseHeader.create({ clusterId, memberId, revision, raftTerm: replication.term });
  }

  /** The lease given, or a new one where none is. */
  session(lease: U64): Promise<U64> {
    if (lease !== U64_ZERO) return Promise.resolve(lease);
    const { high, low } = this.context.replication.nextRequestId();
    const ID = u64FromHalves(high & 0x7fff_ffff, low);
    const body = LeaseGrantRequest.encode(LeaseGrantRequest.create({ TTL: SESSION_TTL_SECONDS, ID }));
    return this.propose(RaftRequestField.LeaseGrant, body, LEASE_COST_BYTES, (result) => (result as LeaseResult).id);
  }

  commit(request: TxnRequest): Promise<Committed> {
    const body = TxnRequest.encode(request);
    return this.propose(RaftRequestField.Txn, body, txnCost(request), (result) => {
      const { ops, revision, succeeded } = result as TxnResult;
      const found = ops.map(({ kind, records: [first] }) =>
        kind === 'range' && first !== undefined ? KeyValue.decode(first) : null,
      );
      return { succeeded, header: this.header(revision), found };
    });
  }

  delete(key: Buffer): Promise<ResponseHeader> {
    const body = DeleteRangeRequest.encode(DeleteRangeRequest.create({ key }));
    return this.propose(RaftRequestField.DeleteRange, body, 0, (result) =>
      this.header((result as { revision: number }).revision),
    );
  }

  /** The oldest key under the prefix, or the newest of those created no later than a revision. */
  read(prefix: Key, newestUntil = 0): Promise<Reading> {
    return this.readRange(prefix, prefixEnd(prefix), {
      ...WHOLE_RANGE,
      limit: 1,
      sortOrder: newestUntil === 0 ? SortOrder.ASCEND : SortOrder.DESCEND,
      sortTarget: SortTarget.CREATE,
      maxCreateRevision: newestUntil,
    });
  }

  readKey(key: Key): Promise<Reading> {
    return this.readRange(key, '', WHOLE_RANGE);
  }

  private readRange(key: Key, rangeEnd: Key, options: typeof WHOLE_RANGE): Promise<Reading> {
    const { replication, store } = this.context;
    return new Promise((resolve, reject) => {
      replication.readBarrier({
        done: () => {
          const result: RangeResult = { records: [], count: 0, more: false };
          const error = this.readError(key, rangeEnd) ?? store.range(key, rangeEnd, options, result);
          const [record] = result.records;
          if (error !== null) reject(error);
          else
            resolve({ kv: record === undefined ? null : KeyValue.decode(record), header: this.header(store.revision) });
        },
        fail: reject,
      });
    });
  }

  /** Resolves once no key under the prefix is older than the place. Rejects when the signal is aborted. */
  async waitForTurn(prefix: Key, place: Place, signal: AbortSignal): Promise<void> {
    // No revision is zero, and a bound of zero would be none.
    while (place.createRevision > 1) {
      if (signal.aborted) throw ErrCanceled;
      const { kv, header } = await this.read(prefix, place.createRevision - 1);
      if (kv === null) return;
      await this.deleted(keyFromBytes(kv.key), header.revision + 1, signal);
    }
  }

  /** Resolves when the key is deleted, or when that can no longer be told from here. */
  private async deleted(key: Key, startRevision: number, signal: AbortSignal): Promise<void> {
    for await (const event of this.changes(key, '', startRevision, signal, true)) {
      if (event.type === EventType.DELETE) return;
    }
  }

  /** The changes of a range from a revision on; ends when the signal is aborted, or when they are compacted. */
  async *changes(key: Key, rangeEnd: Key, startRevision: number, signal: AbortSignal, noPuts = false) {
    if (signal.aborted) return;
    const refused = this.readError(key, rangeEnd);
    if (refused !== null) throw refused;
    const watch = new LocalWatch(this.watch.hub, { key, rangeEnd, startRevision, noPuts });
    const onAbort = (): void => watch.close();
    signal.addEventListener('abort', onAbort);
    try {
      for (let event = await watch.next(); event !== null; event = await watch.next()) yield event;
    } finally {
      signal.removeEventListener('abort', onAbort);
      watch.close();
    }
  }

  /** Leases would be granted to nobody otherwise: what is granted names no keys by which to judge. */
  private whom(): Caller | EtcdError {
    const caller = this.caller();
    return caller === NOBODY && this.context.access.auth.enabled ? ErrUserEmpty : caller;
  }

  private propose<T>(field: number, body: Buffer, cost: number, keep: (result: unknown) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiter = { done: (result: unknown) => resolve(keep(result)), fail: (error: EtcdError) => reject(error) };
      if (this.quota.admits(cost)) proposeRequest(this.context, field, body, 0, body.length, waiter, this.whom());
      else this.quota.raise(waiter);
    });
  }
}

// ── keys and transactions ───────────────────────────────────────────────────────────────────────────────────────────

/** Under this lie the keys of all who wait for a name. */
export function queuePrefix(name: Buffer): Key {
  return `${keyFromBytes(name)}/`;
}

export function placeKey(name: Buffer, lease: U64): Key {
  return `${queuePrefix(name)}${u64ToHex(lease)}`;
}

/** Puts the key unless it is there, and reads it otherwise. */
export function takePlace(key: Key, value: Buffer, lease: U64): TxnRequest {
  const bytes = keyToBytes(key);
  const requestPut = PutRequest.create({ key: bytes, value, lease });
  const requestRange = RangeRequest.create({ key: bytes });
  return TxnRequest.create({
    compare: [createdAt(bytes, 0)],
    success: [RequestOp.create({ requestPut })],
    failure: [RequestOp.create({ requestRange })],
  });
}

/** The key's create revision is this; 0 for a key that is not there. */
export function createdAt(key: Buffer, createRevision: number): Compare {
  return Compare.create({ key, target: CompareTarget.CREATE, result: CompareResult.EQUAL, createRevision });
}
