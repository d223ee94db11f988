import { LOG_LEVELS, OperatorError } from '@etsd/base';
import type { MemberConfig } from './config.ts';
import { validateTls } from './validate-tls.ts';
import { formatDuration, type Value } from './values.ts';

/** Refuses what contradicts itself; etcd's text where it has one. `given`: what the operator wrote, by flag. */
export function validate(config: MemberConfig, given: ReadonlyMap<string, string>): void {
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
  validateDiscovery(config, given);
}

/** What duties need of flags that the configuration does not carry as they were given. */
export function validateDuties(values: ReadonlyMap<string, Value>): void {
  const compactHashMs = values.get('compact-hash-check-time') as number;
  refuseUnless(
    compactHashMs > 0,
    `--experimental-compact-hash-check-time must be >0 (set to ${formatDuration(compactHashMs)})`,
  );
  refuseUnless(
    values.get('experimental-enable-lease-checkpoint') === true ||
      values.get('experimental-enable-lease-checkpoint-persist') === false,
    'setting experimental-enable-lease-checkpoint-persist requires experimental-enable-lease-checkpoint',
  );
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

/** How the members of a new cluster are to be found: in one way, and completely. */
function validateDiscovery(config: MemberConfig, given: ReadonlyMap<string, string>): void {
  const { discoveryEndpoints, discoveryToken } = config;
  const ways = [(given.get('initial-cluster') ?? '') !== '', discoveryEndpoints.length > 0, config.discoverySrv !== ''];
  refuseUnless(
    ways.filter(Boolean).length <= 1,
    'multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery-endpoints" or "discovery-srv"',
  );
  refuseUnless(
    (discoveryToken === '') === (discoveryEndpoints.length === 0),
    'both --discovery-token and --discovery-endpoints must be set',
  );
  refuseUnless(
    discoveryEndpoints.every((endpoint) => endpoint.trim() !== ''),
    '--discovery-endpoints must not contain empty endpoints',
  );
  refuseUnless(
    discoveryEndpoints.length === 0 || config.initialClusterState === 'new',
    'discovery URL should not be set when joining existing initial cluster',
  );
}

function formatMs(milliseconds: number): string {
  return `${milliseconds}ms`;
}

function refuseUnless(condition: boolean, message: string): void {
  if (!condition) throw new OperatorError(message);
}
