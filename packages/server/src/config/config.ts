import { type LogLevel, OperatorError } from '@etsd/base';
import { encryptionConfig, type KeySource } from '../encryption/encryption-options.ts';
import { type ArchiveConfig, archiveConfig } from './archive-config.ts';
import { type GuardConfig, guardConfig } from './guard-config.ts';
import { parseInitialCluster } from './initial-cluster.ts';
import { type ObserveConfig, observeConfig } from './observe-config.ts';
import { findOption, OPTIONS } from './options.ts';
import { type UpkeepConfig, upkeepConfig } from './upkeep-options.ts';
import { validate, validateDuties } from './validate.ts';
import { type Endpoint, parseDuration, parseEndpoint, parseValue, type Value } from './values.ts';

/** How the discovery service is spoken to. */
export interface DiscoveryConfig {
  readonly dialTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly insecureTransport: boolean;
  readonly insecureSkipTlsVerify: boolean;
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
  /** `name` or `name:password`. */
  readonly user: string;
  readonly password: string;
}

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
  /** Member name to its peer URLs, in the order given; empty where the members are yet to be discovered. */
  readonly initialCluster: ReadonlyMap<string, readonly string[]>;
  readonly initialClusterState: 'new' | 'existing';
  readonly initialClusterToken: string;
  /** Domain whose SRV records name the members; empty where they are named otherwise. */
  readonly discoverySrv: string;
  readonly discoverySrvName: string;
  /** The discovery service; empty where there is none. */
  readonly discoveryEndpoints: readonly string[];
  readonly discoveryToken: string;
  readonly discovery: DiscoveryConfig;
  readonly strictReconfigCheck: boolean;
  readonly maxLearners: number;
  readonly autoPromoteLearners: boolean;
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
  readonly initialCorruptCheck: boolean;
  /** 0 is never. */
  readonly corruptCheckMs: number;
  /** 0 is never. */
  readonly compactHashCheckMs: number;
  /** 0 is never. */
  readonly downgradeCheckMs: number;
  readonly certFile: string;
  readonly keyFile: string;
  readonly trustedCaFile: string;
  readonly clientCertAuth: boolean;
  /** Shown where the client address is dialled by this program itself. */
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
  readonly clientCrlFile: string;
  readonly clientCertAllowedHostnames: readonly string[];
  /** Certificates are made at the first start, where none are given. */
  readonly autoTls: boolean;
  readonly peerAutoTls: boolean;
  readonly selfSignedCertYears: number;
  /** Certificate shown to other members, as server and as client; empty where no peer address is https. */
  readonly peerCertFile: string;
  readonly peerKeyFile: string;
  /** Authorities that sign certificates of members; empty: the system's, and certificates are not asked for. */
  readonly peerTrustedCaFile: string;
  readonly peerClientCertAuth: boolean;
  /** Certificate shown where other members are dialled; empty: `peerCertFile`. */
  readonly peerClientCertFile: string;
  readonly peerClientKeyFile: string;
  readonly peerCrlFile: string;
  readonly peerCertAllowedCommonNames: readonly string[];
  readonly peerCertAllowedHostnames: readonly string[];
  readonly peerSkipClientSanVerification: boolean;
  /** As the flag has it: the kind of tokens and its options. */
  readonly authToken: string;
  readonly authTokenTtlSeconds: number;
  readonly bcryptCost: number;
  readonly tlsMinVersion: string;
  readonly tlsMaxVersion: string;
  readonly cipherSuites: readonly string[];
  readonly tlsHandshakeTimeoutMs: number;
  readonly tlsHandshakesMax: number;
  readonly tlsHandshakesPerAddress: number;
  readonly cors: readonly string[];
  readonly hostWhitelist: readonly string[];
  readonly enableGrpcGateway: boolean;
  readonly enableHttpApi: boolean;
  /** Serve the API of etcd 2. */
  readonly enableV2: boolean;
  readonly gatewayClientCertAuth: boolean;
  readonly metrics: 'basic' | 'extensive';
  readonly enablePprof: boolean;
  /** Applying an entry for longer than this is slow. */
  readonly warningApplyMs: number;
  readonly logLevel: LogLevel;
  readonly logOutputs: readonly string[];
  readonly logFormat: 'json' | 'console';
  readonly forceNewCluster: boolean;
  readonly unsafeNoFsync: boolean;
  readonly guard: GuardConfig;
  readonly upkeep: UpkeepConfig;
  readonly observe: ObserveConfig;
  /** Null: nothing is archived. */
  readonly archive: ArchiveConfig | null;
  /** Null: nothing is encrypted. */
  readonly encryption: KeySource | null;
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
  if ((given.get('discovery') ?? '') !== '') {
    throw new OperatorError(
      '--discovery is the discovery service of etcd 2, whose API etsd does not speak',
      'Use that of version 3: --discovery-endpoints with an etcd or etsd that others keep, and --discovery-token.',
    );
  }
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
  validateDuties(values);
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
  const isDiscovered = text('discovery-srv') !== '' || list('discovery-endpoints').length > 0;
  // etcd's rule: a member that is given a name or peer addresses but no cluster is a cluster of itself.
  const ownCluster = isDiscovered ? '' : initialAdvertisePeerUrls.map((url) => `${name}=${url}`).join(',');
  const clusterText = given.get('initial-cluster') ?? ownCluster;
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
    discoverySrv: text('discovery-srv'),
    discoverySrvName: text('discovery-srv-name'),
    discoveryEndpoints: list('discovery-endpoints'),
    discoveryToken: text('discovery-token'),
    discovery: {
      dialTimeoutMs: count('discovery-dial-timeout'),
      requestTimeoutMs: count('discovery-request-timeout'),
      keepaliveTimeMs: count('discovery-keepalive-time'),
      keepaliveTimeoutMs: count('discovery-keepalive-timeout'),
      insecureTransport: flag('discovery-insecure-transport'),
      insecureSkipTlsVerify: flag('discovery-insecure-skip-tls-verify'),
      certFile: text('discovery-cert'),
      keyFile: text('discovery-key'),
      caFile: text('discovery-cacert'),
      user: text('discovery-user'),
      password: text('discovery-password'),
    },
    strictReconfigCheck: flag('strict-reconfig-check'),
    maxLearners: count('max-learners'),
    autoPromoteLearners: flag('auto-promote-learners'),
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
    initialCorruptCheck: flag('experimental-initial-corrupt-check'),
    corruptCheckMs: count('corrupt-check-time'),
    compactHashCheckMs: flag('experimental-compact-hash-check-enabled') ? count('compact-hash-check-time') : 0,
    downgradeCheckMs: count('downgrade-check-time'),
    certFile: text('cert-file'),
    keyFile: text('key-file'),
    trustedCaFile: text('trusted-ca-file'),
    clientCertAuth: flag('client-cert-auth'),
    clientCertFile: text('client-cert-file'),
    clientKeyFile: text('client-key-file'),
    clientCrlFile: text('client-crl-file'),
    clientCertAllowedHostnames: list('client-cert-allowed-hostname'),
    autoTls: flag('auto-tls'),
    peerAutoTls: flag('peer-auto-tls'),
    selfSignedCertYears: count('self-signed-cert-validity'),
    peerCertFile: text('peer-cert-file'),
    peerKeyFile: text('peer-key-file'),
    peerTrustedCaFile: text('peer-trusted-ca-file'),
    peerClientCertAuth: flag('peer-client-cert-auth'),
    peerClientCertFile: text('peer-client-cert-file'),
    peerClientKeyFile: text('peer-client-key-file'),
    peerCrlFile: text('peer-crl-file'),
    peerCertAllowedCommonNames: list('peer-cert-allowed-cn'),
    peerCertAllowedHostnames: list('peer-cert-allowed-hostname'),
    peerSkipClientSanVerification: flag('peer-skip-client-san-verification'),
    authToken: text('auth-token'),
    authTokenTtlSeconds: count('auth-token-ttl'),
    bcryptCost: count('bcrypt-cost'),
    tlsMinVersion: text('tls-min-version'),
    tlsMaxVersion: text('tls-max-version'),
    cipherSuites: list('cipher-suites'),
    tlsHandshakeTimeoutMs: count('tls-handshake-timeout'),
    tlsHandshakesMax: count('tls-handshakes-max'),
    tlsHandshakesPerAddress: count('tls-handshakes-per-address'),
    cors: list('cors'),
    hostWhitelist: list('host-whitelist'),
    enableGrpcGateway: flag('enable-grpc-gateway'),
    enableHttpApi: flag('enable-http-api'),
    enableV2: flag('enable-v2'),
    gatewayClientCertAuth: flag('gateway-client-cert-auth'),
    metrics: text('metrics') as 'basic' | 'extensive',
    enablePprof: flag('enable-pprof'),
    warningApplyMs: count('warning-apply-duration'),
    logLevel: text('log-level') as LogLevel,
    logOutputs: list('log-outputs'),
    logFormat: text('log-format') as 'json' | 'console',
    forceNewCluster: flag('force-new-cluster'),
    unsafeNoFsync: flag('unsafe-no-fsync'),
    guard: guardConfig(values),
    upkeep: upkeepConfig(values),
    observe: observeConfig(values),
    archive: archiveConfig(values),
    encryption: encryptionConfig(values),
  };
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
