import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METHODS } from '@etsd/proto';
import { needsPeer } from '@etsd/testkit';
import { Client, type Message } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, startServer } from '../support/server.ts';
import { compare } from './compare.ts';
import type { Ask } from './requests.ts';
import { Side } from './side.ts';

const product = (process.env['ETSD_TEST_PRODUCT'] ?? 'etsd') as Product;
const skip = product === 'etcd' ? needsPeer('etcd') : false;
const count = Number(process.env['ETSD_TEST_AUTH_COUNT'] ?? 2000);
/** Of more, several pairs of servers take their part at the same time. */
const COUNT_OF_PAIR = 12_500;
const seed = Number(process.env['ETSD_TEST_SEED'] ?? process.pid);
const key = (text: string): Buffer => Buffer.from(text, 'latin1');
const OPEN = key('\0');

// Goal: whoever moves from etcd gives nobody a right that he did not have, and takes none away.
test(`random users and requests are judged as by etcd (seed ${seed})`, { skip: needsPeer('etcd') }, async () => {
  const pairs = Math.ceil(count / COUNT_OF_PAIR);
  const each = Math.ceil(count / pairs);
  const verdicts = await Promise.all(
    Array.from({ length: pairs }, (_, pair) =>
      compare({ seed: seed + pair, count: each, left: 'etcd', right: 'etsd' }),
    ),
  );
  for (const [pair, { decisions, difference }] of verdicts.entries()) {
    assert.equal(difference, null, `seed ${seed + pair}: ${difference}`);
    assert.ok((decisions.get('0 ') ?? 0) > each / 20, 'some were allowed');
    assert.ok((decisions.get('7 etcdserver: permission denied') ?? 0) > each / 20, 'some were not');
  }
});

const STREAMS = new Set([
  'Watch/Watch',
  'Lease/LeaseKeepAlive',
  'Maintenance/Snapshot',
  'v3electionpb.Election/Observe',
]);
/** What anybody may call, and what any user may call who has shown who it is. */
const OPEN_TO_ALL = new Set(['Auth/Authenticate', 'grpc.health.v1.Health/Check', 'grpc.health.v1.Health/Watch']);
const OPEN_TO_USERS = new Set([
  'Cluster/MemberList',
  'Lease/LeaseGrant',
  'Lease/LeaseLeases',
  'Lease/LeaseTimeToLive',
  'Maintenance/Alarm',
]);
/** Requests that would be refused for another reason before anybody asks who sent them. */
const REQUESTS: Record<string, Message> = {
  'KV/Range': { key: key('a') },
  'KV/RangeStream': { key: key('a') },
  'KV/Put': { key: key('a') },
  'KV/DeleteRange': { key: key('a') },
  'KV/Txn': { success: [{ request_put: { key: key('a') } }] },
  'Watch/Watch': { create_request: { key: key('a') } },
  'Lease/LeaseKeepAlive': { ID: 7 },
  'Lease/LeaseRevoke': { ID: 7 },
  'Lease/LeaseGrant': { TTL: 100 },
  'Cluster/MemberAdd': { peerURLs: ['http://127.0.0.1:1'] },
  'v3lockpb.Lock/Lock': { name: key('a') },
  'v3lockpb.Lock/Unlock': { key: key('a') },
  'v3electionpb.Election/Campaign': { name: key('a') },
  'v3electionpb.Election/Leader': { name: key('a') },
  'v3electionpb.Election/Observe': { name: key('a') },
  'v3electionpb.Election/Proclaim': { leader: { name: key('a'), key: key('a'), rev: 1, lease: 7 } },
  'v3electionpb.Election/Resign': { leader: { name: key('a'), key: key('a'), rev: 1, lease: 7 } },
};

// Goal: no method can be called without credentials or without the right, whatever is added: the methods come from the
// schema, and one that is not listed above has to refuse.
test('every method refuses who is unknown, and a user without rights', { skip: product !== 'etsd' }, async () => {
  const side = await Side.start('etsd');
  try {
    await side.asRoot('Auth/UserAdd', { name: 'eve', password: 'pw-eve' });
    await side.logIn('eve');
    await side.asRoot('Lease/LeaseGrant', { ID: 7, TTL: 1000 });
    await side.asRoot('KV/Put', { key: key('z'), lease: 7 });
    side.tokens.set('forger', 'ABCDEFGHIJKLMNOP.3');
    for (const { path } of METHODS) {
      const method = path.slice(1).replace('etcdserverpb.', '');
      if (OPEN_TO_ALL.has(method)) continue;
      const ask: Ask = { method, message: REQUESTS[method] ?? {}, ...(STREAMS.has(method) ? { stream: true } : {}) };
      assert.match(await side.decide('', ask), /user name is empty$/, `${method} without a token`);
      assert.match(await side.decide('forger', ask), /invalid auth token$/, `${method} with a token nobody gave`);
      const right = await side.decide('eve', ask);
      if (OPEN_TO_USERS.has(method)) assert.doesNotMatch(right, /user name|token/, `${method} of a user`);
      else assert.match(right, /permission denied$/, `${method} of a user without rights`);
    }
  } finally {
    await side.dispose();
  }
});

/** Users with a right each: `ann` reads `a`, `bob` writes `a`, `cid` reads and writes `a`, `dan` nothing. */
async function withRights(): Promise<Side> {
  const side = await Side.start(product);
  for (const [name, permType] of [
    ['r1', 'READ'],
    ['r2', 'WRITE'],
    ['r3', 'READWRITE'],
  ]) {
    await side.asRoot('Auth/RoleGrantPermission', { name, perm: { permType, key: key('a') } });
  }
  await side.asRoot('KV/Put', { key: key('a'), value: key('1') });
  await side.asRoot('KV/Put', { key: key('secret'), value: key('2') });
  return side;
}

const DENIED = '7 etcdserver: permission denied';
const put = (name: string, more: Message = {}): Message => ({ request_put: { key: key(name), ...more } });
const nested = (ops: Message[]): Message => ({ request_txn: { success: [{ request_txn: { failure: ops } }] } });

// Goal: holes that etcd had stay closed here.
const ADVISORIES: [name: string, user: string, ask: Ask][] = [
  [
    'CVE-2026-33343: a nested transaction writes',
    'ann',
    { method: 'KV/Txn', message: { success: [nested([put('b')])] } },
  ],
  [
    'CVE-2026-33343: a nested transaction reads',
    'ann',
    { method: 'KV/Txn', message: { failure: [nested([{ request_range: { key: key('secret') } }])] } },
  ],
  [
    'CVE-2026-33343: a nested transaction compares',
    'ann',
    {
      method: 'KV/Txn',
      message: { success: [{ request_txn: { compare: [{ key: key('secret'), target: 'VERSION', version: 1 }] } }] },
    },
  ],
  [
    'CVE-2026-44283: a nested put returns the former value',
    'bob',
    { method: 'KV/Txn', message: { success: [nested([put('a', { prev_kv: true })])] } },
  ],
  [
    'CVE-2026-44283: a nested put hangs on a lease with others’ keys',
    'cid',
    { method: 'KV/Txn', message: { success: [nested([put('a', { lease: 9 })])] } },
  ],
  [
    'CVE-2021-28235 and before: a put returns the former value',
    'bob',
    { method: 'KV/Put', message: { key: key('a'), prev_kv: true } },
  ],
  ['a deletion returns former values', 'bob', { method: 'KV/DeleteRange', message: { key: key('a'), prev_kv: true } }],
  ['a put hangs on a lease with others’ keys', 'cid', { method: 'KV/Put', message: { key: key('a'), lease: 9 } }],
  ['a lease with others’ keys is revoked', 'cid', { method: 'Lease/LeaseRevoke', message: { ID: 9 } }],
  [
    'CVE-2023-32082: a lease with others’ keys is shown',
    'cid',
    { method: 'Lease/LeaseTimeToLive', message: { ID: 9, keys: true } },
  ],
  [
    'a lease with others’ keys is kept alive',
    'cid',
    { method: 'Lease/LeaseKeepAlive', message: { ID: 9 }, stream: true },
  ],
  ['CVE-2026-33413: history is compacted', 'cid', { method: 'KV/Compact', message: { revision: 1 } }],
  [
    'CVE-2026-33413: an alarm is cleared',
    'cid',
    { method: 'Maintenance/Alarm', message: { action: 'DEACTIVATE', alarm: 'NOSPACE' } },
  ],
  [
    'CVE-2026-33413: an alarm is raised',
    'cid',
    { method: 'Maintenance/Alarm', message: { action: 'ACTIVATE', alarm: 'NOSPACE' } },
  ],
  [
    'a range ends beyond the permission',
    'cid',
    { method: 'KV/Range', message: { key: key('a'), range_end: key('b') } },
  ],
  ['a range ends nowhere', 'cid', { method: 'KV/Range', message: { key: key('a'), range_end: OPEN } }],
];

test('known holes are closed', { skip }, async () => {
  const side = await withRights();
  try {
    await side.asRoot('Lease/LeaseGrant', { ID: 9, TTL: 1000 });
    await side.asRoot('KV/Put', { key: key('z'), lease: 9 });
    for (const [name, user, ask] of ADVISORIES) assert.equal(await side.decide(user, ask), DENIED, name);
    const { kvs } = (await side.asRoot('KV/Range', { key: key('a'), range_end: OPEN })) as { kvs: Message[] };
    assert.deepEqual(
      kvs.map((kv) => `${kv['key']}=${kv['value']}`),
      ['a=1', 'secret=2', 'z='],
      'nothing has changed',
    );
  } finally {
    await side.dispose();
  }
});

// Goal: GHSA-xg4h-6gfc-h4m8: who may read one key watches that key, not all that follow. (etcd 3.5.30 has it still.)
test('a watch with an open end needs a right with an open end', { skip: product !== 'etsd' }, async () => {
  const side = await withRights();
  try {
    const watch = (message: Message): Ask => ({
      method: 'Watch/Watch',
      message: { create_request: message },
      stream: true,
    });
    assert.equal(await side.decide('ann', watch({ key: key('a') })), '0 ');
    const refused = '0 rpc error: code = PermissionDenied desc = etcdserver: permission denied';
    assert.equal(await side.decide('ann', watch({ key: key('a'), range_end: OPEN })), refused);
    assert.equal(await side.decide('ann', watch({ key: key('a'), range_end: key('b') })), refused);
    assert.equal(await side.decide('ann', watch({ range_end: OPEN })), refused);
    assert.equal(await side.decide('root', watch({ range_end: OPEN })), '0 ');
  } finally {
    await side.dispose();
  }
});

// Goal: a login is good at once and everywhere, whichever member gave it. (Real etcd refuses it here and there.)
test('a token is valid on every member at once', { skip: product !== 'etsd' }, async () => {
  await using cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'] });
  const leader = await cluster.agreed();
  const client = cluster.client(leader);
  await client.expect('Auth/UserAdd', { name: 'root', password: 'pw' });
  await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
  await client.expect('Auth/AuthEnable', {});
  const clients = cluster.members.map((member) => new Client(member.address));
  try {
    for (let round = 0; round < 10; round++) {
      for (const giver of clients) {
        const { token } = await giver.expect('Auth/Authenticate', { name: 'root', password: 'pw' });
        const uses = clients.flatMap((each) => [
          each.call('KV/Range', { key: key('a') }, 10_000, { token: token as string }),
          each.call('KV/Put', { key: key('a') }, 10_000, { authorization: token as string }),
        ]);
        for (const { code, message } of await Promise.all(uses)) assert.equal(`${code} ${message}`, '0 ');
      }
    }
  } finally {
    for (const each of clients) each.close();
  }
});

// Goal: users survive the move from etcd member by member: each kind takes the logins and changes of the other.
test('members of etcd and of etsd share users and logins', { skip: needsPeer('etcd') }, async () => {
  await using cluster = await TestCluster.start({ products: ['etcd', 'etsd', 'etsd'] });
  const leader = await cluster.agreed();
  const client = cluster.client(leader);
  const clients = cluster.members.map((member) => new Client(member.address));
  try {
    for (const [index, name] of ['root', 'ann', 'bob'].entries()) {
      await (clients[index] as Client).expect('Auth/UserAdd', { name, password: `pw-${name}` });
    }
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    await client.expect('Auth/AuthEnable', {});
    for (const name of ['root', 'ann', 'bob']) {
      for (const giver of clients) {
        const { token } = await giver.expect('Auth/Authenticate', { name, password: `pw-${name}` });
        const wanted = name === 'root' ? '0 ' : '7 etcdserver: permission denied';
        for (const each of clients) {
          // The member of etcd may refuse the login until it has applied it.
          await eventually(30_000, `${name} is known`, async () => {
            const { code, message } = await each.call('KV/Put', { key: key('a') }, 20_000, { token: token as string });
            if (code !== 16) assert.equal(`${code} ${message}`, wanted);
            return code === 16 ? null : true;
          });
        }
      }
    }
  } finally {
    for (const each of clients) each.close();
  }
});

// Goal: what members do unasked goes on while everybody else has to say who it is.
test('leases expire while authentication is on', { skip }, async () => {
  const side = await Side.start(product);
  try {
    await side.asRoot('Lease/LeaseGrant', { ID: 5, TTL: 1 });
    await side.asRoot('KV/Put', { key: key('gone'), lease: 5 });
    await eventually(15_000, 'the key goes with its lease', async () => {
      const { count } = await side.asRoot('KV/Range', { key: key('gone') });
      return count === '0' ? true : null;
    });
  } finally {
    await side.dispose();
  }
});

// Goal: what a member writes to its log can be shown to anybody.
test('neither passwords nor tokens are logged', { skip }, async () => {
  const server = await startServer({ product, flags: ['--log-level', 'debug', '--bcrypt-cost=4'] });
  const client = new Client(server.address);
  try {
    await client.expect('Auth/UserAdd', { name: 'root', password: 'correct-horse' });
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    await client.expect('Auth/AuthEnable', {});
    await client.call('Auth/Authenticate', { name: 'root', password: 'battery-staple' });
    const { token } = await client.expect('Auth/Authenticate', { name: 'root', password: 'correct-horse' });
    const headers = { token: token as string };
    await client.call('Auth/UserChangePassword', { name: 'root', password: 'new-horse' }, 5000, headers);
    await client.call('KV/Range', { key: key('a') }, 5000, headers);
    const log = server.log;
    if (product === 'etsd') assert.match(log, /invalid authentication request/);
    assert.doesNotMatch(log, /horse|staple/);
    assert.equal(log.includes(token as string), false);
  } finally {
    client.close();
    await server.dispose();
  }
});
