import { type Key, keyFromBytes, type U64, U64_ZERO } from '@etsd/base';
import {
  CompactionRequest,
  DeleteRangeRequest,
  ErrCorrupt,
  ErrKeyNotFound,
  ErrLeaseNotFound,
  ErrNoSpace,
  type EtcdError,
  KeyValueView,
  PutRequestView,
} from '@etsd/proto';
import type { Alarms } from './alarms.ts';
import type { LeasePort, RangeAnswer, RangeQuery, StorePort } from './ports.ts';
import { CompactResult, DeleteResult, PutResult, type Waiter } from './results.ts';

const NO_RECORDS: Buffer[] = [];

/** Everything in a range, as it stands; what a deletion reads before it deletes. */
const WHOLE_RANGE: RangeQuery = {
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
};

/** Why a key could not be put; read by the caller right after `putKey` returned false. */
export interface PutOutcome {
  error: EtcdError;
  /** The record replaced; null where there was none or nobody asked. */
  previous: Buffer | null;
}

/**
 * Puts, deletions and compactions as the log orders them. Leases are kept in step here, since the store does not know
 * them: a key hangs on the lease of its last put, and on none once it is deleted.
 */
export class KvApplier {
  private readonly store: StorePort;
  private readonly leases: LeasePort;
  private readonly alarms: Alarms;
  private readonly putView = new PutRequestView();
  private readonly recordView = new KeyValueView();
  private readonly outcome: PutOutcome = { error: ErrKeyNotFound, previous: null };
  private readonly putResult = new PutResult();
  private readonly deleteResult = new DeleteResult();
  private readonly compactResult = new CompactResult();
  private readonly answer: RangeAnswer = { records: NO_RECORDS, count: 0, more: false };

  constructor(store: StorePort, leases: LeasePort, alarms: Alarms) {
    this.store = store;
    this.leases = leases;
    this.alarms = alarms;
  }

  /** Applies the PutRequest in `data[start, end)`. */
  applyPut(data: Buffer, start: number, end: number, waiter: Waiter | null): void {
    const put = this.putView;
    put.parse(data, start, end);
    if (this.alarms.corrupt || this.alarms.noSpace) {
      waiter?.fail(this.alarms.corrupt ? ErrCorrupt : ErrNoSpace);
      return;
    }
    if (put.lease !== U64_ZERO && !this.leases.has(put.lease)) {
      waiter?.fail(ErrLeaseNotFound);
      return;
    }
    const store = this.store;
    const key = keyFromBytes(data, put.keyStart, put.keyEnd);
    const wantPrevious = put.prevKv && waiter !== null;
    let previous: Buffer | null = null;
    store.begin();
    if (wantPrevious || put.ignoreValue || put.ignoreLease) {
      const { ignoreValue, ignoreLease } = put;
      const ok = this.putOver(key, data, put.valueStart, put.valueEnd, put.lease, ignoreValue, ignoreLease);
      if (!ok) {
        store.end();
        waiter?.fail(this.outcome.error);
        return;
      }
      if (wantPrevious) previous = this.outcome.previous;
    } else {
      this.putPlain(key, data, put.valueStart, put.valueEnd, put.lease);
    }
    const revision = store.end();
    if (waiter === null) return;
    const result = this.putResult;
    result.revision = revision;
    result.previous = previous;
    waiter.done(result);
  }

  /** Applies the DeleteRangeRequest in `data[start, end)`. */
  applyDelete(data: Buffer, start: number, end: number, waiter: Waiter | null): void {
    const request = DeleteRangeRequest.decode(data, start, end);
    if (this.alarms.corrupt) {
      waiter?.fail(ErrCorrupt);
      return;
    }
    const store = this.store;
    const key = keyFromBytes(request.key);
    const rangeEnd = keyFromBytes(request.rangeEnd);
    const result = this.deleteResult;
    store.begin();
    result.previous = request.prevKv && waiter !== null ? this.recordsIn(key, rangeEnd) : NO_RECORDS;
    result.deleted = this.deleteKeys(key, rangeEnd);
    result.revision = store.end();
    waiter?.done(result);
    result.previous = NO_RECORDS;
  }

  /** Applies the CompactionRequest in `data[start, end)`: from here on reads below it fail; the space is freed later. */
  applyCompaction(data: Buffer, start: number, end: number, waiter: Waiter | null): void {
    const request = CompactionRequest.decode(data, start, end);
    if (this.alarms.corrupt) {
      waiter?.fail(ErrCorrupt);
      return;
    }
    const error = this.store.compact(request.revision);
    if (error !== null) {
      waiter?.fail(error);
      return;
    }
    const result = this.compactResult;
    result.revision = this.store.revision;
    result.compactRevision = request.revision;
    waiter?.done(result);
  }

  /** Puts a key whose former state does not matter. A write transaction is open; the lease exists or is none. */
  putPlain(key: Key, bytes: Buffer, valueStart: number, valueEnd: number, lease: U64): void {
    this.store.put(key, bytes, valueStart, valueEnd, lease);
    const leases = this.leases;
    if (lease !== U64_ZERO) {
      if (leases.attachedCount > 0 && leases.leaseOf(key) !== lease) leases.detach(key);
      leases.attach(key, lease);
    } else if (leases.attachedCount > 0) {
      leases.detach(key);
    }
  }

  /**
   * Puts a key of which the former record is needed: to answer with it, or to keep its value or its lease. False where
   * there is none to keep anything of; then nothing is written and `lastPut.error` says why.
   */
  putOver(
    key: Key,
    bytes: Buffer,
    valueStart: number,
    valueEnd: number,
    lease: U64,
    ignoreValue: boolean,
    ignoreLease: boolean,
  ): boolean {
    const store = this.store;
    const outcome = this.outcome;
    const existed = store.lookup(key, 0);
    outcome.previous = existed ? store.recordToKeep(store.found.mainRevision, store.found.subRevision) : null;
    if (!ignoreValue && !ignoreLease) {
      this.putPlain(key, bytes, valueStart, valueEnd, lease);
      return true;
    }
    if (outcome.previous === null) {
      outcome.error = ErrKeyNotFound;
      return false;
    }
    const former = this.recordView;
    former.parse(outcome.previous, 0, outcome.previous.length);
    const newLease = ignoreLease ? former.lease : lease;
    if (ignoreValue) this.putPlain(key, outcome.previous, former.valueStart, former.valueEnd, newLease);
    else this.putPlain(key, bytes, valueStart, valueEnd, newLease);
    return true;
  }

  /** What the last `putOver` left. */
  get lastPut(): Readonly<PutOutcome> {
    return this.outcome;
  }

  /** Deletes a range within the open write transaction and returns how many keys it held. */
  deleteKeys(key: Key, rangeEnd: Key): number {
    if (this.leases.attachedCount > 0) this.detachRange(key, rangeEnd);
    return this.store.deleteRange(key, rangeEnd);
  }

  /** Copies of all records of a range as the open transaction sees it. */
  recordsIn(key: Key, rangeEnd: Key): Buffer[] {
    const answer = this.answer;
    this.store.range(key, rangeEnd, WHOLE_RANGE, answer);
    const records = answer.records;
    answer.records = NO_RECORDS;
    return records;
  }

  private detachRange(key: Key, rangeEnd: Key): void {
    if (rangeEnd === '') {
      this.leases.detach(key);
      return;
    }
    const view = this.recordView;
    for (const record of this.recordsIn(key, rangeEnd)) {
      view.parse(record, 0, record.length);
      if (view.lease !== U64_ZERO) this.leases.detach(view.key(record));
    }
  }
}
