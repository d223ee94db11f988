/** What every request to a client address passes, whatever it asks for: host names, origins, and which part answers. */
import type { IncomingMessage } from 'node:http';
import { gzip } from 'node:zlib';
import { API_PREFIX, type HttpApi } from './api/api.ts';
import { type DebugRoutes, PPROF_PREFIX } from './debug-routes.ts';
import type { Gateway } from './gateway/gateway.ts';
import { GATEWAY_PREFIX } from './gateway/gateway.ts';
import { answerRoute, type HttpAnswer, type HttpMember, type HttpPolicy, refusedHost } from './routes.ts';
import { type HandlerOf, V2_PREFIX, type V2Api } from './v2/v2-api.ts';
import type { WebExchange } from './web-exchange.ts';

export interface FrontParts {
  readonly member: HttpMember;
  readonly policy: HttpPolicy;
  /** Null where the operator wants none. */
  readonly gateway: Gateway | null;
  readonly api: HttpApi | null;
  /** What is under /v2, and the methods it calls. */
  readonly v2?: { readonly api: V2Api; readonly handlerOf: HandlerOf } | null;
  readonly debug?: DebugRoutes | null;
  /** Only what watches over a member is served: its figures and its health. */
  readonly figuresOnly?: boolean;
}

const NAME_IGNORED =
  'CommonName of client sending a request against gateway will be ignored and not used as expected\n';
/** Answers shorter than this are not packed. */
const PACKED_FROM = 4096;
const TEXT_HEADERS = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff'];

export class HttpFront {
  private readonly parts: FrontParts;

  constructor(parts: FrontParts) {
    this.parts = parts;
  }

  /** Whether the connection shall become a WebSocket. Who proposes another protocol, or elsewhere, gets a plain answer. */
  takesUpgrade(request: IncomingMessage): boolean {
    if (this.parts.gateway === null || request.headers.upgrade?.toLowerCase() !== 'websocket') return false;
    return /^\/v3(?:beta)?\//.test(parseTarget(request.url ?? '')?.path ?? '');
  }

  /** A page may open a WebSocket to anywhere: unlike with other requests, nobody but us can stop it. */
  allowsOrigin(request: IncomingMessage): boolean {
    const { origin } = request.headers;
    return origin === undefined || corsHeaders(this.parts.policy, origin).length > 0;
  }

  serve(exchange: WebExchange): void {
    const { api, gateway, member, policy, v2 = null } = this.parts;
    const isApi = api !== null && exchange.target.startsWith(API_PREFIX);
    const url = isApi ? { path: API_PREFIX, query: '' } : parseTarget(exchange.target);
    if (url === null) {
      exchange.respond(400, TEXT_HEADERS, '400 Bad Request');
      return;
    }
    const path = url.path.startsWith('/v3beta/') ? `/v3/${url.path.slice('/v3beta/'.length)}` : url.path;
    const isV2 = v2 !== null && path.startsWith(V2_PREFIX);
    if (!exchange.isSecure) {
      const refused = refusedHost(policy, exchange.header('host'));
      if (refused !== null) {
        exchange.respond(421, TEXT_HEADERS, refused);
        return;
      }
    } else if (
      policy.ignoresNames() &&
      (isApi || path.startsWith(GATEWAY_PREFIX) || isV2) &&
      exchange.peerCommonName !== ''
    ) {
      exchange.respond(400, TEXT_HEADERS, NAME_IGNORED);
      return;
    }
    const headers = corsHeaders(policy, exchange.header('origin'));
    if (isApi) {
      api.serve(exchange, headers);
      return;
    }
    if (exchange.method === 'OPTIONS') {
      exchange.respond(200, headers, '');
      return;
    }
    const clean = cleanPath(path);
    if (clean !== path || (path === '/v3' && gateway !== null)) {
      const location = (path === '/v3' ? GATEWAY_PREFIX : escapePath(clean)) + url.query;
      redirect(exchange, headers, location);
      return;
    }
    if (isV2) {
      v2.api.serve(exchange, { path, query: url.query }, headers, v2.handlerOf);
      return;
    }
    if (gateway !== null && path.startsWith(GATEWAY_PREFIX)) {
      gateway.serve(exchange, path, headers);
      return;
    }
    const { debug } = this.parts;
    if (exchange.method === 'GET' && debug?.takes(path) === true) {
      if (`${path}/` === PPROF_PREFIX) redirect(exchange, headers, PPROF_PREFIX + url.query);
      else debug.serve(exchange, path, url.query, headers);
      return;
    }
    if (this.parts.figuresOnly === true && !/^\/(?:metrics$|health$|livez|readyz)/.test(path)) {
      exchange.respond(404, TEXT_HEADERS, '404 page not found\n');
      return;
    }
    answerRoute(member, exchange.method, new URL(escapePath(path) + url.query, 'http://local')).then(
      (answer) => respond(exchange, [...headers, ...answer.headers.flat()], answer),
      () => exchange.abort(),
    );
  }
}

/** A page of figures is long and shrinks to a tenth; whoever reads it says so that it can be packed, beside the event loop. */
function respond(exchange: WebExchange, headers: readonly string[], { status, body }: HttpAnswer): void {
  if (
    body.length < PACKED_FROM ||
    !/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|$))/.test(exchange.header('accept-encoding') ?? '')
  ) {
    exchange.respond(status, headers, body);
    return;
  }
  gzip(body, { level: 1 }, (error, packed) => {
    if (error === null) exchange.respond(status, [...headers, 'Content-Encoding', 'gzip'], packed);
    else exchange.respond(status, headers, body);
  });
}

/** Browsers are given a page to click on. */
function redirect(exchange: WebExchange, headers: readonly string[], location: string): void {
  const where = ['Location', location];
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') {
    exchange.respond(301, [...headers, ...where], '');
    return;
  }
  const shown = location.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const page = `<a href="${shown}">Moved Permanently</a>.\n\n`;
  exchange.respond(301, [...headers, ...where, 'Content-Type', 'text/html; charset=utf-8'], page);
}

/** Path, decoded, and the query with its question mark; null where the target is none. */
function parseTarget(target: string): { path: string; query: string } | null {
  let rest = target;
  if (!rest.startsWith('/')) {
    const match = /^https?:\/\/[^/?#]*(.*)$/i.exec(rest);
    if (match === null) return rest === '*' ? { path: '*', query: '' } : null;
    rest = (match[1] as string).startsWith('/') ? (match[1] as string) : `/${match[1]}`;
  }
  const mark = rest.indexOf('?');
  const path = mark < 0 ? rest : rest.slice(0, mark);
  try {
    return { path: path.includes('%') ? decodeURIComponent(path) : path, query: mark < 0 ? '' : rest.slice(mark) };
  } catch {
    // Here paths are text: keys that may be any bytes do not come this way.
    return null;
  }
}

/** Without empty, `.` and `..` segments; a slash at the end stays. */
function cleanPath(path: string): string {
  if (!/\/\/|\/\.\.?(?:\/|$)/.test(path)) return path;
  const kept: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  return `/${kept.join('/')}${path.endsWith('/') && kept.length > 0 ? '/' : ''}`;
}

function escapePath(path: string): string {
  return path.replace(/[^A-Za-z0-9/_.~!$&'()*+,;=:@-]/gu, (letter) => encodeURIComponent(letter));
}

/** Names and values in turn. */
export function corsHeaders({ cors }: HttpPolicy, origin: string | undefined): string[] {
  if (cors === null) return [];
  const anybody = cors.length === 0 || cors.includes('*');
  const allowed = anybody ? '*' : origin !== undefined && cors.includes(origin) ? origin : undefined;
  if (allowed === undefined) return [];
  return [
    'Access-Control-Allow-Headers',
    'accept, content-type, authorization',
    'Access-Control-Allow-Methods',
    'POST, GET, OPTIONS, PUT, DELETE',
    'Access-Control-Allow-Origin',
    allowed,
  ];
}
