/** Operations of histories as requests of the protocol, and its responses as results of histories. */
import { keyFromBytes, keyToBytes, U64_ZERO, u64FromDecimal, u64ToSignedDecimal } from '@etsd/base';
import {
  Compare as CompareMessage,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  DeleteRangeResponse,
  type KeyValue,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  type ResponseHeader,
  type ResponseOp,
  TxnRequest,
  TxnResponse,
} from '@etsd/proto';
import type { Compare, KeyRecord, Step, StepResult } from '../checkers/history.ts';

/** What a client wants done; a put, delete or range alone is one step without a condition. */
export interface Wish {
  readonly serializable: boolean;
  readonly compares: readonly Compare[];
  readonly success: readonly Step[];
  readonly failure: readonly Step[];
  /** The steps of the first branch from this one on are sent inside a transaction of their own; 0: none. */
  readonly nestedFrom: number;
}

export interface Request {
  readonly path: string;
  readonly bytes: Buffer;
}

function isPlain({ compares, success, failure, nestedFrom }: Wish): boolean {
  return compares.length === 0 && success.length === 1 && failure.length === 0 && nestedFrom === 0;
}

export function requestOf(wish: Wish): Request {
  if (!isPlain(wish)) return { path: '/etcdserverpb.KV/Txn', bytes: TxnRequest.encode(transactionOf(wish)) };
  const [step] = wish.success as [Step];
  switch (step.do) {
    case 'put':
      return { path: '/etcdserverpb.KV/Put', bytes: PutRequest.encode(putOf(step)) };
    case 'delete':
      return { path: '/etcdserverpb.KV/DeleteRange', bytes: DeleteRangeRequest.encode(deleteOf(step)) };
    case 'range':
      return { path: '/etcdserverpb.KV/Range', bytes: RangeRequest.encode(rangeOf(step, wish.serializable)) };
  }
}

function transactionOf({ compares, success, failure, nestedFrom }: Wish): TxnRequest {
  const txn = new TxnRequest();
  txn.compare = compares.map(compareOf);
  txn.success = success.map(operationOf);
  txn.failure = failure.map(operationOf);
  if (nestedFrom > 0) {
    const inner = new TxnRequest();
    inner.success = txn.success.splice(nestedFrom);
    const operation = new RequestOp();
    operation.requestTxn = inner;
    txn.success.push(operation);
  }
  return txn;
}

function operationOf(step: Step): RequestOp {
  const operation = new RequestOp();
  switch (step.do) {
    case 'put':
      operation.requestPut = putOf(step);
      break;
    case 'delete':
      operation.requestDeleteRange = deleteOf(step);
      break;
    case 'range':
      operation.requestRange = rangeOf(step, false);
  }
  return operation;
}

function putOf({ key, value, lease }: Step & { do: 'put' }): PutRequest {
  const put = new PutRequest();
  put.key = keyToBytes(key);
  put.value = keyToBytes(value);
  put.lease = lease === '0' ? U64_ZERO : (u64FromDecimal(lease) ?? U64_ZERO);
  return put;
}

function deleteOf({ key, end }: Step & { do: 'delete' }): DeleteRangeRequest {
  const request = new DeleteRangeRequest();
  request.key = keyToBytes(key);
  request.rangeEnd = keyToBytes(end);
  return request;
}

function rangeOf({ key, end, revision, limit }: Step & { do: 'range' }, serializable: boolean): RangeRequest {
  const range = new RangeRequest();
  range.key = keyToBytes(key);
  range.rangeEnd = keyToBytes(end);
  range.revision = revision;
  range.limit = limit;
  range.serializable = serializable;
  return range;
}

const RESULTS = {
  '=': CompareResult.EQUAL,
  '!=': CompareResult.NOT_EQUAL,
  '>': CompareResult.GREATER,
  '<': CompareResult.LESS,
} as const;

function compareOf({ key, target, result, operand }: Compare): CompareMessage {
  const message = new CompareMessage();
  message.key = keyToBytes(key);
  message.result = RESULTS[result];
  switch (target) {
    case 'value':
      message.target = CompareTarget.VALUE;
      message.value = keyToBytes(String(operand));
      break;
    case 'mod':
      message.target = CompareTarget.MOD;
      message.modRevision = Number(operand);
      break;
    case 'create':
      message.target = CompareTarget.CREATE;
      message.createRevision = Number(operand);
      break;
    case 'version':
      message.target = CompareTarget.VERSION;
      message.version = Number(operand);
  }
  return message;
}

interface ReadAnswer {
  readonly revision: number;
  readonly term: number;
  readonly succeeded: boolean;
  readonly results: readonly StepResult[];
}

const NOTHING: StepResult = { kvs: [], count: 0, deleted: 0 };

export function answerOf(wish: Wish, bytes: Buffer | null): ReadAnswer {
  if (bytes === null) return { revision: 0, term: 0, succeeded: false, results: [] };
  if (!isPlain(wish)) {
    const response = TxnResponse.decode(bytes);
    return said(response.header, response.succeeded, response.responses.flatMap(resultsOf));
  }
  const [step] = wish.success as [Step];
  switch (step.do) {
    case 'put':
      return said(PutResponse.decode(bytes).header, true, [NOTHING]);
    case 'delete': {
      const { header, deleted } = DeleteRangeResponse.decode(bytes);
      return said(header, true, [{ kvs: [], count: 0, deleted }]);
    }
    case 'range': {
      const response = RangeResponse.decode(bytes);
      return said(response.header, true, [rangeResult(response)]);
    }
  }
}

function said(header: ResponseHeader | null, succeeded: boolean, results: readonly StepResult[]): ReadAnswer {
  return { revision: header?.revision ?? 0, term: header?.raftTerm ?? 0, succeeded, results };
}

function resultsOf(response: ResponseOp): StepResult[] {
  if (response.responseTxn !== null) return response.responseTxn.responses.flatMap(resultsOf);
  if (response.responseRange !== null) return [rangeResult(response.responseRange)];
  if (response.responseDeleteRange !== null) {
    return [{ kvs: [], count: 0, deleted: response.responseDeleteRange.deleted }];
  }
  return [NOTHING];
}

function rangeResult({ kvs, count }: RangeResponse): StepResult {
  return { kvs: kvs.map(keyRecord), count, deleted: 0 };
}

/** A key with its value as histories have it. */
export function keyRecord(kv: KeyValue): KeyRecord {
  return {
    key: keyFromBytes(kv.key),
    value: keyFromBytes(kv.value),
    create: kv.createRevision,
    mod: kv.modRevision,
    version: kv.version,
    lease: kv.lease === U64_ZERO ? '0' : u64ToSignedDecimal(kv.lease),
  };
}
