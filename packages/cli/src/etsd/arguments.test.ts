/** The command line, the environment and the file: how each is read, and how each refuses. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OperatorError } from '@etsd/base';
import { buildConfig } from '@etsd/server';
import { parseArguments, UsageError } from './arguments.ts';
import { readConfigFile } from './config-file.ts';
import { readEnvironment, variableOf } from './environment.ts';

describe('command line', () => {
  it('takes one dash or two, an equals sign or the next word', () => {
    const { flags } = parseArguments(['-name', 'a', '--data-dir=/d', '--pre-vote', '--force-new-cluster=false']);
    assert.deepEqual(
      [...flags],
      [
        ['name', 'a'],
        ['data-dir', '/d'],
        ['pre-vote', 'true'],
        ['force-new-cluster', 'false'],
      ],
    );
  });

  it('ends at the first word that is no flag, and at --', () => {
    assert.deepEqual(parseArguments(['--name', 'a', 'foo', '--name', 'b']).rest, ['foo', '--name', 'b']);
    assert.deepEqual(parseArguments(['--', '--name']).rest, ['--name']);
  });

  it('knows help and version', () => {
    assert.equal(parseArguments(['-h']).help, true);
    assert.equal(parseArguments(['--version']).version, true);
    assert.equal(parseArguments(['--config-file', 'x.yml']).configFile, 'x.yml');
  });

  const refused: ReadonlyArray<readonly [words: string[], message: RegExp, advice: RegExp]> = [
    [['--qwertyuiop'], /^flag provided but not defined: -qwertyuiop$/, /--help/],
    [['--listen-client-url', 'x'], /not defined: -listen-client-url$/, /--listen-client-urls\?/],
    [['--name'], /^flag needs an argument: -name$/, /^$/],
    [['--heartbeat-interval', 'x'], /^invalid value "x" for flag -heartbeat-interval: parse error$/, /whole number/],
    [['--=x'], /^bad flag syntax: --=x$/, /^$/],
  ];
  for (const [words, message, advice] of refused) {
    it(`refuses ${words.join(' ')}`, () =>
      assert.throws(
        () => parseArguments(words),
        (error) => error instanceof UsageError && message.test(error.message) && advice.test(error.advice),
      ));
  }
});

describe('environment', () => {
  it('names a variable after its flag', () =>
    assert.equal(variableOf('listen-client-urls'), 'ETCD_LISTEN_CLIENT_URLS'));

  it('is read, and what means nothing is named', () => {
    const { settings, unknown } = readEnvironment({ ETCD_NAME: 'a', ETCD_NOPE: '1', HOME: '/' }, new Map());
    assert.deepEqual([...settings], [['name', 'a']]);
    assert.deepEqual(unknown, ['ETCD_NOPE']);
  });

  it('conflicts with the same flag on the command line', () => {
    assert.throws(
      () => readEnvironment({ ETCD_NAME: 'a' }, new Map([['name', 'b']])),
      /conflicting environment variable is shadowed/,
    );
  });
});

describe('file', () => {
  it('is YAML with flag names, nested security and durations in nanoseconds', () => {
    const text = `
name: infra1
heartbeat-interval: 200
election-timeout: 2000
grpc-keepalive-min-time: 7000000000
log-outputs: [stderr, stdout]
client-transport-security:
  cert-file: a.pem
  key-file: b.pem
`;
    const config = buildConfig(readConfigFile('etsd.yml', text));
    assert.equal(config.heartbeatIntervalMs, 200);
    assert.equal(config.grpcKeepaliveMinTimeMs, 7000);
    assert.deepEqual(config.logOutputs, ['stderr', 'stdout']);
    assert.equal(config.certFile, 'a.pem');
  });

  it('describes a discovery service in sections of sections, as etcd 3.6 does', () => {
    const text = `discovery-config:
  token: t
  client:
    endpoints: [http://a:1, http://b:1]
    request-timeout: 3000000000
    secure: {cacert: ca.pem, insecure-transport: false}
    auth: {username: u, password: p}
`;
    const { discovery, discoveryEndpoints, discoveryToken } = buildConfig(readConfigFile('etsd.yml', text));
    assert.deepEqual([discoveryToken, discoveryEndpoints], ['t', ['http://a:1', 'http://b:1']]);
    assert.deepEqual([discovery.requestTimeoutMs, discovery.caFile, discovery.user], [3000, 'ca.pem', 'u']);
  });

  it('may be JSON or empty', () => {
    assert.deepEqual([...readConfigFile('x', '{"name": "a"}')], [['name', 'a']]);
    assert.deepEqual([...readConfigFile('x', '')], []);
  });

  for (const text of [
    'nmae: a',
    '- a',
    'a: [',
    'client-transport-security: {nope: 1}',
    'discovery-config: {client: {secure: {nope: 1}}}',
    'client-transport-security: {constructor: 1}',
    'name: {a: 1}',
  ]) {
    it(`refuses ${JSON.stringify(text)} and names the file`, () =>
      assert.throws(
        () => readConfigFile('etsd.yml', text),
        (error) => error instanceof OperatorError && error.message.includes('etsd.yml'),
      ));
  }
});
