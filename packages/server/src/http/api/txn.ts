/** Transactions as people write them: `{"if": […], "then": […], "else": […]}`. */
import {
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  type ResponseOp,
  TxnRequest,
  type TxnResponse,
} from '@etsd/proto';
import { call } from './local-call.ts';
import { TXN } from './methods.ts';
import { badRequest } from './problem.ts';
import { allowMembers, jsonBody, objectOf, type Question } from './question.ts';
import { prefixEndOf, readLease, showKey } from './render.ts';
import { REVISION_MAX, wantsBase64 } from './span.ts';

/** Transactions within transactions, at most. */
const DEPTH_MAX = 20;

type Members = Record<string, unknown>;

/** `POST /api/txn`. */
export async function runTxn(question: Question): Promise<void> {
  question.query.allow('encoding');
  const base64 = wantsBase64(question);
  const budget = { left: question.operationsMax };
  const request = readTxn(jsonBody(question), 0, budget);
  const answer = await call(question.caller, TXN, request);
  question.json(200, { revision: answer.header?.revision ?? 0, ...showTxn(request, answer, base64) });
}

/** Conditions and operations that may still come, over all branches. */
interface Budget {
  left: number;
}

function readTxn(value: Members, depth: number, budget: Budget): TxnRequest {
  if (depth > DEPTH_MAX) throw badRequest('transactions nested too deep');
  allowMembers(value, 'a transaction', 'if', 'then', 'else');
  return TxnRequest.create({
    compare: listOf(value, 'if', budget).map(readCompare),
    success: listOf(value, 'then', budget).map((each) => readOperation(each, depth, budget)),
    failure: listOf(value, 'else', budget).map((each) => readOperation(each, depth, budget)),
  });
}

function listOf(value: Members, name: string, budget: Budget): Members[] {
  const list = value[name] ?? [];
  if (!Array.isArray(list)) throw badRequest(`${name} is not a list`);
  budget.left -= list.length;
  if (budget.left < 0) throw badRequest('too many operations');
  return list.map((each, index) => objectOf(each, `${name}[${index}]`));
}

// ── conditions ────────────────────────────────────────────────────────────────────────────────────────────────────────

const OPERATORS: ReadonlyMap<unknown, number> = new Map([
  ['=', CompareResult.EQUAL],
  ['!=', CompareResult.NOT_EQUAL],
  ['>', CompareResult.GREATER],
  ['<', CompareResult.LESS],
]);
const TARGETS = ['exists', 'value', 'value_base64', 'version', 'create_revision', 'mod_revision', 'lease'];

function readCompare(value: Members): Compare {
  allowMembers(value, 'a condition', 'key', 'key_base64', 'prefix', 'op', ...TARGETS);
  const targets = TARGETS.filter((name) => Object.hasOwn(value, name));
  const [target] = targets;
  if (target === undefined || targets.length > 1) throw badRequest(`a condition has one of ${TARGETS.join(', ')}`);
  const key = bytesOf(value, 'key');
  const compare = Compare.create({ key, rangeEnd: flagOf(value, 'prefix') ? prefixEndOf(key) : NOTHING });
  if (target === 'exists') {
    if (Object.hasOwn(value, 'op')) throw badRequest('exists is true or false; there is nothing to compare');
    compare.target = CompareTarget.CREATE;
    compare.result = flagOf(value, 'exists') ? CompareResult.GREATER : CompareResult.EQUAL;
    compare.createRevision = 0;
    return compare;
  }
  const result = OPERATORS.get(value['op'] ?? '=');
  if (result === undefined) throw badRequest(`op is one of ${[...OPERATORS.keys()].join(' ')}`);
  compare.result = result;
  switch (target) {
    case 'version':
      compare.target = CompareTarget.VERSION;
      compare.version = numberOf(value, target);
      break;
    case 'create_revision':
      compare.target = CompareTarget.CREATE;
      compare.createRevision = numberOf(value, target);
      break;
    case 'mod_revision':
      compare.target = CompareTarget.MOD;
      compare.modRevision = numberOf(value, target);
      break;
    case 'lease':
      compare.target = CompareTarget.LEASE;
      compare.lease = leaseOf(value);
      break;
    default:
      compare.target = CompareTarget.VALUE;
      compare.value = bytesOf(value, 'value');
  }
  return compare;
}

// ── operations ────────────────────────────────────────────────────────────────────────────────────────────────────────

function readOperation(value: Members, depth: number, budget: Budget): RequestOp {
  const verbs = ['put', 'get', 'delete'].filter(
    (verb) => Object.hasOwn(value, verb) || Object.hasOwn(value, `${verb}_base64`),
  );
  if (verbs.length === 0) return RequestOp.create({ requestTxn: readTxn(value, depth + 1, budget) });
  if (verbs.length > 1) throw badRequest('an operation is one of put, get, delete, or a transaction');
  if (verbs[0] === 'put') return RequestOp.create({ requestPut: readPut(value) });
  if (verbs[0] === 'get') return RequestOp.create({ requestRange: readGet(value) });
  return RequestOp.create({ requestDeleteRange: readDelete(value) });
}

function readPut(value: Members): PutRequest {
  const names = ['put', 'put_base64', 'value', 'value_base64', 'lease', 'keep_lease', 'keep_value', 'previous'];
  allowMembers(value, 'put', ...names);
  const keepsValue = flagOf(value, 'keep_value');
  return PutRequest.create({
    key: bytesOf(value, 'put'),
    value: keepsValue ? NOTHING : bytesOf(value, 'value'),
    ignoreValue: keepsValue,
    ignoreLease: flagOf(value, 'keep_lease'),
    prevKv: flagOf(value, 'previous'),
    ...(Object.hasOwn(value, 'lease') ? { lease: leaseOf(value) } : {}),
  });
}

function readGet(value: Members): RangeRequest {
  allowMembers(value, 'get', 'get', 'get_base64', 'prefix', 'limit', 'revision', 'keys_only', 'count_only');
  const key = bytesOf(value, 'get');
  return RangeRequest.create({
    ...rangeOf(key, value),
    limit: Object.hasOwn(value, 'limit') ? numberOf(value, 'limit') : 0,
    revision: Object.hasOwn(value, 'revision') ? numberOf(value, 'revision') : 0,
    keysOnly: flagOf(value, 'keys_only'),
    countOnly: flagOf(value, 'count_only'),
  });
}

function readDelete(value: Members): DeleteRangeRequest {
  allowMembers(value, 'delete', 'delete', 'delete_base64', 'prefix', 'previous');
  const key = bytesOf(value, 'delete');
  return DeleteRangeRequest.create({ ...rangeOf(key, value), prevKv: flagOf(value, 'previous') });
}

const NOTHING = Buffer.alloc(0);
const FIRST = Buffer.from([0]);

function rangeOf(key: Buffer, value: Members): { key: Buffer; rangeEnd: Buffer } {
  if (!flagOf(value, 'prefix')) return { key, rangeEnd: NOTHING };
  return { key: key.length === 0 ? FIRST : key, rangeEnd: prefixEndOf(key) };
}

// ── members ───────────────────────────────────────────────────────────────────────────────────────────────────────────

function bytesOf(value: Members, name: string): Buffer {
  const text = value[name];
  const coded = value[`${name}_base64`];
  if (typeof text === 'string' && coded === undefined) return Buffer.from(text, 'utf8');
  if (typeof coded === 'string' && text === undefined && /^[A-Za-z0-9+/]*={0,2}$/.test(coded)) {
    return Buffer.from(coded, 'base64');
  }
  throw badRequest(`give ${name} as text, or ${name}_base64`);
}

function flagOf(value: Members, name: string): boolean {
  const flag = value[name] ?? false;
  if (typeof flag !== 'boolean') throw badRequest(`${name} is true or false`);
  return flag;
}

function numberOf(value: Members, name: string): number {
  const number = value[name];
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= REVISION_MAX) return number;
  throw badRequest(`${name} is a whole number`);
}

function leaseOf(value: Members): string {
  const lease = value['lease'];
  if (typeof lease !== 'string') throw badRequest('lease is the id as text');
  return readLease(lease);
}

// ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────────────

function showTxn(request: TxnRequest, answer: TxnResponse, base64: boolean): Members {
  const done = answer.succeeded ? request.success : request.failure;
  const results = answer.responses.map((each, index) => showResult(done[index] as RequestOp, each, base64));
  return { succeeded: answer.succeeded, results };
}

function showResult(asked: RequestOp, op: ResponseOp, base64: boolean): Members {
  const options = { base64, withValue: asked.requestRange?.keysOnly !== true };
  if (op.responseRange !== null) {
    const { kvs, count, more } = op.responseRange;
    return { kvs: kvs.map((kv) => showKey(kv, options)), count, more };
  }
  if (op.responsePut !== null) {
    const { prevKv } = op.responsePut;
    return { put: true, ...(prevKv === null ? {} : { previous: showKey(prevKv, options) }) };
  }
  if (op.responseDeleteRange !== null) {
    const { deleted, prevKvs } = op.responseDeleteRange;
    return { deleted, ...(prevKvs.length === 0 ? {} : { previous: prevKvs.map((kv) => showKey(kv, options)) }) };
  }
  return asked.requestTxn !== null && op.responseTxn !== null ? showTxn(asked.requestTxn, op.responseTxn, base64) : {};
}
