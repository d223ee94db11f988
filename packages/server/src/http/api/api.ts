/**
 * The friendly HTTP API under `/api/`: keys as resources with revisions as entity tags, lists in pages, events as they
 * happen, transactions and leases, all as people would write them. It is a face of the same methods as gRPC: each
 * request becomes calls to the member's own handlers, behind the same rules, in the name of whoever asks.
 */
import {
  ErrAuthNotEnabled,
  ErrAuthOldRevision,
  ErrInvalidAuthToken,
  ErrNoSpace,
  MemberListRequest,
  StatusRequest,
} from '@etsd/proto';
import type { ApiHandler } from '../../context.ts';
import type { WebExchange } from '../web-exchange.ts';
import { percentDecode, Query } from './address.ts';
import { listKeys, readKey, removeKey, removeKeys, writeKey } from './keys.ts';
import { grantLease, keepAlive, listLeases, readLeaseResource, revokeLease } from './leases.ts';
import { type Caller, type Credentials, call } from './local-call.ts';
import { AUTHENTICATE, MEMBER_LIST, STATUS } from './methods.ts';
import { readLevel, readUsage, writeLevel } from './observe.ts';
import { openApiDocument } from './openapi.ts';
import { badRequest, Problem, problemOf, respondProblem } from './problem.ts';
import { allowMembers, jsonBody, type Question } from './question.ts';
import { Sessions } from './sessions.ts';
import { runTxn } from './txn.ts';
import { watch } from './watch.ts';

export const API_PREFIX = '/api/';

export interface HttpApiParts {
  readonly handlerOf: (path: string) => ApiHandler | undefined;
  readonly nowMs: () => number;
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  readonly bodyBytesMax: number;
  readonly operationsMax: number;
  /** Takes note of what should not have happened. */
  readonly report: (error: unknown) => void;
  /** The common name of a client's certificate says who calls. */
  readonly passesIdentity: boolean;
  /** What is told beside a refusal for want of space. */
  readonly space?: () => Readonly<Record<string, unknown>>;
}

/** What a request may name, with the methods it takes. */
type Handler = (question: Question, rest: string) => Promise<void>;
type Methods = Readonly<Record<string, Handler>>;

const EXACT: ReadonlyMap<string, Methods> = new Map<string, Methods>([
  ['keys', { GET: listKeys, DELETE: removeKeys }],
  ['watch', { GET: watch }],
  ['txn', { POST: runTxn }],
  ['leases', { GET: listLeases, POST: grantLease }],
  ['login', { POST: login }],
  ['status', { GET: status }],
  ['usage', { GET: readUsage }],
  ['log-level', { GET: readLevel, PUT: writeLevel }],
  ['openapi.json', { GET: document }],
]);

const KEY_METHODS: Methods = { GET: withKey(readKey), PUT: withKey(writeKey), DELETE: withKey(removeKey) };
const LEASE_METHODS: Methods = { GET: readLeaseResource, DELETE: revokeLease };
const KEEP_ALIVE_METHODS: Methods = {
  POST: (question, rest) => keepAlive(question, rest.slice(0, -'/keepalive'.length)),
};

function withKey(handler: (question: Question, key: Buffer) => Promise<void>): Handler {
  return (question, rest) => {
    const key = percentDecode(rest);
    if (key.length === 0) throw badRequest('the key is empty; all keys are at /api/keys');
    return handler(question, key);
  };
}

function routeOf(path: string): [methods: Methods, rest: string] | null {
  const exact = EXACT.get(path);
  if (exact !== undefined) return [exact, ''];
  if (path.startsWith('keys/')) return [KEY_METHODS, path.slice('keys/'.length)];
  if (!path.startsWith('leases/')) return null;
  const rest = path.slice('leases/'.length);
  if (/^-?\d+$/.test(rest)) return [LEASE_METHODS, rest];
  return /^-?\d+\/keepalive$/.test(rest) ? [KEEP_ALIVE_METHODS, rest] : null;
}

const ALLOWED_HEADERS = 'accept, authorization, content-type, if-match, if-none-match, last-event-id';
const SHOWN_HEADERS =
  'ETag, Location, WWW-Authenticate, X-Etsd-Revision, X-Etsd-Create-Revision, X-Etsd-Version, X-Etsd-Lease';

/** Headers that let a page of the origin use the API; none where it may not. `cors` is what every other path answers. */
function corsOf(cors: readonly string[]): string[] {
  const origin = cors.at(cors.indexOf('Access-Control-Allow-Origin') + 1);
  if (cors.length === 0 || origin === undefined) return [];
  return [
    ...['Access-Control-Allow-Origin', origin],
    ...['Access-Control-Allow-Methods', 'GET, HEAD, PUT, POST, DELETE, OPTIONS'],
    ...['Access-Control-Allow-Headers', ALLOWED_HEADERS],
    ...['Access-Control-Expose-Headers', SHOWN_HEADERS],
    ...(origin === '*' ? [] : ['Vary', 'Origin']),
  ];
}

export class HttpApi {
  private readonly parts: HttpApiParts;
  private readonly sessions: Sessions;

  constructor(parts: HttpApiParts) {
    this.parts = parts;
    this.sessions = new Sessions(parts.nowMs);
  }

  /** Serves a request whose target, as sent, begins with the prefix. */
  serve(exchange: WebExchange, cors: readonly string[]): void {
    const headers = corsOf(cors);
    if (exchange.method === 'OPTIONS') {
      exchange.respond(204, [...headers, 'Access-Control-Max-Age', '600'], '');
      return;
    }
    if (exchange.method !== 'GET' && exchange.method !== 'HEAD' && headers.length === 0 && !isSameOrigin(exchange)) {
      // A page may send simple requests to anywhere: what they would do has to be prevented here.
      respondProblem(exchange, headers, new Problem(403, 'origin_refused', 'pages of this origin may not use the API'));
      return;
    }
    exchange.readBody(this.parts.bodyBytesMax, (body) => {
      this.answer(exchange, headers, body).catch((error: unknown) => this.fail(exchange, headers, error));
    });
  }

  private async answer(exchange: WebExchange, headers: readonly string[], body: Buffer | null): Promise<void> {
    const { bodyBytesMax } = this.parts;
    if (body === null) throw new Problem(413, 'too_large', `the body is longer than ${bodyBytesMax} bytes`);
    const mark = exchange.target.indexOf('?');
    const path = exchange.target.slice(API_PREFIX.length, mark < 0 ? undefined : mark);
    const query = new Query(mark < 0 ? '' : exchange.target.slice(mark + 1));
    const route = routeOf(path);
    if (route === null) throw new Problem(404, 'no_such_path', 'there is nothing at this path; see /api/openapi.json');
    const [methods, rest] = route;
    const handler = methods[exchange.method === 'HEAD' ? 'GET' : exchange.method];
    if (handler === undefined || !Object.hasOwn(methods, exchange.method === 'HEAD' ? 'GET' : exchange.method)) {
      const allowed = Object.keys(methods).join(', ');
      throw new Problem(405, 'method_not_allowed', `this path takes ${allowed}`, ['Allow', allowed]);
    }
    const run = async (): Promise<string | null> => {
      const [caller, token] = await this.callerOf(exchange);
      try {
        await handler(this.question(exchange, query, caller, headers, body), rest);
        return null;
      } catch (error) {
        if (token === null || !STALE.includes((error as Error).message)) throw error;
        return token;
      }
    };
    // A login that was remembered may have ended meanwhile: then there is a new one, once.
    const stale = await run();
    if (stale === null) return;
    this.sessions.forget(stale);
    if ((await run()) !== null) throw new Problem(401, 'unauthenticated', ErrInvalidAuthToken.message);
  }

  /** In whose name the calls are made; the token where it stands for a name and a password. */
  private async callerOf(exchange: WebExchange): Promise<[Caller, string | null]> {
    const { handlerOf, passesIdentity } = this.parts;
    const onCancel = (cancel: () => void): void => {
      exchange.onGone = cancel;
      if (!exchange.isOpen) cancel();
    };
    const callerWith = (authorization: string | undefined): Caller => ({
      handlerOf,
      onCancel,
      credentials: credentialsOf(exchange, authorization, passesIdentity),
    });
    const authorization = exchange.header('authorization');
    if (authorization === undefined || !/^Basic /i.test(authorization)) return [callerWith(authorization), null];
    try {
      const token = await this.sessions.tokenFor(authorization, callerWith(undefined));
      return [callerWith(token), token];
    } catch (error) {
      // Where nobody is asked who he is, what he says of it does not matter.
      if ((error as Error).message === ErrAuthNotEnabled.message) return [callerWith(undefined), null];
      throw error;
    }
  }

  private question(
    exchange: WebExchange,
    query: Query,
    caller: Caller,
    headers: readonly string[],
    body: Buffer,
  ): Question {
    const json = (status: number, value: unknown, more: readonly string[] = []): void =>
      exchange.respond(status, [...headers, ...more, ...JSON_HEADERS], `${JSON.stringify(value)}\n`);
    const { after, operationsMax } = this.parts;
    return {
      exchange,
      query,
      caller,
      headers,
      body,
      operationsMax,
      after,
      json,
      fail: (error) => this.fail(exchange, headers, error),
    };
  }

  /** A bug of ours does not bring the member down for a request: it is written down, and the request told so. */
  private fail(exchange: WebExchange, headers: readonly string[], error: unknown): void {
    const problem = problemOf(error);
    if (problem === null) this.parts.report(error);
    respondProblem(
      exchange,
      headers,
      problem ?? new Problem(500, 'internal', 'this member could not serve the request'),
      problem?.message === ErrNoSpace.message && this.parts.space !== undefined ? { space: this.parts.space() } : {},
    );
  }
}

/** What a token is refused with that was good once. */
const STALE: readonly string[] = [ErrInvalidAuthToken.message, ErrAuthOldRevision.message];

/** Whether no page of another origin has sent it. */
function isSameOrigin(exchange: WebExchange): boolean {
  const origin = exchange.header('origin');
  return origin === undefined || origin.replace(/^https?:\/\//i, '') === exchange.header('host');
}

const JSON_HEADERS = [
  'Content-Type',
  'application/json',
  'X-Content-Type-Options',
  'nosniff',
  'Cache-Control',
  'no-cache',
];

function credentialsOf(exchange: WebExchange, authorization: string | undefined, passesIdentity: boolean): Credentials {
  return {
    peer: exchange.peer,
    peerCommonName: passesIdentity ? exchange.peerCommonName : '',
    header(name) {
      if (name === 'authorization') return authorization;
      if (name === 'traceparent') return exchange.header(name);
      return name === 'grpcgateway-accept' && !passesIdentity ? '' : undefined;
    },
  };
}

// ── what is left ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** `POST /api/login`: a token for `Authorization: Bearer`. */
async function login(question: Question): Promise<void> {
  question.query.allow();
  const body = jsonBody(question);
  allowMembers(body, 'a login', 'name', 'password');
  const { name, password } = body;
  if (typeof name !== 'string' || typeof password !== 'string') throw badRequest('give name and password');
  const { token } = await call(question.caller, AUTHENTICATE, { ...AUTHENTICATE_ZERO, name, password });
  question.json(200, { token }, ['Cache-Control', 'no-store']);
}

const AUTHENTICATE_ZERO = { name: '', password: '', simpleToken: '' };

/** `GET /api/status`: of this member, and who the others are. */
async function status(question: Question): Promise<void> {
  question.query.allow();
  const { header, version, dbSize, dbSizeInUse, leader, errors } = await call(
    question.caller,
    STATUS,
    new StatusRequest(),
  );
  const { members } = await call(question.caller, MEMBER_LIST, MemberListRequest.create({ linearizable: false }));
  question.json(200, {
    version,
    revision: header?.revision ?? 0,
    cluster: showId(header?.clusterId),
    member: showId(header?.memberId),
    leader: showId(leader),
    size: dbSize,
    size_in_use: dbSizeInUse,
    errors,
    members: members.map(({ ID, name, peerURLs, clientURLs, isLearner }) => ({
      id: showId(ID),
      name,
      peer_urls: peerURLs,
      client_urls: clientURLs,
      learner: isLearner,
    })),
  });
}

/** As etcd's tools print it: hexadecimal. */
function showId(id: string | undefined): string {
  return (id ?? '').replace(/^0+/, '');
}

function document(question: Question): Promise<void> {
  question.json(200, openApiDocument());
  return Promise.resolve();
}
