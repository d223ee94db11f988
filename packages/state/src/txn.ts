import { type Key, keyFromBytes, type U64, U64_ZERO, u64IsNegative } from '@etsd/base';
import {
  type Compare,
  CompareResult,
  CompareTarget,
  ErrCompacted,
  ErrCorrupt,
  ErrFutureRev,
  ErrKeyNotFound,
  ErrLeaseNotFound,
  ErrNoSpace,
  type EtcdError,
  KeyValueView,
  keyValueWithoutValueSize,
  type PutRequest,
  type RangeRequest,
  type RequestOp,
  TxnRequest,
  writeKeyValueWithoutValue,
} from '@etsd/proto';
import type { Alarms } from './alarms.ts';
import type { KvApplier } from './kv.ts';
import type { LeasePort, RangeAnswer, RangeQuery, StorePort } from './ports.ts';
import { NO_OPS, OpResult, TxnResult, type Waiter } from './results.ts';

const NO_RECORDS: Buffer[] = [];
/**
 * Bytes of records in the answer of one transaction. Each of its 128 operations may ask for everything there is, and all
 * of it stands in memory until the answer is written.
 */
const ANSWER_BYTES_MAX = 512 * 2 ** 20;
const COMPARE_ALL: RangeQuery = {
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

/**
 * Transactions. All compares, those of nested transactions too, are decided against the state before the first
 * operation; then every operation of the branches chosen is checked, and only then is anything written, so that a
 * transaction fails as a whole or not at all.
 */
export class TxnApplier {
  answerBytesMax = ANSWER_BYTES_MAX;
  private readonly store: StorePort;
  private readonly leases: LeasePort;
  private readonly alarms: Alarms;
  private readonly kv: KvApplier;
  private readonly view = new KeyValueView();
  private readonly answer: RangeAnswer = { records: NO_RECORDS, count: 0, more: false };
  private readonly result = new TxnResult();
  /** Outcome of the compares of the transaction and of the nested ones on its path, in the order they are met. */
  private path: boolean[] = [];
  private pathAt = 0;
  /** What the answer may have yet; below zero it has too much, and nothing more is read for it. */
  private bytesLeft = 0;

  constructor(store: StorePort, leases: LeasePort, alarms: Alarms, kv: KvApplier) {
    this.store = store;
    this.leases = leases;
    this.alarms = alarms;
    this.kv = kv;
  }

  /** Applies the TxnRequest in `data[start, end)`. */
  apply(data: Buffer, start: number, end: number, waiter: Waiter | null): void {
    this.applyRequest(TxnRequest.decode(data, start, end), null, waiter);
  }

  /** Applies a transaction, unless it is `denied` to the user it is from. An alarm is told of first. */
  applyRequest(request: TxnRequest, denied: EtcdError | null, waiter: Waiter | null): void {
    const error = this.refusal(request) ?? denied ?? this.prepare(request);
    if (error !== null) {
      waiter?.fail(error);
      return;
    }
    this.store.begin();
    const result = this.runAll(request, waiter !== null);
    result.revision = this.store.end();
    waiter?.done(result);
    result.ops = NO_OPS;
  }

  /** Answers a transaction that writes nothing from the state as it is. The result is valid until the next transaction. */
  read(request: TxnRequest): TxnResult | EtcdError {
    const error = this.prepare(request);
    if (error !== null) return error;
    const result = this.runAll(request, true);
    result.revision = this.store.revision;
    return result;
  }

  private runAll(request: TxnRequest, wantResults: boolean): TxnResult {
    const { result } = this;
    this.pathAt = 0;
    this.bytesLeft = this.answerBytesMax;
    result.succeeded = this.path[0] as boolean;
    result.ops = this.run(request, wantResults);
    result.isTooLarge = this.bytesLeft < 0;
    if (result.isTooLarge) result.ops = NO_OPS;
    return result;
  }

  /** The records, unless the answer has too much with them. */
  private kept(records: Buffer[]): Buffer[] {
    for (const record of records) this.bytesLeft -= record.length;
    return this.bytesLeft < 0 ? NO_RECORDS : records;
  }

  private refusal(request: TxnRequest): EtcdError | null {
    if (this.alarms.corrupt) return ErrCorrupt;
    if (this.alarms.noSpace && (hasPut(request.success) || hasPut(request.failure))) return ErrNoSpace;
    return null;
  }

  /** Decides the path and checks what lies on it. Puts are checked before ranges, as etcd does. */
  private prepare(request: TxnRequest): EtcdError | null {
    this.path = [];
    this.decide(request);
    this.pathAt = 0;
    const error = this.checkBranch(request, true);
    if (error !== null) return error;
    this.pathAt = 0;
    return this.checkBranch(request, false);
  }

  private decide(request: TxnRequest): void {
    let holds = true;
    for (const compare of request.compare) {
      if (!this.compareHolds(compare)) {
        holds = false;
        break;
      }
    }
    this.path.push(holds);
    for (const op of holds ? request.success : request.failure) {
      if (op.requestTxn !== null) this.decide(op.requestTxn);
    }
  }

  private checkBranch(request: TxnRequest, puts: boolean): EtcdError | null {
    const branch = this.path[this.pathAt++] === true ? request.success : request.failure;
    for (const op of branch) {
      let error: EtcdError | null = null;
      if (op.requestTxn !== null) error = this.checkBranch(op.requestTxn, puts);
      else if (puts && op.requestPut !== null) error = this.checkPut(op.requestPut);
      else if (!puts && op.requestRange !== null) error = this.checkRange(op.requestRange);
      if (error !== null) return error;
    }
    return null;
  }

  private checkPut(put: PutRequest): EtcdError | null {
    if ((put.ignoreValue || put.ignoreLease) && !this.store.lookup(keyFromBytes(put.key), 0)) return ErrKeyNotFound;
    if (put.lease !== U64_ZERO && !this.leases.has(put.lease)) return ErrLeaseNotFound;
    return null;
  }

  /** Here, unlike in a range on its own, a negative revision is one that may have been compacted. */
  private checkRange(range: RangeRequest): EtcdError | null {
    if (range.revision === 0) return null;
    if (range.revision > this.store.revision) return ErrFutureRev;
    if (range.revision < this.store.compactRevision) return ErrCompacted;
    return null;
  }

  private run(request: TxnRequest, wantResults: boolean): OpResult[] {
    const branch = this.path[this.pathAt++] === true ? request.success : request.failure;
    if (branch.length === 0) return NO_OPS;
    const results: OpResult[] = wantResults ? [] : NO_OPS;
    for (const op of branch) {
      const result = this.runOp(op, wantResults);
      if (wantResults && result !== null) results.push(result);
    }
    return results;
  }

  private runOp(op: RequestOp, wantResults: boolean): OpResult | null {
    if (op.requestRange !== null) return wantResults ? this.runRange(op.requestRange) : null;
    if (op.requestPut !== null) return this.runPut(op.requestPut, wantResults);
    if (op.requestDeleteRange !== null) {
      const request = op.requestDeleteRange;
      const result = new OpResult('delete');
      const key = keyFromBytes(request.key);
      const rangeEnd = keyFromBytes(request.rangeEnd);
      if (request.prevKv && wantResults && this.bytesLeft >= 0) {
        result.records = this.kept(this.kv.recordsIn(key, rangeEnd));
      }
      result.count = this.kv.deleteKeys(key, rangeEnd);
      result.revision = this.store.readRevision;
      return result;
    }
    if (op.requestTxn !== null) {
      const result = new OpResult('txn');
      result.succeeded = this.path[this.pathAt] as boolean;
      result.ops = this.run(op.requestTxn, wantResults);
      return result;
    }
    return new OpResult('none');
  }

  private runRange(request: RangeRequest): OpResult {
    const result = new OpResult('range');
    if (this.bytesLeft < 0) return result;
    const answer = this.answer;
    // Cannot fail: checkRange was passed, and within the transaction the revision only grows.
    this.store.range(keyFromBytes(request.key), keyFromBytes(request.rangeEnd), request, answer);
    const { records } = answer;
    // Values that are not asked for are let go at once.
    result.records = this.kept(request.keysOnly ? records.map(withoutValue) : records);
    result.count = answer.count;
    result.more = answer.more;
    result.keysOnly = request.keysOnly;
    result.revision = this.store.readRevision;
    answer.records = NO_RECORDS;
    return result;
  }

  private runPut(put: PutRequest, wantResults: boolean): OpResult {
    const result = new OpResult('put');
    const key: Key = keyFromBytes(put.key);
    const { value, lease, ignoreValue, ignoreLease } = put;
    if (ignoreValue || ignoreLease || (put.prevKv && wantResults)) {
      if (!this.kv.putOver(key, value, 0, value.length, lease, ignoreValue, ignoreLease)) {
        // An operation before this one deleted the key. etcd's member stops on such an entry; the API refuses to make
        // one, and should one come from elsewhere, keeping "nothing" of the former record is the plain reading.
        this.kv.putPlain(key, value, 0, value.length, lease);
      }
      if (put.prevKv && wantResults) result.previous = this.kv.lastPut.previous;
    } else {
      this.kv.putPlain(key, value, 0, value.length, lease);
    }
    result.revision = this.store.readRevision;
    return result;
  }

  private compareHolds(compare: Compare): boolean {
    const key = keyFromBytes(compare.key);
    if (compare.rangeEnd.length === 0) {
      if (!this.store.lookup(key, 0)) return this.compareAbsent(compare);
      const { mainRevision, subRevision, createRevision, version } = this.store.found;
      switch (compare.target) {
        case CompareTarget.VERSION:
          return decide(compare.result, order(version, compare.version ?? 0));
        case CompareTarget.CREATE:
          return decide(compare.result, order(createRevision, compare.createRevision ?? 0));
        case CompareTarget.MOD:
          return decide(compare.result, order(mainRevision, compare.modRevision ?? 0));
        default:
          return this.compareRecord(compare, this.store.record(mainRevision, subRevision));
      }
    }
    const answer = this.answer;
    this.store.range(key, keyFromBytes(compare.rangeEnd), COMPARE_ALL, answer);
    const records = answer.records;
    answer.records = NO_RECORDS;
    if (records.length === 0) return this.compareAbsent(compare);
    for (const record of records) if (!this.compareRecord(compare, record)) return false;
    return true;
  }

  /** Where there is no key: a value can not be compared with nothing, everything else counts as zero. */
  private compareAbsent(compare: Compare): boolean {
    switch (compare.target) {
      case CompareTarget.VALUE:
        return false;
      case CompareTarget.VERSION:
        return decide(compare.result, order(0, compare.version ?? 0));
      case CompareTarget.CREATE:
        return decide(compare.result, order(0, compare.createRevision ?? 0));
      case CompareTarget.MOD:
        return decide(compare.result, order(0, compare.modRevision ?? 0));
      case CompareTarget.LEASE:
        return decide(compare.result, orderSigned(U64_ZERO, compare.lease ?? U64_ZERO));
      default:
        return decide(compare.result, 0);
    }
  }

  private compareRecord(compare: Compare, record: Buffer): boolean {
    const view = this.view;
    view.parse(record, 0, record.length);
    switch (compare.target) {
      case CompareTarget.VERSION:
        return decide(compare.result, order(view.version, compare.version ?? 0));
      case CompareTarget.CREATE:
        return decide(compare.result, order(view.createRevision, compare.createRevision ?? 0));
      case CompareTarget.MOD:
        return decide(compare.result, order(view.modRevision, compare.modRevision ?? 0));
      case CompareTarget.VALUE: {
        const wanted = compare.value;
        if (wanted === null) return decide(compare.result, view.valueEnd > view.valueStart ? 1 : 0);
        return decide(compare.result, record.compare(wanted, 0, wanted.length, view.valueStart, view.valueEnd));
      }
      case CompareTarget.LEASE:
        return decide(compare.result, orderSigned(view.lease, compare.lease ?? U64_ZERO));
      default:
        return decide(compare.result, 0);
    }
  }
}

function withoutValue(record: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(keyValueWithoutValueSize(record, 0, record.length));
  writeKeyValueWithoutValue(bytes, 0, record, 0, record.length);
  return bytes;
}

/** Puts at this level only, which is how etcd up to 3.6 counts what a transaction would add. */
function hasPut(ops: readonly RequestOp[]): boolean {
  for (const op of ops) if (op.requestPut !== null) return true;
  return false;
}

function order(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Lease ids are signed numbers to the protocol. */
function orderSigned(a: U64, b: U64): number {
  if (a === b) return 0;
  const aNegative = u64IsNegative(a);
  if (aNegative !== u64IsNegative(b)) return aNegative ? -1 : 1;
  return a < b ? -1 : 1;
}

/** A relation this version does not know holds. */
function decide(relation: number, ordering: number): boolean {
  switch (relation) {
    case CompareResult.EQUAL:
      return ordering === 0;
    case CompareResult.NOT_EQUAL:
      return ordering !== 0;
    case CompareResult.GREATER:
      return ordering > 0;
    case CompareResult.LESS:
      return ordering < 0;
    default:
      return true;
  }
}
