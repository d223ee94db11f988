/** The plain HTTP side of a client address: /version, /health, /livez, /readyz, /metrics. */
import { ErrTimeout } from '@etsd/proto';
import type { HealthFigures } from './health-figures.ts';

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
  readonly figures: HealthFigures;
}

/** What the operator allows of browsers and host names. */
export interface HttpPolicy {
  /** Null where no page has any business. */
  readonly cors: readonly string[] | null;
  readonly hostWhitelist: readonly string[];
  /** Whether a certificate's common name is an identity that the gateway would not pass on: such calls are refused. */
  readonly ignoresNames: () => boolean;
}

const TIMEOUT = ErrTimeout.message;
const TEXT = 'text/plain; charset=utf-8';

/** Answers one request by its method and address, decoded. Never rejects. */
export async function answerRoute(member: HttpMember, method: string, url: URL): Promise<HttpAnswer> {
  const known =
    ['/version', '/health', '/metrics'].includes(url.pathname) || /^\/(livez|readyz)(\/|$)/.test(url.pathname);
  if (!known) return text(404, '404 page not found\n', ['X-Content-Type-Options', 'nosniff']);
  // Whoever wants the figures gets them, however he asks.
  if (method !== 'GET' && url.pathname !== '/metrics') {
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
        body: page(member),
      };
    case '/health':
      return await health(member, url);
    default:
      return await checks(member, url);
  }
}

function page(member: HttpMember): string {
  const shown = member.metricsPage();
  member.figures.pages++;
  return shown;
}

async function health(member: HttpMember, url: URL): Promise<HttpAnswer> {
  const reason = await healthReason(member, url);
  if (reason === undefined) member.figures.healthy++;
  else member.figures.unhealthy++;
  if (reason === undefined) return text(200, '{"health":"true","reason":""}');
  return text(503, `${JSON.stringify({ health: 'false', reason })}\n`, ['X-Content-Type-Options', 'nosniff']);
}

async function healthReason(member: HttpMember, url: URL): Promise<string | undefined> {
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

async function checks(member: HttpMember, url: URL): Promise<HttpAnswer> {
  const [, set, ...below] = url.pathname.split('/') as [string, string, ...string[]];
  let names = SETS[set] as readonly string[];
  if (below.length > 0) {
    const single = below.join('/');
    if (!names.includes(single)) return text(404, '404 page not found\n', ['X-Content-Type-Options', 'nosniff']);
    names = [single];
  }
  const excluded = url.searchParams.getAll('exclude');
  const lines: string[] = [];
  let failed = false;
  for (const name of names.filter((candidate) => !excluded.includes(candidate))) {
    const reason = await (CHECKS[name] as Check)(member);
    if (reason !== undefined) failed = true;
    member.figures.checked(set, name, reason === undefined);
    lines.push(reason === undefined ? `[+]${name} ok\n` : `[-]${name} failed: ${reason}\n`);
  }
  const nosniff = ['X-Content-Type-Options', 'nosniff'] as const;
  if (failed) return text(503, `${lines.join('')}\n`, nosniff);
  return text(200, url.searchParams.has('verbose') ? `${lines.join('')}ok\n` : 'ok\n', nosniff);
}

function text(status: number, body: string, ...headers: ReadonlyArray<readonly [string, string]>): HttpAnswer {
  return { status, headers: [['Content-Type', TEXT], ...headers], body };
}

/** Why a request over plain HTTP for this host is refused; null where it is not. */
export function refusedHost(policy: HttpPolicy, header: string | undefined): string | null {
  if (policy.hostWhitelist.length === 0 || policy.hostWhitelist.includes('*')) return null;
  const host = (header ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (policy.hostWhitelist.includes(host)) return null;
  return `etcd received your request, but the Host header was unrecognized.\n\nTo fix this, allow the name: etcd --host-whitelist "${host}"\nThe check guards browsers against DNS rebinding (CVE-2018-5702).\n`;
}
