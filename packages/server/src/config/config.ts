import { LOG_LEVELS, type LogLevel, OperatorError } from '@etsd/base';
import { findOption, OPTIONS } from './options.ts';
import { type Endpoint, formatDuration, parseDuration, parseEndpoint, parseValue, type Value } from './values.ts';

/** Everything a member is told at its start, checked. Times are milliseconds, sizes bytes. */
export interface MemberConfig {
  readonly name: string;
  readonly dataDir: string;
  /** Empty: under the data directory. */
  readonly walDir: string;
  readonly snapshotCount: number;
  readonly snapshotCatchupEntries: number;
  readonly heartbeatIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly listenPeerUrls: readonly Endpoint[];
  readonly listenClientUrls: readonly Endpoint[];
  readonly listenClientHttpUrls: readonly Endpoint[];
  readonly listenMetricsUrls: readonly Endpoint[];
  readonly advertiseClientUrls: readonly string[];
  readonly initialAdvertisePeerUrls: readonly string[];
  /** Member name to its peer URLs, in the order given. */
  readonly initialCluster: ReadonlyMap<string, readonly string[]>;
  readonly initialClusterState: 'new' | 'existing';
  readonly initialClusterToken: string;
  readonly strictReconfigCheck: boolean;
  readonly preVote: boolean;
  readonly initialElectionTickAdvance: boolean;
  /** Bytes; 0 is the default of 2 GiB, below 0 unlimited. */
  readonly quotaBackendBytes: number;
  readonly backendBatchIntervalMs: number;
  readonly backendBatchLimit: number;
  readonly maxTxnOps: number;
  readonly maxRequestBytes: number;
  readonly maxConcurrentStreams: number;
  readonly grpcKeepaliveMinTimeMs: number;
  readonly grpcKeepaliveIntervalMs: number;
  readonly grpcKeepaliveTimeoutMs: number;
  readonly socketReusePort: boolean;
  readonly autoCompactionMode: 'periodic' | 'revision';
  /** Milliseconds for periodic, revisions for revision, 0 for never. */
  readonly autoCompactionRetention: number;
  readonly compactionBatchLimit: number;
  readonly compactionSleepIntervalMs: number;
  readonly watchProgressNotifyIntervalMs: number;
  readonly certFile: string;
  readonly keyFile: string;
  readonly trustedCaFile: string;
  readonly clientCertAuth: boolean;
  /** Certificate shown to other members, as server and as client; empty where no peer address is https. */
  readonly peerCertFile: string;
  readonly peerKeyFile: string;
  /** Authorities that sign certificates of members; empty: the system's, and certificates are not asked for. */
  readonly peerTrustedCaFile: string;
  readonly peerClientCertAuth: boolean;
  readonly tlsMinVersion: string;
  readonly tlsMaxVersion: string;
  readonly cors: readonly string[];
  readonly hostWhitelist: readonly string[];
  readonly metrics: 'basic' | 'extensive';
  readonly logLevel: LogLevel;
  readonly logOutputs: readonly string[];
  readonly logFormat: 'json' | 'console';
  readonly forceNewCluster: boolean;
  readonly unsafeNoFsync: boolean;
}

/**
 * Operations in a batch of the backend where the operator does not choose. etcd's 10,000 would hold the event loop for
 * five milliseconds at a commit; with this many the 99th percentile of puts is little more than half as long.
 */
const BACKEND_BATCH_LIMIT = 2000;

/** Flags by name as text; what is absent has its default. */
export type RawConfig = ReadonlyMap<string, string>;

/**
 * Builds and checks a configuration. Every refusal is an `OperatorError` that names the flag and what would be right;
 * where etcd has a text for it, that text.
 */
export function buildConfig(raw: RawConfig): MemberConfig {
  const given = canonicalNames(raw);
  const values = new Map<string, Value>();
  for (const option of OPTIONS) {
    const text = given.get(option.name) ?? option.fallback;
    values.set(option.name, readValue(option.name, text));
    if (
      option.status === 'default-only' &&
      text !== option.fallback &&
      !isSameDefault(option.kind, text, option.fallback)
    ) {
      throw new OperatorError(
        `--${option.name} is a flag of etcd that this version of etsd does not have yet`,
        `Leave it out (its default is '${option.fallback}').`,
      );
    }
  }
  const config = assemble(values, given);
  validate(config, given);
  return config;
}

function canonicalNames(raw: RawConfig): Map<string, string> {
  const given = new Map<string, string>();
  for (const [name, text] of raw) {
    const option = findOption(name);
    if (option === undefined) throw new OperatorError(`unknown setting "${name}"`);
    const earlier = given.get(option.name);
    if (earlier !== undefined && earlier !== text) {
      throw new OperatorError(`--${name} and --${option.name} are the same flag and were given different values`);
    }
    given.set(option.name, text);
  }
  return given;
}

/** The value of a flag's text; refuses as the command line does. */
export function readValue(name: string, text: string): Value {
  const option = findOption(name);
  if (option === undefined) throw new OperatorError(`flag provided but not defined: -${name}`);
  try {
    return parseValue(option.kind, text);
  } catch (error) {
    const reason = error instanceof OperatorError ? error : new OperatorError(String(error));
    const shown = option.kind === 'boolean' ? 'boolean value' : 'value';
    throw new OperatorError(
      `invalid ${shown} "${text}" for ${option.kind === 'boolean' ? '' : 'flag '}-${name}: ${reason.message}`,
      reason.advice,
    );
  }
}

function isSameDefault(kind: string, text: string, fallback: string): boolean {
  return kind === 'boolean' && parseValue('boolean', text) === parseValue('boolean', fallback);
}

function assemble(values: ReadonlyMap<string, Value>, given: ReadonlyMap<string, string>): MemberConfig {
  const text = (name: string): string => values.get(name) as string;
  const count = (name: string): number => values.get(name) as number;
  const flag = (name: string): boolean => values.get(name) as boolean;
  const list = (name: string): readonly string[] => values.get(name) as readonly string[];
  const endpoints = (name: string): Endpoint[] => list(name).map(parseEndpoint);
  const name = text('name');
  const initialAdvertisePeerUrls = list('initial-advertise-peer-urls');
  // etcd's rule: a member that is given a name or peer addresses but no cluster is a cluster of itself.
  const clusterText = given.get('initial-cluster') ?? initialAdvertisePeerUrls.map((url) => `${name}=${url}`).join(',');
  const mode = text('auto-compaction-mode');
  return {
    name,
    dataDir: text('data-dir') === '' ? `${name}.etcd` : text('data-dir'),
    walDir: text('wal-dir'),
    snapshotCount: count('snapshot-count'),
    snapshotCatchupEntries: count('snapshot-catchup-entries'),
    heartbeatIntervalMs: count('heartbeat-interval'),
    electionTimeoutMs: count('election-timeout'),
    listenPeerUrls: endpoints('listen-peer-urls'),
    listenClientUrls: endpoints('listen-client-urls'),
    listenClientHttpUrls: endpoints('listen-client-http-urls'),
    listenMetricsUrls: endpoints('listen-metrics-urls'),
    advertiseClientUrls: list('advertise-client-urls'),
    initialAdvertisePeerUrls,
    initialCluster: parseInitialCluster(clusterText),
    initialClusterState: text('initial-cluster-state') as 'new' | 'existing',
    initialClusterToken: text('initial-cluster-token'),
    strictReconfigCheck: flag('strict-reconfig-check'),
    preVote: flag('pre-vote'),
    initialElectionTickAdvance: flag('initial-election-tick-advance'),
    quotaBackendBytes: count('quota-backend-bytes'),
    backendBatchIntervalMs: count('backend-batch-interval') || 100,
    backendBatchLimit: count('backend-batch-limit') || BACKEND_BATCH_LIMIT,
    maxTxnOps: count('max-txn-ops'),
    maxRequestBytes: count('max-request-bytes'),
    maxConcurrentStreams: count('max-concurrent-streams'),
    grpcKeepaliveMinTimeMs: count('grpc-keepalive-min-time'),
    grpcKeepaliveIntervalMs: count('grpc-keepalive-interval'),
    grpcKeepaliveTimeoutMs: count('grpc-keepalive-timeout'),
    socketReusePort: flag('socket-reuse-port'),
    autoCompactionMode: mode as 'periodic' | 'revision',
    autoCompactionRetention: parseRetention(mode, text('auto-compaction-retention')),
    compactionBatchLimit: count('compaction-batch-limit'),
    compactionSleepIntervalMs: count('compaction-sleep-interval'),
    watchProgressNotifyIntervalMs: count('watch-progress-notify-interval'),
    certFile: text('cert-file'),
    keyFile: text('key-file'),
    trustedCaFile: text('trusted-ca-file'),
    clientCertAuth: flag('client-cert-auth'),
    peerCertFile: text('peer-cert-file'),
    peerKeyFile: text('peer-key-file'),
    peerTrustedCaFile: text('peer-trusted-ca-file'),
    peerClientCertAuth: flag('peer-client-cert-auth'),
    tlsMinVersion: text('tls-min-version'),
    tlsMaxVersion: text('tls-max-version'),
    cors: list('cors'),
    hostWhitelist: list('host-whitelist'),
    metrics: text('metrics') as 'basic' | 'extensive',
    logLevel: text('log-level') as LogLevel,
    logOutputs: list('log-outputs'),
    logFormat: text('log-format') as 'json' | 'console',
    forceNewCluster: flag('force-new-cluster'),
    unsafeNoFsync: flag('unsafe-no-fsync'),
  };
}

/** `name=url,name=url2`; a name may come several times, once per URL. */
export function parseInitialCluster(text: string): Map<string, string[]> {
  const members = new Map<string, string[]>();
  if (text === '') return members;
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    if (at <= 0) throw new OperatorError(`--initial-cluster has "${part}", which is not of the form name=url`);
    const name = part.slice(0, at).trim();
    const url = parseEndpoint(part.slice(at + 1).trim()).url;
    const urls = members.get(name) ?? [];
    urls.push(url);
    members.set(name, urls);
  }
  return members;
}

function parseRetention(mode: string, text: string): number {
  if (mode === 'revision') {
    if (!/^\d+$/.test(text)) {
      throw new OperatorError(`--auto-compaction-retention "${text}" must be a number of revisions in mode revision`);
    }
    return Number(text);
  }
  if (/^\d+$/.test(text)) return Number(text) * 3_600_000;
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds < 0) {
    throw new OperatorError(`--auto-compaction-retention "${text}" must be hours or a duration such as 30m`);
  }
  return milliseconds;
}

function validate(config: MemberConfig, given: ReadonlyMap<string, string>): void {
  refuseUnless(
    ['new', 'existing'].includes(config.initialClusterState),
    `unexpected clusterState "${config.initialClusterState}"`,
  );
  refuseUnless(
    config.heartbeatIntervalMs > 0,
    `--heartbeat-interval must be >0 (set to ${formatDuration(config.heartbeatIntervalMs)})`,
  );
  refuseUnless(
    config.electionTimeoutMs > 0,
    `--election-timeout must be >0 (set to ${formatDuration(config.electionTimeoutMs)})`,
  );
  refuseUnless(
    config.electionTimeoutMs >= 5 * config.heartbeatIntervalMs,
    `--election-timeout[${formatMs(config.electionTimeoutMs)}] should be at least as 5 times as --heartbeat-interval[${formatMs(config.heartbeatIntervalMs)}]`,
  );
  refuseUnless(
    config.electionTimeoutMs <= 50_000,
    `--election-timeout[${formatMs(config.electionTimeoutMs)}] is too long, and should be set less than 50000ms`,
  );
  refuseUnless(
    !given.has('listen-client-urls') || given.has('advertise-client-urls'),
    '--advertise-client-urls is required when --listen-client-urls is set explicitly',
  );
  refuseUnless(
    ['periodic', 'revision'].includes(config.autoCompactionMode),
    config.autoCompactionMode === ('' as string)
      ? 'undefined auto-compaction-mode'
      : `unknown auto-compaction-mode "${config.autoCompactionMode}"`,
  );
  refuseUnless(
    ['basic', 'extensive'].includes(config.metrics),
    `--metrics "${config.metrics}" must be basic or extensive`,
  );
  refuseUnless(
    ['json', 'console'].includes(config.logFormat),
    `--log-format "${config.logFormat}" must be json or console`,
  );
  refuseUnless(
    LOG_LEVELS.includes(config.logLevel),
    `--log-level "${config.logLevel}" must be one of ${LOG_LEVELS.join(', ')}`,
  );
  validateListeners(config);
  validateTls(config);
  validateCluster(config);
}

function validateListeners(config: MemberConfig): void {
  refuseUnless(config.listenPeerUrls.length > 0, '--listen-peer-urls must name at least one address');
  refuseUnless(config.listenClientUrls.length > 0, '--listen-client-urls must name at least one address');
  for (const endpoint of [...config.listenPeerUrls, ...config.listenClientUrls, ...config.listenMetricsUrls]) {
    if (endpoint.port === 0 && endpoint.host.startsWith('/')) continue;
    if (endpoint.scheme === 'unix' || endpoint.scheme === 'unixs') continue;
    const bindable = endpoint.host === 'localhost' || /^[\d.]+$/.test(endpoint.host) || endpoint.host.includes(':');
    refuseUnless(bindable, `expected IP in URL for binding (${endpoint.url})`);
  }
}

function validateTls(config: MemberConfig): void {
  const secure = config.listenClientUrls.some((endpoint) => endpoint.scheme === 'https' || endpoint.scheme === 'unixs');
  refuseUnless(
    (config.certFile === '') === (config.keyFile === ''),
    '--cert-file and --key-file must be given together',
  );
  refuseUnless(!secure || config.certFile !== '', 'a client address is https, which needs --cert-file and --key-file');
  refuseUnless(
    !config.clientCertAuth || config.trustedCaFile !== '',
    '--client-cert-auth needs --trusted-ca-file to check certificates against',
  );
  const securePeers = config.listenPeerUrls.some(
    (endpoint) => endpoint.scheme === 'https' || endpoint.scheme === 'unixs',
  );
  refuseUnless(
    (config.peerCertFile === '') === (config.peerKeyFile === ''),
    '--peer-cert-file and --peer-key-file must be given together',
  );
  refuseUnless(
    !securePeers || config.peerCertFile !== '',
    'a peer address is https, which needs --peer-cert-file and --peer-key-file',
  );
  refuseUnless(
    !config.peerClientCertAuth || config.peerTrustedCaFile !== '',
    '--peer-client-cert-auth needs --peer-trusted-ca-file to check certificates against',
  );
  for (const name of ['tlsMinVersion', 'tlsMaxVersion'] as const) {
    const flag = name === 'tlsMinVersion' ? '--tls-min-version' : '--tls-max-version';
    refuseUnless(['', 'TLS1.2', 'TLS1.3'].includes(config[name]), `${flag} "${config[name]}" must be TLS1.2 or TLS1.3`);
  }
  refuseUnless(
    !(config.tlsMinVersion === 'TLS1.3' && config.tlsMaxVersion === 'TLS1.2'),
    'min version (TLS1.3) is greater than max version (TLS1.2)',
  );
}

function validateCluster(config: MemberConfig): void {
  const own = config.initialCluster.get(config.name);
  refuseUnless(own !== undefined, `couldn't find local name "${config.name}" in the initial cluster configuration`);
  const urls = [...config.initialCluster.values()].flat();
  refuseUnless(
    new Set(urls).size === urls.length,
    `initial cluster ${formatInitialCluster(config.initialCluster)} has duplicate url`,
  );
  if (config.initialClusterState === 'existing') return;
  for (const url of config.initialAdvertisePeerUrls) {
    refuseUnless(
      own?.includes(url) === true,
      `--initial-cluster must include ${config.name}=${url} given --initial-advertise-peer-urls=${config.initialAdvertisePeerUrls.join(',')}`,
    );
  }
}

/** As etcd shows it: `name=url` pairs in order. */
export function formatInitialCluster(members: ReadonlyMap<string, readonly string[]>): string {
  return [...members]
    .flatMap(([name, urls]) => urls.map((url) => `${name}=${url}`))
    .sort()
    .join(',');
}

function formatMs(milliseconds: number): string {
  return `${milliseconds}ms`;
}

function refuseUnless(condition: boolean, message: string): void {
  if (!condition) throw new OperatorError(message);
}
