/** One key as a resource, and lists of keys. */
import {
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  type KeyValue,
  PutRequest,
  RangeRequest,
  type RangeResponse,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from '@etsd/proto';
import type { WebExchange } from '../web-exchange.ts';
import { isKnownTo, type Precondition, preconditionOf, tagOf } from './etags.ts';
import { call } from './local-call.ts';
import { DELETE_RANGE, RANGE, TXN } from './methods.ts';
import { badRequest, Problem } from './problem.ts';
import type { Question } from './question.ts';
import { readLease, showKey, showLease, textOf } from './render.ts';
import { REVISION_MAX, spanOf, wantsBase64 } from './span.ts';
import { untilChanged, WAIT_SECONDS_MAX } from './watch.ts';

const PAGE_DEFAULT = 100;
const PAGE_MAX = 1000;
const FIRST = Buffer.from([0]);

/** `GET /api/keys/KEY`: the value itself, or all about the key where JSON is asked for. */
export async function readKey(question: Question, key: Buffer): Promise<void> {
  const { query, exchange } = question;
  query.allow('revision', 'serializable', 'encoding', 'wait');
  const revision = query.number('revision', 0, 1, REVISION_MAX);
  const request = RangeRequest.create({ key, revision, serializable: query.flag('serializable') });
  const base64 = wantsBase64(question);
  const waitSeconds = query.number('wait', 0, 0, WAIT_SECONDS_MAX);
  let found = await call(question.caller, RANGE, request);
  if (waitSeconds > 0 && isAsKnown(exchange, found)) {
    await untilChanged(question, key, found.header?.revision ?? 0, waitSeconds);
    found = await call(question.caller, RANGE, request);
  }
  const kv = found.kvs[0];
  const store = ['X-Etsd-Revision', String(found.header?.revision ?? 0)];
  if (kv === undefined) throw new Problem(404, 'key_not_found', 'the key is not there', store);
  const headers = [...store, ...headersOf(kv)];
  if (isKnownTo(exchange, kv.modRevision)) {
    exchange.respond(304, [...question.headers, ...headers], '');
    return;
  }
  if (/\bapplication\/json\b/.test(exchange.header('accept') ?? '')) {
    question.json(200, showKey(kv, { base64, withValue: true }), headers);
    return;
  }
  const type = textOf(kv.value) === null ? 'application/octet-stream' : 'text/plain; charset=utf-8';
  const safe = ['Content-Type', type, 'X-Content-Type-Options', 'nosniff', 'Cache-Control', 'no-cache'];
  exchange.respond(200, [...question.headers, ...headers, ...safe, 'Vary', 'Accept'], kv.value);
}

/** Whether the client has what was found, or has found nothing and knows it. */
function isAsKnown(exchange: WebExchange, { kvs: [kv] }: RangeResponse): boolean {
  if (kv !== undefined) return isKnownTo(exchange, kv.modRevision);
  return exchange.header('if-none-match') === undefined;
}

function headersOf(kv: KeyValue): string[] {
  const headers = ['ETag', tagOf(kv.modRevision), 'X-Etsd-Create-Revision', String(kv.createRevision)];
  headers.push('X-Etsd-Version', String(kv.version));
  if (!/^0+$/.test(kv.lease)) headers.push('X-Etsd-Lease', showLease(kv.lease));
  return headers;
}

/** `PUT /api/keys/KEY`: the body becomes the value, if the condition holds. */
export async function writeKey(question: Question, key: Buffer): Promise<void> {
  const { query, exchange, body } = question;
  query.allow('lease', 'keep_lease');
  const lease = query.text('lease');
  if (lease !== undefined && query.flag('keep_lease')) throw badRequest('lease and keep_lease exclude each other');
  const put = PutRequest.create({ key, value: body, ignoreLease: query.flag('keep_lease') });
  if (lease !== undefined) put.lease = readLease(lease);
  const condition = preconditionOf(exchange);
  const request = TxnRequest.create({
    compare: condition === null ? [] : [compareOf(key, condition)],
    success: [
      operation({ requestRange: RangeRequest.create({ key, keysOnly: true }) }),
      operation({ requestPut: put }),
    ],
    failure: [operation({ requestRange: RangeRequest.create({ key, keysOnly: true }) })],
  });
  const answer = await call(question.caller, TXN, request);
  const before = answer.responses[0]?.responseRange?.kvs[0];
  if (!answer.succeeded) throw unmet(before);
  const revision = answer.header?.revision ?? 0;
  question.json(before === undefined ? 201 : 200, { revision, created: before === undefined }, [
    'ETag',
    tagOf(revision),
  ]);
}

/** `DELETE /api/keys/KEY`, if the condition holds. */
export async function removeKey(question: Question, key: Buffer): Promise<void> {
  question.query.allow();
  const condition = preconditionOf(question.exchange);
  const request = TxnRequest.create({
    compare: condition === null ? [] : [compareOf(key, condition)],
    success: [operation({ requestDeleteRange: DeleteRangeRequest.create({ key }) })],
    failure: [operation({ requestRange: RangeRequest.create({ key, keysOnly: true }) })],
  });
  const answer = await call(question.caller, TXN, request);
  if (!answer.succeeded) throw unmet(answer.responses[0]?.responseRange?.kvs[0]);
  if (answer.responses[0]?.responseDeleteRange?.deleted === 0) {
    throw new Problem(404, 'key_not_found', 'the key is not there');
  }
  question.json(200, { revision: answer.header?.revision ?? 0, deleted: 1 });
}

function operation(partial: Partial<RequestOp>): RequestOp {
  return RequestOp.create(partial);
}

function compareOf(key: Buffer, condition: Precondition): Compare {
  if (condition.kind === 'revision') {
    const modRevision = condition.revision;
    return Compare.create({ key, target: CompareTarget.MOD, result: CompareResult.EQUAL, modRevision });
  }
  const result = condition.kind === 'present' ? CompareResult.GREATER : CompareResult.EQUAL;
  return Compare.create({ key, target: CompareTarget.CREATE, result, createRevision: 0 });
}

function unmet(kv: KeyValue | undefined): Problem {
  const now = kv === undefined ? 'the key is not there' : `the key is at revision ${kv.modRevision}`;
  return new Problem(412, 'precondition_failed', now, kv === undefined ? [] : ['ETag', tagOf(kv.modRevision)]);
}

// ── many keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** `GET /api/keys`: a page of keys; `next` leads to the following one, of the same revision. */
export async function listKeys(question: Question): Promise<void> {
  const { query } = question;
  query.allow(
    'prefix',
    'from',
    'to',
    'limit',
    'page',
    'revision',
    'reverse',
    'keys_only',
    'count_only',
    'encoding',
    'serializable',
  );
  const span = spanOf(question);
  const reverse = query.flag('reverse');
  const page = pageOf(query.text('page'));
  const keysOnly = query.flag('keys_only');
  const request = RangeRequest.create({
    key: page !== null && !reverse ? Buffer.concat([page.last, FIRST]) : span.key,
    rangeEnd: page !== null && reverse ? page.last : span.rangeEnd,
    limit: query.number('limit', PAGE_DEFAULT, 1, PAGE_MAX),
    revision: page?.revision ?? query.number('revision', 0, 1, REVISION_MAX),
    keysOnly,
    countOnly: query.flag('count_only'),
    serializable: query.flag('serializable'),
    sortOrder: reverse ? SortOrder.DESCEND : SortOrder.NONE,
    sortTarget: SortTarget.KEY,
  });
  const found = await call(question.caller, RANGE, request);
  const revision = request.revision === 0 ? (found.header?.revision ?? 0) : request.revision;
  const options = { base64: wantsBase64(question), withValue: !keysOnly };
  const kvs = found.kvs.map((kv) => showKey(kv, options));
  const shown = query.flag('count_only') ? {} : { kvs };
  question.json(200, { revision, count: found.count, ...shown, ...nextOf(found, revision) });
}

/** Where a page ended, and at which revision. */
interface Page {
  readonly revision: number;
  readonly last: Buffer;
}

function nextOf(found: RangeResponse, revision: number): { next?: string } {
  const last = found.kvs.at(-1)?.key;
  return found.more && last !== undefined ? { next: `${revision}.${last.toString('base64url')}` } : {};
}

function pageOf(token: string | undefined): Page | null {
  if (token === undefined) return null;
  const match = /^([1-9]\d{0,14})\.([A-Za-z0-9_-]+)$/.exec(token);
  if (match === null) throw badRequest('page is what an answer gave as next');
  return { revision: Number(match[1]), last: Buffer.from(match[2] as string, 'base64url') };
}

/** `DELETE /api/keys`: all keys of a prefix or range, which has to be named. */
export async function removeKeys(question: Question): Promise<void> {
  const { query } = question;
  query.allow('prefix', 'from', 'to');
  if (!query.has('prefix') && !query.has('from') && !query.has('to'))
    throw badRequest('say which keys: prefix, from, to');
  const answer = await call(question.caller, DELETE_RANGE, DeleteRangeRequest.create(spanOf(question)));
  question.json(200, { revision: answer.header?.revision ?? 0, deleted: answer.deleted });
}
