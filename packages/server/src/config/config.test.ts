/** What the configuration accepts and how it refuses, as a table; texts are etcd's where etcd has one. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OperatorError } from '@etsd/base';
import { buildConfig } from './config.ts';
import { nearestOption, OPTIONS } from './options.ts';
import { formatDuration, parseDuration, parseEndpoint } from './values.ts';

const raw = (settings: Readonly<Record<string, string>>): Map<string, string> => new Map(Object.entries(settings));

describe('configuration', () => {
  it('has etcd defaults', () => {
    const config = buildConfig(new Map());
    assert.equal(config.name, 'default');
    assert.equal(config.dataDir, 'default.etcd');
    assert.equal(config.heartbeatIntervalMs, 100);
    assert.equal(config.maxRequestBytes, 1_572_864);
    assert.equal(config.backendBatchIntervalMs, 100);
    assert.deepEqual(config.initialCluster, new Map([['default', ['http://localhost:2380']]]));
    assert.equal(config.grpcKeepaliveIntervalMs, 7_200_000);
  });

  it('makes a cluster of itself from its name and peer address', () => {
    const config = buildConfig(raw({ name: 'infra1', 'initial-advertise-peer-urls': 'http://127.0.0.1:5' }));
    assert.deepEqual(config.initialCluster, new Map([['infra1', ['http://127.0.0.1:5']]]));
    assert.equal(config.dataDir, 'infra1.etcd');
  });

  it('takes a cluster of several members', () => {
    const cluster = 'a=http://127.0.0.1:1,b=http://127.0.0.1:2,b=http://127.0.0.1:3';
    const urls = 'http://127.0.0.1:1';
    const config = buildConfig(
      raw({ name: 'a', 'initial-cluster': cluster, 'initial-advertise-peer-urls': urls, 'listen-peer-urls': urls }),
    );
    assert.deepEqual(config.initialCluster.get('b'), ['http://127.0.0.1:2', 'http://127.0.0.1:3']);
    assert.equal(config.listenPeerUrls[0]?.port, 1);
  });

  it('takes the names of other releases', () => {
    assert.equal(buildConfig(raw({ 'experimental-compaction-batch-limit': '7' })).compactionBatchLimit, 7);
    assert.equal(
      buildConfig(raw({ 'experimental-watch-progress-notify-interval': '1m30s' })).watchProgressNotifyIntervalMs,
      90_000,
    );
  });

  it('reads retention as hours, a duration or revisions', () => {
    assert.equal(buildConfig(raw({ 'auto-compaction-retention': '2' })).autoCompactionRetention, 7_200_000);
    assert.equal(buildConfig(raw({ 'auto-compaction-retention': '5m' })).autoCompactionRetention, 300_000);
    const byRevision = raw({ 'auto-compaction-mode': 'revision', 'auto-compaction-retention': '1000' });
    assert.equal(buildConfig(byRevision).autoCompactionRetention, 1000);
  });

  const refused: ReadonlyArray<readonly [settings: Readonly<Record<string, string>>, message: RegExp]> = [
    [
      { 'election-timeout': '200' },
      /^--election-timeout\[200ms\] should be at least as 5 times as --heartbeat-interval\[100ms\]$/,
    ],
    [
      { 'election-timeout': '60000' },
      /^--election-timeout\[60000ms\] is too long, and should be set less than 50000ms$/,
    ],
    [{ 'heartbeat-interval': '0' }, /^--heartbeat-interval must be >0 \(set to 0s\)$/],
    [{ 'heartbeat-interval': 'abc' }, /^invalid value "abc" for flag -heartbeat-interval: parse error$/],
    [{ 'pre-vote': 'maybe' }, /^invalid boolean value "maybe" for -pre-vote: parse error$/],
    [{ 'listen-client-urls': 'foo' }, /URL scheme must be http, https, unix, or unixs: foo/],
    [
      { 'listen-client-urls': 'http://127.0.0.1:1' },
      /^--advertise-client-urls is required when --listen-client-urls is set explicitly$/,
    ],
    [{ 'listen-peer-urls': 'http://foo:2380' }, /^expected IP in URL for binding \(http:\/\/foo:2380\)$/],
    [{ 'initial-cluster-state': 'x' }, /^unexpected clusterState "x"$/],
    [{ 'auto-compaction-mode': 'x' }, /^unknown auto-compaction-mode "x"$/],
    [{ 'initial-cluster': 'nonsense' }, /not of the form name=url/],
    [
      { 'enable-log-rotation': 'true' },
      /^--log-outputs requires a single file path when --log-rotate-config-json is defined$/,
    ],
    [
      { 'enable-log-rotation': 'true', 'log-outputs': 'a.log', 'log-rotation-config-json': '{x' },
      /^improperly formatted log rotation config: /,
    ],
    [
      { 'enable-distributed-tracing': 'true', 'distributed-tracing-sampling-rate': '2000000' },
      /^distributed tracing configurition is not valid: \(tracing sampling rate must be less than 1000000\)$/,
    ],
    [
      { 'enable-distributed-tracing': 'true', 'distributed-tracing-sampling-rate': '-5' },
      /sampling rate must be positive\)$/,
    ],
    [{ 'discovery-proxy': 'http://x' }, /--discovery-proxy is a flag of etcd that this version of etsd does not have/],
    [{ discovery: 'http://127.0.0.1:1/v2/keys/x' }, /^--discovery is the discovery service of etcd 2/],
    [
      { 'discovery-srv': 'example.org', 'initial-cluster': 'default=http://localhost:2380' },
      /^multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery-endpoints" or/,
    ],
    [{ 'discovery-token': 'x' }, /^both --discovery-token and --discovery-endpoints must be set$/],
    [{ 'discovery-endpoints': 'h:1' }, /^both --discovery-token and --discovery-endpoints must be set$/],
    [
      { 'discovery-token': 'x', 'discovery-endpoints': 'h:1,' },
      /^--discovery-endpoints must not contain empty endpoints$/,
    ],
    [
      { 'discovery-token': 'x', 'discovery-endpoints': 'h:1', 'initial-cluster-state': 'existing' },
      /^discovery URL should not be set when joining existing initial cluster$/,
    ],
    [
      { 'compaction-batch-limit': '5', 'experimental-compaction-batch-limit': '6' },
      /are the same flag and were given different values/,
    ],
    [{ 'log-level': 'loud' }, /--log-level "loud" must be one of/],
  ];
  for (const [settings, message] of refused) {
    it(`refuses ${JSON.stringify(settings)}`, () =>
      assert.throws(
        () => buildConfig(raw(settings)),
        (error) => error instanceof OperatorError && message.test(error.message),
      ));
  }

  it('accepts every flag at its own default', () => {
    const all = new Map(OPTIONS.map((option) => [option.name, option.fallback]));
    assert.equal(buildConfig(all).name, 'default');
  });

  it('finds what a mistyped flag meant', () => {
    assert.equal(nearestOption('listen-client-url'), 'listen-client-urls');
    assert.equal(nearestOption('datadir'), 'data-dir');
    assert.equal(nearestOption('qqqqqqqqqqqq'), undefined);
  });
});

describe('durations in Go notation', () => {
  const cases: ReadonlyArray<readonly [text: string, milliseconds: number | undefined]> = [
    ['5s', 5000],
    ['1h30m', 5_400_000],
    ['100ms', 100],
    ['1.5s', 1500],
    ['0', 0],
    ['-2m', -120_000],
    ['250us', 0.25],
    ['5', undefined],
    ['', undefined],
    ['s', undefined],
    ['1x', undefined],
  ];
  for (const [text, milliseconds] of cases) {
    it(JSON.stringify(text), () => assert.equal(parseDuration(text), milliseconds));
  }

  it('are written as Go writes them', () => {
    for (const text of ['0s', '100ms', '1s', '1m0s', '2h0m0s', '1h30m0.5s', '250µs']) {
      assert.equal(formatDuration(parseDuration(text) as number), text);
    }
  });
});

describe('addresses', () => {
  it('are split once', () => {
    assert.deepEqual(parseEndpoint('http://[::1]:2379'), {
      url: 'http://[::1]:2379',
      scheme: 'http',
      host: '::1',
      port: 2379,
    });
    assert.deepEqual(parseEndpoint('unix:///tmp/x.sock'), {
      url: 'unix:///tmp/x.sock',
      scheme: 'unix',
      host: '/tmp/x.sock',
      port: 0,
    });
  });

  for (const url of [
    'http://127.0.0.1',
    'http://127.0.0.1:99999',
    'http://127.0.0.1:1/path',
    'http://127.0.0.1:1/',
    'tcp://127.0.0.1:1',
  ]) {
    it(`refuses ${url}`, () => assert.throws(() => parseEndpoint(url), OperatorError));
  }
});
