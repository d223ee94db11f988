import { ENCRYPTION_OPTIONS } from '../encryption/encryption-options.ts';
import { ARCHIVE_OPTIONS } from './archive-config.ts';
import { GUARD_OPTIONS } from './guard-options.ts';
import { UPKEEP_OPTIONS } from './upkeep-options.ts';
import type { ValueKind } from './values.ts';

/**
 * What a flag does here.
 * `active`: as etcd's. `inert`: accepted, and nothing to tune (it concerns an engine that etsd does not have).
 * `default-only`: belongs to a part of etcd that this version of etsd does not have; refused unless it says the default.
 */
export type OptionStatus = 'active' | 'inert' | 'default-only';

/** One flag of the server. Also its environment variable (`ETCD_` and the name in capitals) and its key in the file. */
export interface Option {
  readonly name: string;
  readonly kind: ValueKind;
  /** The value when nothing is given, as text. */
  readonly fallback: string;
  readonly status: OptionStatus;
  readonly section: Section;
  readonly help: string;
  /** Other names of the same flag, from other releases of etcd. */
  readonly aliases: readonly string[];
}

export type Section =
  | 'Member'
  | 'Clustering'
  | 'Security'
  | 'Auth'
  | 'Limits and audit'
  | 'Upkeep'
  | 'Archive'
  | 'Encryption at rest'
  | 'Profiling and monitoring'
  | 'Logging'
  | 'Features'
  | 'Unsafe';

function option(
  section: Section,
  status: OptionStatus,
  kind: ValueKind,
  name: string,
  fallback: string,
  help: string,
  ...aliases: string[]
): Option {
  return { name, kind, fallback, status, section, help, aliases };
}

/** Every flag that some release of etcd from 3.4 to 3.7 has, in the order of the help text. */
export const OPTIONS: readonly Option[] = [
  option('Member', 'active', 'string', 'name', 'default', 'Name of this member.'),
  option('Member', 'active', 'string', 'data-dir', '', 'Where the member keeps its data. Default: NAME.etcd'),
  option('Member', 'active', 'string', 'wal-dir', '', 'Where the log is kept, if not under the data directory.'),
  option('Member', 'active', 'unsigned', 'snapshot-count', '10000', 'Applied entries after which the log is cut.'),
  option(
    'Member',
    'active',
    'unsigned',
    'snapshot-catchup-entries',
    '5000',
    'Entries kept in memory behind a cut.',
    'experimental-snapshot-catchup-entries',
    'experimental-snapshot-catch-up-entries',
  ),
  option('Member', 'active', 'unsigned', 'heartbeat-interval', '100', 'Milliseconds between heartbeats.'),
  option(
    'Member',
    'active',
    'unsigned',
    'election-timeout',
    '1000',
    'Milliseconds without a leader until an election.',
  ),
  option(
    'Member',
    'active',
    'boolean',
    'initial-election-tick-advance',
    'true',
    'Shorten the first election after a start.',
  ),
  option('Member', 'active', 'urls', 'listen-peer-urls', 'http://localhost:2380', 'Addresses for other members.'),
  option(
    'Member',
    'active',
    'urls',
    'listen-client-urls',
    'http://localhost:2379',
    'Addresses for clients: gRPC and HTTP.',
  ),
  option(
    'Member',
    'active',
    'urls',
    'listen-client-http-urls',
    '',
    'Further addresses; the client addresses serve HTTP as well.',
  ),
  option('Member', 'inert', 'unsigned', 'max-snapshots', '5', 'Snapshot files kept.'),
  option('Member', 'inert', 'unsigned', 'max-wals', '5', 'Log files kept.'),
  option(
    'Member',
    'active',
    'integer',
    'quota-backend-bytes',
    '0',
    'Bytes that live data may take; 0 is 2 GiB, below 0 no limit.',
  ),
  option('Member', 'inert', 'string', 'backend-bbolt-freelist-type', 'map', 'Belongs to another storage engine.'),
  option(
    'Member',
    'active',
    'duration',
    'backend-batch-interval',
    '0s',
    'Longest time until a batch is committed; 0 is 100ms.',
  ),
  option('Member', 'active', 'unsigned', 'backend-batch-limit', '0', 'Most operations in a batch; 0 is 2000.'),
  option(
    'Member',
    'inert',
    'boolean',
    'memory-mlock',
    'false',
    'Belongs to another storage engine.',
    'experimental-memory-mlock',
  ),
  option('Member', 'active', 'unsigned', 'max-txn-ops', '128', 'Most operations in one transaction.'),
  option('Member', 'active', 'unsigned', 'max-request-bytes', '1572864', 'Largest request of a client, in bytes.'),
  option(
    'Member',
    'active',
    'unsigned',
    'max-concurrent-streams',
    '4294967295',
    'Most calls at once on one connection.',
  ),
  option('Member', 'active', 'boolean', 'enable-grpc-gateway', 'true', 'Serve the JSON gateway.'),
  option('Member', 'active', 'boolean', 'enable-http-api', 'true', 'Serve the HTTP API under /api/.'),
  option('Member', 'active', 'duration', 'grpc-keepalive-min-time', '5s', 'Least time between two pings of a client.'),
  option(
    'Member',
    'active',
    'duration',
    'grpc-keepalive-interval',
    '2h',
    'Time between pings to a client; 0 is never.',
  ),
  option('Member', 'active', 'duration', 'grpc-keepalive-timeout', '20s', 'Time a client has to answer a ping.'),
  option('Member', 'active', 'boolean', 'socket-reuse-port', 'false', 'Listen with SO_REUSEPORT.'),
  option(
    'Member',
    'inert',
    'boolean',
    'socket-reuse-address',
    'false',
    'Listen with SO_REUSEADDR, which the runtime always does.',
  ),
  option('Member', 'inert', 'duration', 'raft-read-timeout', '5s', 'Read timeout between members.'),
  option('Member', 'inert', 'duration', 'raft-write-timeout', '5s', 'Write timeout between members.'),

  option(
    'Clustering',
    'active',
    'urls',
    'initial-advertise-peer-urls',
    'http://localhost:2380',
    'Peer addresses told to other members.',
  ),
  option(
    'Clustering',
    'active',
    'string',
    'initial-cluster',
    'default=http://localhost:2380',
    'Members of a new cluster: name=url,…',
  ),
  option(
    'Clustering',
    'active',
    'string',
    'initial-cluster-state',
    'new',
    'new, or existing to join. Ignored after the first start.',
  ),
  option(
    'Clustering',
    'active',
    'string',
    'initial-cluster-token',
    'etcd-cluster',
    'Tells clusters of the same members apart.',
  ),
  option(
    'Clustering',
    'active',
    'urls',
    'advertise-client-urls',
    'http://localhost:2379',
    'Client addresses told to clients.',
  ),
  option('Clustering', 'default-only', 'string', 'discovery', '', 'Discovery of members through the API of etcd 2.'),
  option('Clustering', 'inert', 'string', 'discovery-fallback', 'proxy', 'What to do when discovery fails.'),
  option('Clustering', 'default-only', 'string', 'discovery-proxy', '', 'Proxy on the way to discovery.'),
  option('Clustering', 'active', 'string', 'discovery-srv', '', 'Domain whose SRV records name the members.'),
  option('Clustering', 'active', 'string', 'discovery-srv-name', '', 'Suffix of the SRV name.'),
  option('Clustering', 'active', 'string', 'discovery-token', '', 'Token of the cluster at the discovery service.'),
  option('Clustering', 'active', 'list', 'discovery-endpoints', '', 'Endpoints of the discovery service.'),
  option('Clustering', 'active', 'duration', 'discovery-dial-timeout', '2s', 'Time to connect to it.'),
  option('Clustering', 'active', 'duration', 'discovery-request-timeout', '5s', 'Time it has for an answer.'),
  option('Clustering', 'active', 'duration', 'discovery-keepalive-time', '2s', 'Silence until it is pinged.'),
  option('Clustering', 'active', 'duration', 'discovery-keepalive-timeout', '6s', 'Time it has to answer a ping.'),
  option(
    'Clustering',
    'active',
    'boolean',
    'discovery-insecure-transport',
    'true',
    'No TLS unless something asks for it.',
  ),
  option(
    'Clustering',
    'active',
    'boolean',
    'discovery-insecure-skip-tls-verify',
    'false',
    'Accept any certificate of it.',
  ),
  option('Clustering', 'active', 'string', 'discovery-cert', '', 'Certificate shown to it (PEM).'),
  option('Clustering', 'active', 'string', 'discovery-key', '', 'Its private key (PEM).'),
  option('Clustering', 'active', 'string', 'discovery-cacert', '', 'Authorities that sign its certificate (PEM).'),
  option('Clustering', 'active', 'string', 'discovery-user', '', 'User there: name or name:password.'),
  option('Clustering', 'active', 'string', 'discovery-password', '', 'Password of that user.'),
  option(
    'Clustering',
    'active',
    'boolean',
    'strict-reconfig-check',
    'true',
    'Refuse changes of membership that would lose the quorum.',
  ),
  option('Clustering', 'active', 'boolean', 'pre-vote', 'true', 'Ask before an election whether it could be won.'),
  option(
    'Clustering',
    'active',
    'string',
    'auto-compaction-retention',
    '0',
    'History kept: a duration or a number of revisions; 0 is all.',
  ),
  option('Clustering', 'active', 'string', 'auto-compaction-mode', 'periodic', 'periodic or revision.'),
  option(
    'Clustering',
    'active',
    'unsigned',
    'max-learners',
    '1',
    'Most learners at once.',
    'experimental-max-learners',
  ),
  option(
    'Clustering',
    'active',
    'boolean',
    'auto-promote-learners',
    'false',
    'As leader, let learners vote once they have caught up. Not in etcd.',
  ),
  option('Clustering', 'active', 'boolean', 'enable-v2', 'false', 'Serve the API of etcd 2 under /v2.'),
  option('Clustering', 'inert', 'string', 'v2-deprecation', 'not-yet', 'Phase of the end of etcd 2 data.'),
  option('Clustering', 'default-only', 'string', 'proxy', 'off', 'Proxy mode of etcd 2.'),

  option('Security', 'active', 'string', 'cert-file', '', 'Certificate shown to clients (PEM).'),
  option('Security', 'active', 'string', 'key-file', '', 'Its private key (PEM).'),
  option('Security', 'active', 'boolean', 'client-cert-auth', 'false', 'Demand a certificate of every client.'),
  option('Security', 'active', 'string', 'trusted-ca-file', '', 'Authorities that sign certificates of clients (PEM).'),
  option('Security', 'active', 'string', 'client-cert-file', '', 'Certificate for calls to the own client address.'),
  option('Security', 'active', 'string', 'client-key-file', '', 'Its private key.'),
  option('Security', 'active', 'string', 'client-crl-file', '', 'Revoked certificates of clients.'),
  option(
    'Security',
    'active',
    'list',
    'client-cert-allowed-hostname',
    '',
    'Host names a certificate of a client may have.',
  ),
  option('Security', 'active', 'boolean', 'auto-tls', 'false', 'TLS with a certificate made at the start.'),
  option('Security', 'active', 'string', 'peer-cert-file', '', 'Certificate shown to members.'),
  option('Security', 'active', 'string', 'peer-key-file', '', 'Its private key.'),
  option('Security', 'active', 'boolean', 'peer-client-cert-auth', 'false', 'Demand a certificate of every member.'),
  option('Security', 'active', 'string', 'peer-trusted-ca-file', '', 'Authorities that sign certificates of members.'),
  option('Security', 'active', 'list', 'peer-cert-allowed-cn', '', 'Common names a member may have.'),
  option('Security', 'active', 'list', 'peer-cert-allowed-hostname', '', 'Host names a member may have.'),
  option('Security', 'active', 'boolean', 'peer-auto-tls', 'false', 'Peer TLS with a certificate made at the start.'),
  option('Security', 'active', 'string', 'peer-client-cert-file', '', 'Certificate for calls to members.'),
  option('Security', 'active', 'string', 'peer-client-key-file', '', 'Its private key.'),
  option('Security', 'active', 'string', 'peer-crl-file', '', 'Revoked certificates of members.'),
  option(
    'Security',
    'active',
    'boolean',
    'peer-skip-client-san-verification',
    'false',
    'Do not check names in certificates of members.',
    'experimental-peer-skip-client-san-verification',
  ),
  option('Security', 'active', 'unsigned', 'self-signed-cert-validity', '1', 'Years a made certificate is valid.'),
  option('Security', 'active', 'list', 'cipher-suites', '', 'Cipher suites of TLS 1.2.'),
  option('Security', 'active', 'string', 'tls-min-version', 'TLS1.2', 'TLS1.2 or TLS1.3.'),
  option('Security', 'active', 'string', 'tls-max-version', '', 'TLS1.2, TLS1.3 or empty for the newest.'),
  option(
    'Security',
    'active',
    'boolean',
    'gateway-client-cert-auth',
    'false',
    "A certificate's common name says who calls through the JSON gateway, too.",
  ),
  option(
    'Security',
    'active',
    'duration',
    'tls-handshake-timeout',
    '10s',
    'Time a TLS handshake may take. Not a flag of etcd.',
  ),
  option(
    'Security',
    'active',
    'unsigned',
    'tls-handshakes-max',
    '256',
    'TLS handshakes under way at a time; more wait. Not a flag of etcd.',
  ),
  option(
    'Security',
    'active',
    'unsigned',
    'tls-handshakes-per-address',
    '50',
    'TLS handshakes a second for one client address; more wait; 0: no bound. Not a flag of etcd.',
  ),
  option('Security', 'active', 'list', 'cors', '*', 'Origins that browsers may call from.'),
  option('Security', 'active', 'list', 'host-whitelist', '*', 'Host names accepted over plain HTTP.'),

  option(
    'Auth',
    'active',
    'string',
    'auth-token',
    'simple',
    'simple, or jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=10m.',
  ),
  option('Auth', 'active', 'unsigned', 'bcrypt-cost', '10', 'Cost of hashing a password, 4 to 31.'),
  option('Auth', 'active', 'unsigned', 'auth-token-ttl', '300', 'Seconds a simple token lives unused.'),

  ...GUARD_OPTIONS,
  ...UPKEEP_OPTIONS,

  ...ARCHIVE_OPTIONS,
  ...ENCRYPTION_OPTIONS,

  option(
    'Profiling and monitoring',
    'active',
    'boolean',
    'enable-pprof',
    'false',
    'Serve profiles under /debug/pprof/; to root alone where authentication is on.',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'string',
    'metrics',
    'basic',
    'basic; or extensive, which times every call.',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'urls',
    'listen-metrics-urls',
    '',
    'Further addresses for /metrics and /health.',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'boolean',
    'enable-distributed-tracing',
    'false',
    'Send spans to a collector.',
    'experimental-enable-distributed-tracing',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'string',
    'distributed-tracing-address',
    'localhost:4317',
    'The collector: OTLP over gRPC, without TLS.',
    'experimental-distributed-tracing-address',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'string',
    'distributed-tracing-service-name',
    'etcd',
    'Name in spans.',
    'experimental-distributed-tracing-service-name',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'string',
    'distributed-tracing-instance-id',
    '',
    'Instance in spans.',
    'experimental-distributed-tracing-instance-id',
  ),
  option(
    'Profiling and monitoring',
    'active',
    'integer',
    'distributed-tracing-sampling-rate',
    '0',
    'Requests traced in a million, beside those whose caller traces them.',
    'experimental-distributed-tracing-sampling-rate',
  ),

  option('Logging', 'inert', 'string', 'logger', 'zap', 'zap: lines of JSON in its form.'),
  option('Logging', 'active', 'list', 'log-outputs', 'default', 'default, stdout, stderr or paths of files.'),
  option('Logging', 'active', 'string', 'log-level', 'info', 'debug, info, warn, error, panic or fatal.'),
  option('Logging', 'active', 'string', 'log-format', 'json', 'json or console.'),
  option('Logging', 'active', 'boolean', 'enable-log-rotation', 'false', 'Rotate the log file.'),
  option(
    'Logging',
    'active',
    'string',
    'log-rotation-config-json',
    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
    'How to rotate.',
  ),

  option(
    'Features',
    'active',
    'boolean',
    'experimental-initial-corrupt-check',
    'false',
    'Compare with the other members before serving.',
  ),
  option(
    'Features',
    'active',
    'duration',
    'corrupt-check-time',
    '0s',
    'Time between comparisons of hashes.',
    'experimental-corrupt-check-time',
  ),
  option(
    'Features',
    'active',
    'boolean',
    'experimental-compact-hash-check-enabled',
    'false',
    'Compare hashes of compactions.',
  ),
  option(
    'Features',
    'active',
    'duration',
    'compact-hash-check-time',
    '1m',
    'Time between those.',
    'experimental-compact-hash-check-time',
  ),
  option('Features', 'default-only', 'string', 'experimental-enable-v2v3', '', 'Serve etcd 2 from the store.'),
  option(
    'Features',
    'inert',
    'boolean',
    'experimental-enable-lease-checkpoint',
    'false',
    'Remember remaining time of leases, which etsd always does.',
  ),
  option(
    'Features',
    'inert',
    'boolean',
    'experimental-enable-lease-checkpoint-persist',
    'false',
    'The same across restarts.',
  ),
  option(
    'Features',
    'active',
    'unsigned',
    'compaction-batch-limit',
    '1000',
    'Revisions in one slice of a compaction.',
    'experimental-compaction-batch-limit',
  ),
  option(
    'Features',
    'active',
    'duration',
    'compaction-sleep-interval',
    '10ms',
    'Pause between slices.',
    'experimental-compaction-sleep-interval',
  ),
  option(
    'Features',
    'active',
    'duration',
    'watch-progress-notify-interval',
    '10m',
    'Time between progress notices of a watch.',
    'experimental-watch-progress-notify-interval',
  ),
  option(
    'Features',
    'active',
    'duration',
    'downgrade-check-time',
    '5s',
    'Time between looks at a downgrade.',
    'experimental-downgrade-check-time',
  ),
  option(
    'Features',
    'active',
    'duration',
    'warning-apply-duration',
    '100ms',
    'A request that takes longer is counted as slow and logged, with where its time went.',
    'experimental-warning-apply-duration',
  ),
  option(
    'Features',
    'active',
    'duration',
    'warning-unary-request-duration',
    '300ms',
    'The same; the shorter of both counts.',
    'experimental-warning-unary-request-duration',
  ),
  option(
    'Features',
    'inert',
    'boolean',
    'experimental-txn-mode-write-with-shared-buffer',
    'true',
    'Belongs to another storage engine.',
  ),
  option(
    'Features',
    'inert',
    'unsigned',
    'bootstrap-defrag-threshold-megabytes',
    '0',
    'Belongs to another storage engine.',
    'experimental-bootstrap-defrag-threshold-megabytes',
  ),
  option(
    'Features',
    'inert',
    'boolean',
    'experimental-stop-grpc-service-on-defrag',
    'false',
    'Defragmenting never stops service here.',
  ),
  option('Features', 'inert', 'string', 'feature-gates', '', 'Gates of etcd 3.6 and later.'),

  option('Unsafe', 'active', 'boolean', 'force-new-cluster', 'false', 'Make a cluster of this member alone.'),
  option('Unsafe', 'active', 'boolean', 'unsafe-no-fsync', 'false', 'Do not wait for the disk. Loses data.'),
];

const BY_NAME = new Map<string, Option>();
for (const entry of OPTIONS) {
  BY_NAME.set(entry.name, entry);
  for (const alias of entry.aliases) BY_NAME.set(alias, entry);
}

/** The option of this flag name or alias. */
export function findOption(name: string): Option | undefined {
  return BY_NAME.get(name);
}

/** The known flag whose name is nearest to a mistyped one, if any is near enough to be meant. */
export function nearestOption(name: string): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 4)) + 1;
  for (const known of BY_NAME.keys()) {
    const distance = editDistance(name, known, bestDistance);
    if (distance < bestDistance) {
      bestDistance = distance;
      best = known;
    }
  }
  return best;
}

function editDistance(from: string, to: string, bound: number): number {
  if (Math.abs(from.length - to.length) >= bound) return bound;
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const change = from[row - 1] === to[column - 1] ? 0 : 1;
      current.push(
        Math.min(
          (previous[column] as number) + 1,
          (current[column - 1] as number) + 1,
          (previous[column - 1] as number) + change,
        ),
      );
    }
    previous = current;
  }
  return previous[to.length] as number;
}
