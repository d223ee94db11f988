/** Which cluster plans are taken, and in which words others are refused: etcd's, where it has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findBeginning } from './begin.ts';
import { Neighbourhood } from './neighbours.fixture.ts';
import { differenceOfUrls } from './peer-urls.ts';

const URL_ROWS: [name: string, left: string[], right: string[], difference: RegExp | null][] = [
  ['as written', ['http://a:1', 'http://b:1'], ['http://b:1', 'http://a:1'], null],
  ['as resolved', ['http://one:1'], ['http://10.0.0.1:1'], null],
  ['resolved on both sides', ['http://one:1'], ['http://uno:1'], null],
  ['another port', ['http://one:1'], ['http://10.0.0.1:2'], /^resolved urls: \["http:\/\/10.0.0.1:1"\] != /],
  ['another scheme', ['http://one:1'], ['https://one:1'], /^resolved urls/],
  ['another number', ['http://a:1'], [], /^len\(\["http:\/\/a:1"\]\) != len\(\[\]\)$/],
  ['localhost is never resolved', ['http://localhost:1'], ['http://127.0.0.1:1'], /^resolved urls/],
  ['sockets are not either', ['unix:///a'], ['unix:///b'], /^resolved urls/],
  ['a name nobody knows', ['http://lost:1'], ['http://10.0.0.1:1'], /^no such host: lost$/],
];
for (const [name, left, right, difference] of URL_ROWS) {
  test(`peer URLs are compared: ${name}`, async () => {
    const around = new Neighbourhood();
    around.universe.names.hosts.set('one', ['10.0.0.1']);
    around.universe.names.hosts.set('uno', ['10.0.0.1', '10.0.0.9']);
    around.universe.names.hosts.set('lost', []);
    const found = await around.outcome(differenceOfUrls(around.parts({}), left, right));
    if (difference === null) assert.equal(found, null);
    else assert.match(found ?? '', difference);
  });
}

test('a name that is not known yet is tried for half a minute', async () => {
  const around = new Neighbourhood();
  const { hosts } = around.universe.names;
  hosts.set('late', []);
  around.universe.simulation.schedule(20_000, { isAlive: true }, () => hosts.set('late', ['10.0.0.1']));
  assert.equal(
    await around.outcome(differenceOfUrls(around.parts({}), ['http://late:1'], ['http://10.0.0.1:1'])),
    null,
  );
  assert.ok(around.lines.every(({ message }) => message === 'failed to resolve URL Host'));
  assert.ok(around.lines.length >= 19, `${around.lines.length} attempts`);
});

const A = { name: 'a', 'initial-advertise-peer-urls': 'http://a:1' };
const REFUSED: [flags: Record<string, string>, message: RegExp][] = [
  [{ ...A, 'initial-cluster': 'b=http://b:1' }, /^couldn't find local name "a" in the initial cluster configuration$/],
  [
    { ...A, 'initial-cluster': 'a=http://a:1,b=http://b:1,c=http://b:1' },
    /^initial cluster a=http:\/\/a:1,b=http:\/\/b:1,c=http:\/\/b:1 has duplicate url$/,
  ],
  [
    { ...A, 'initial-cluster': 'a=http://a:2' },
    /^--initial-cluster has a=http:\/\/a:2 but missing from --initial-advertise-peer-urls=http:\/\/a:1 \(/,
  ],
  [
    { ...A, 'initial-cluster': 'a=http://a:1,a=http://a:2' },
    /^--initial-cluster has a=http:\/\/a:2 but missing from --initial-advertise-peer-urls=http:\/\/a:1 \(len/,
  ],
  [
    { name: 'a', 'initial-advertise-peer-urls': 'http://a:1,http://a:2', 'initial-cluster': 'a=http://a:1' },
    /^--initial-advertise-peer-urls has http:\/\/a:2 but missing from --initial-cluster=a=http:\/\/a:1$/,
  ],
];
for (const [flags, message] of REFUSED) {
  test(`refused at a first start: ${JSON.stringify(flags)}`, async () => {
    const around = new Neighbourhood();
    await assert.rejects(around.outcome(findBeginning(around.parts(flags))), { name: 'OperatorError', message });
  });
}

test('a cluster is founded as the flags say when nobody is there to be asked', async () => {
  const around = new Neighbourhood();
  const flags = { ...A, 'initial-cluster': 'a=http://a:1,b=http://b:1', 'initial-cluster-token': 'tok' };
  assert.deepEqual(await around.outcome(findBeginning(around.parts(flags))), {
    kind: 'found',
    founding: {
      members: [
        { name: 'a', peerUrls: ['http://a:1'] },
        { name: 'b', peerUrls: ['http://b:1'] },
      ],
      name: 'a',
      token: 'tok',
    },
  });
});

test('peers that are silent hold a founding up for a second', async () => {
  const around = new Neighbourhood();
  await around.answers('b', 1, () => null);
  await around.answers('c', 1, () => null);
  const flags = { ...A, 'initial-cluster': 'a=http://a:1,b=http://b:1,c=http://c:1' };
  await around.outcome(findBeginning(around.parts(flags)));
  assert.ok(around.nowMs < 1500, `${around.nowMs}`);
});
