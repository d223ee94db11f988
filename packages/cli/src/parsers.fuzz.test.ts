/**
 * Goal: files of settings, command lines, environments and what etsdctl reads line by line are read, or refused in words
 * for the operator. Method: good ones with a few things wrong.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError, type Prng } from '@etsd/base';
import { buildConfig, OPTIONS } from '@etsd/server';
import { forSeeds, mutate } from '@etsd/testkit';
import { parseComparison, wordsOf } from './ctl/commands/txn.ts';
import { Failure } from './ctl/failure.ts';
import { parseFlags } from './ctl/flags.ts';
import { GLOBAL_FLAGS } from './ctl/global-flags.ts';
import { formatDuration, parseDuration, parseHexId, parseInteger, quote, unquote } from './ctl/go.ts';
import { parseArguments } from './etsd/arguments.ts';
import { readConfigFile } from './etsd/config-file.ts';
import { readEnvironment } from './etsd/environment.ts';

const YAML = `name: m1
data-dir: /tmp/m1
listen-client-urls: http://127.0.0.1:2379,unix://a
advertise-client-urls: [http://127.0.0.1:2379]
snapshot-count: 10000
grpc-keepalive-min-time: 5000000000
audit-rotation: size=100,age=1h,keep=3
request-rate: user=5
client-transport-security:
  cert-file: &a x.pem
  key-file: *a
discovery-config:
  client: {endpoints: [a], auth: {username: u}}
`;

const VALUES = [
  '',
  '0',
  '-1',
  '1h30m',
  'true',
  'http://127.0.0.1:1',
  'https://[::1]:2',
  'a=http://b:1,c=d',
  'user=5',
  'size=1,age=1s',
  'jwt,sign-method=HS256,priv-key=/x',
  '18446744073709551616',
  '\0',
  'ä',
];

function words(prng: Prng): string[] {
  return Array.from({ length: prng.below(6) }, () => {
    const name = prng.pick(OPTIONS).name;
    const value = mutate(prng, Buffer.from(prng.pick(VALUES))).toString('utf8');
    const word = prng.pick([`--${name}=${value}`, `-${name}`, `--${name}`, value, '--', '-', '--=', `--${name}=`]);
    return prng.chance(0.3) ? mutate(prng, Buffer.from(word)).toString('utf8') : word;
  });
}

/** What the function gives, or null where it refused in one of its own ways. */
function attempt<T>(run: () => T): T | null {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof OperatorError || error instanceof Failure)) throw error;
    assert.ok(error.message.length > 0);
    return null;
  }
}

test('files of settings', async () => {
  let read = 0;
  let refused = 0;
  await forSeeds(1000, (prng) => {
    const settings = attempt(() => readConfigFile('etsd.yml', mutate(prng, Buffer.from(YAML)).toString('utf8')));
    if (settings === null || attempt(() => buildConfig(settings)) === null) refused++;
    else read++;
  });
  assert.ok(refused > 50 && read > 5, `${refused} refused, ${read} read`);
});

// CVE-2022-3064.
test('a file of aliases of aliases is refused, not unfolded', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < 10; level++) {
    lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
  }
  const started = process.cpuUsage().user;
  assert.throws(() => readConfigFile('etsd.yml', lines.join('\n')));
  assert.ok(process.cpuUsage().user - started < 5_000_000);
});

test('command lines and environments', async () => {
  let read = 0;
  await forSeeds(2000, (prng) => {
    const args = attempt(() => parseArguments(words(prng)));
    const environment = Object.fromEntries(
      words(prng).map((word) => [`ETCD_${word.replace(/\W/g, '_').toUpperCase()}`, prng.pick(VALUES)]),
    );
    const from = attempt(() => readEnvironment(environment, args?.flags ?? new Map()));
    if (args === null || from === null) return;
    if (attempt(() => buildConfig(new Map([...from.settings, ...args.flags]))) !== null) read++;
  });
  assert.ok(read > 20, `${read} were taken`);
});

test('what etsdctl reads', async () => {
  const lines = [
    'mod("key\\n") > "1"',
    "value(k) = 'v'",
    'put "a b" \'c\' --prev-kv',
    'lease(k) != "7"',
    'c(k)=1',
    'get \\x00 "',
  ];
  await forSeeds(2000, (prng) => {
    const line = mutate(prng, Buffer.from(prng.pick(lines))).toString(prng.chance(0.5) ? 'latin1' : 'utf8');
    attempt(() => parseComparison(line));
    attempt(() => wordsOf(line));
    attempt(() => parseFlags(line.split(' '), GLOBAL_FLAGS));
    unquote(line);
    parseInteger(line);
    parseHexId(line, 'ParseUint');
    const duration = parseDuration(mutate(prng, Buffer.from('-1h2.5m3ns')).toString('latin1'));
    if (duration !== undefined) formatDuration(duration);
    const bytes = prng.bytes(prng.below(30));
    assert.deepEqual(unquote(quote(bytes)), bytes, bytes.toString('hex'));
  });
});
