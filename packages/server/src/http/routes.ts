/** The plain HTTP side of a client address: /version, /health, /livez, /readyz, /metrics. */
import { ErrTimeout } from '@etsd/proto';

/** A request without a body, as both HTTP/1.1 and HTTP/2 bring it. */
export interface HttpQuestion {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly origin: string | undefined;
  readonly host: string | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: ReadonlyArray<readonly [string, string]>;
  readonly body: string;
}

/** What the routes ask of the member. */
export interface HttpMember {
  readonly serverVersion: string;
  /** `undefined` until it is decided. */
  clusterVersion(): string | undefined;
  hasLeader(): boolean;
  isLearner(): boolean;
  /** Names of the alarms raised, such as `NOSPACE`, each once. */
  alarms(): readonly string[];
  /** Resolves to nothing when a linearizable read works, or to the reason why not. */
  probeRead(): Promise<string | undefined>;
  metricsPage(): string;
}

/** What the operator allows of browsers and host names. */
export interface HttpPolicy {
  readonly cors: readonly string[];
  readonly hostWhitelist: readonly string[];
  /** Host names are checked over plain HTTP alone. */
  readonly secure: boolean;
}

const TIMEOUT = ErrTimeout.message;
const TEXT = 'text/plain; charset=utf-8';

/** Answers one request. Never throws, never rejects. */
export async function answerHttp(member: HttpMember, policy: HttpPolicy, question: HttpQuestion): Promise<HttpAnswer> {
  const refused = checkHost(policy, question.host);
  if (refused !== undefined) return refused;
  const common = corsHeaders(policy, question.origin);
  if (question.method === 'OPTIONS') return { status: 200, headers: common, body: '' };
  const url = parseTarget(question.target);
  const answer = await route(member, question.method, url);
  return { status: answer.status, headers: [...common, ...answer.headers], body: answer.body };
}

/** Where a request goes. */
interface Target {
  readonly pathname: string;
  readonly searchParams: URLSearchParams;
}

/** Not by `URL`, which throws at some of what a client may write (`//`). */
function parseTarget(target: string): Target {
  const mark = target.indexOf('?');
  const pathname = mark < 0 ? target : target.slice(0, mark);
  return { pathname, searchParams: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)) };
}

async function route(member: HttpMember, method: string, url: Target): Promise<HttpAnswer> {
  const known =
    ['/version', '/health', '/metrics'].includes(url.pathname) || /^\/(livez|readyz)(\/|$)/.test(url.pathname);
  if (!known) return text(404, '404 page not found\n', ['X-Content-Type-Options', 'nosniff']);
  if (method !== 'GET') {
    return text(405, 'Method Not Allowed\n', ['Allow', 'GET'], ['X-Content-Type-Options', 'nosniff']);
  }
  switch (url.pathname) {
    case '/version':
      return {
        status: 200,
        headers: [['Content-Type', 'application/json']],
        body: JSON.stringify({
          etcdserver: member.serverVersion,
          etcdcluster: member.clusterVersion() ?? 'not_decided',
        }),
      };
    case '/metrics':
      return {
        status: 200,
        headers: [['Content-Type', 'text/plain; version=0.0.4; charset=utf-8; escaping=underscores']],
        body: member.metricsPage(),
      };
    case '/health':
      return await health(member, url);
    default:
      return await checks(member, url);
  }
}

async function health(member: HttpMember, url: Target): Promise<HttpAnswer> {
  const reason = await healthReason(member, url);
  if (reason === undefined) return text(200, '{"health":"true","reason":""}');
  return text(503, `${JSON.stringify({ health: 'false', reason })}\n`, ['X-Content-Type-Options', 'nosniff']);
}

async function healthReason(member: HttpMember, url: Target): Promise<string | undefined> {
  const excluded = url.searchParams.getAll('exclude');
  for (const alarm of member.alarms()) {
    if (!excluded.includes(alarm)) return `ALARM ${alarm}`;
  }
  if (url.searchParams.get('serializable') === 'true') return undefined;
  if (!member.hasLeader()) return 'RAFT NO LEADER';
  const failure = await member.probeRead();
  // etcd limits the time of this one probe itself, which is how its failure reads.
  return failure === undefined
    ? undefined
    : `RANGE ERROR:${failure === TIMEOUT ? 'context deadline exceeded' : failure}`;
}

type Check = (member: HttpMember) => Promise<string | undefined>;

const CHECKS: Readonly<Record<string, Check>> = {
  data_corruption: (member) =>
    Promise.resolve(member.alarms().includes('CORRUPT') ? 'alarm activated: CORRUPT' : undefined),
  serializable_read: () => Promise.resolve(undefined),
  linearizable_read: (member) => member.probeRead(),
  non_learner: (member) => Promise.resolve(member.isLearner() ? 'not supported for learner' : undefined),
};

const SETS: Readonly<Record<string, readonly string[]>> = {
  livez: ['serializable_read'],
  readyz: ['data_corruption', 'serializable_read', 'linearizable_read', 'non_learner'],
};

async function checks(member: HttpMember, url: Target): Promise<HttpAnswer> {
  const [, set, single] = url.pathname.split('/') as [string, string, string | undefined];
  let names = SETS[set] as readonly string[];
  if (single !== undefined && single !== '') {
    if (!names.includes(single)) return text(404, '404 page not found\n', ['X-Content-Type-Options', 'nosniff']);
    names = [single];
  }
  const excluded = url.searchParams.getAll('exclude');
  const lines: string[] = [];
  let failed = false;
  for (const name of names.filter((candidate) => !excluded.includes(candidate))) {
    const reason = await (CHECKS[name] as Check)(member);
    if (reason !== undefined) failed = true;
    lines.push(reason === undefined ? `[+]${name} ok\n` : `[-]${name} failed: ${reason}\n`);
  }
  const nosniff = ['X-Content-Type-Options', 'nosniff'] as const;
  if (failed) return text(503, `${lines.join('')}\n`, nosniff);
  return text(200, url.searchParams.has('verbose') ? `${lines.join('')}ok\n` : 'ok\n', nosniff);
}

function text(status: number, body: string, ...headers: ReadonlyArray<readonly [string, string]>): HttpAnswer {
  return { status, headers: [['Content-Type', TEXT], ...headers], body };
}

function corsHeaders(policy: HttpPolicy, origin: string | undefined): ReadonlyArray<readonly [string, string]> {
  const anybody = policy.cors.length === 0 || policy.cors.includes('*');
  const allowed = anybody ? '*' : origin !== undefined && policy.cors.includes(origin) ? origin : undefined;
  if (allowed === undefined) return [];
  return [
    ['Access-Control-Allow-Headers', 'accept, content-type, authorization'],
    ['Access-Control-Allow-Methods', 'POST, GET, OPTIONS, PUT, DELETE'],
    ['Access-Control-Allow-Origin', allowed],
  ];
}

function checkHost(policy: HttpPolicy, header: string | undefined): HttpAnswer | undefined {
  if (policy.secure || policy.hostWhitelist.length === 0 || policy.hostWhitelist.includes('*')) return undefined;
  const host = (header ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (policy.hostWhitelist.includes(host)) return undefined;
  return text(
    421,
    `etcd received your request, but the Host header was unrecognized.\n\nTo fix this, allow the name: etcd --host-whitelist "${host}"\nThe check guards browsers against DNS rebinding (CVE-2018-5702).\n`,
  );
}
