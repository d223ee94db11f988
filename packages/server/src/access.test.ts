import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AuthEnableRequest,
  AuthenticateRequest,
  AuthenticateResponse,
  AuthUserAddRequest,
  AuthUserGrantRoleRequest,
  DeleteRangeRequest,
  PutRequest,
  RaftRequestView,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import { registerAuth } from './api/auth.ts';
import { TestMember } from './api/member.fixture.ts';
import type { FakeCall } from './api/surroundings.fixture.ts';
import { Passwords } from './passwords.ts';

const KEY = Buffer.from('a');
const RANGE = RangeRequest.encode(RangeRequest.create({ key: KEY, serializable: true }));
const PUT = PutRequest.encode(PutRequest.create({ key: KEY }));
const AUTH = '/etcdserverpb.Auth';

/** A member whose authentication is on; root's password is `pw`. */
async function secured(): Promise<TestMember> {
  const member = new TestMember().registerKv();
  const engine = {
    hash: (password: string) => Promise.resolve(`$2y$04$${password}`),
    verify: (password: string, stored: string) => Promise.resolve(stored.endsWith(`$${password}`)),
  };
  registerAuth(member.context, new Passwords({ ...member.world, cost: 4, engine }));
  const add = AuthUserAddRequest.create({ name: 'root', password: 'pw' });
  await answered(member.call(`${AUTH}/UserAdd`, AuthUserAddRequest.encode(add)));
  const grant = AuthUserGrantRoleRequest.create({ user: 'root', role: 'root' });
  await answered(member.call(`${AUTH}/UserGrantRole`, AuthUserGrantRoleRequest.encode(grant)));
  await answered(member.call(`${AUTH}/AuthEnable`, AuthEnableRequest.encode(new AuthEnableRequest())));
  return member;
}

async function answered(call: FakeCall): Promise<Buffer> {
  while (call.status === null) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(call.status, { code: 0, message: '' });
  return Buffer.concat(call.messages);
}

async function logIn(member: TestMember, name = 'root'): Promise<string> {
  const request = AuthenticateRequest.encode(AuthenticateRequest.create({ name, password: 'pw' }));
  return AuthenticateResponse.decode(await answered(member.call(`${AUTH}/Authenticate`, request))).token;
}

const statusOf = ({ status }: FakeCall): string => (status === null ? 'waits' : `${status.code} ${status.message}`);

// Goal: entries name who asked for them, for all members to judge.
test('an entry names its caller and the revision of the rights', async () => {
  const member = await secured();
  const token = await logIn(member);
  member.log.automatic = false;
  const call = member.call('/etcdserverpb.KV/Put', PUT, { token });
  const view = new RaftRequestView();
  view.parse(member.log.proposals[0]?.data as Buffer);
  assert.deepEqual([view.username, view.authRevision], ['root', member.state.auth.revision]);
  member.log.applyAll();
  assert.equal(statusOf(call), '0 ');
});

// Goal: members of etcd judge transactions that others were asked for only in part; what is denied must not reach them.
test('what the caller may not write is not put into the log', async () => {
  const member = await secured();
  const add = AuthUserAddRequest.encode(AuthUserAddRequest.create({ name: 'guest', password: 'pw' }));
  await answered(member.call(`${AUTH}/UserAdd`, add, { token: await logIn(member) }));
  const token = await logIn(member, 'guest');
  const put = PutRequest.create({ key: KEY });
  const txn = TxnRequest.create({ success: [RequestOp.create({ requestPut: put })] });
  const remove = DeleteRangeRequest.create({ key: KEY });
  const before = member.state.appliedIndex;
  const calls = [
    member.call('/etcdserverpb.KV/Put', PUT, { token }),
    member.call('/etcdserverpb.KV/Txn', TxnRequest.encode(txn), { token }),
    member.call('/etcdserverpb.KV/DeleteRange', DeleteRangeRequest.encode(remove), { token }),
  ];
  assert.deepEqual(calls.map(statusOf), Array(3).fill('7 etcdserver: permission denied'));
  assert.equal(member.state.appliedIndex, before);
});

test('a login does not carry the password into the log', async () => {
  const member = await secured();
  const seen: Buffer[] = [];
  const propose = member.log.propose.bind(member.log);
  member.log.propose = (data, waiter) => {
    seen.push(Buffer.from(data));
    propose(data, waiter);
  };
  await logIn(member);
  assert.equal(seen.length, 1);
  assert.ok(seen.every((entry) => !entry.includes('pw')));
});

// Goal: a client may use its token at any member in the very moment in which it has it.
test('a call whose token is still on its way here waits for it', async () => {
  const member = await secured();
  const ahead = `ABCDEFGHIJKLMNOP.${member.state.appliedIndex + 3}`;
  const range = member.call('/etcdserverpb.KV/Range', RANGE, { token: ahead });
  const put = member.call('/etcdserverpb.KV/Put', PUT, { token: ahead });
  const gone = member.call('/etcdserverpb.KV/Put', PUT, { token: ahead });
  gone.hangUp();
  assert.deepEqual([range, put].map(statusOf), ['waits', 'waits']);
  member.context.access.listener.authenticated('root', ahead);
  assert.deepEqual([range, put].map(statusOf), ['0 ', '0 ']);
  assert.equal(member.store.revision, 2, 'who hung up is not served');
});

test('a token that never comes is refused in the end, one that is past at once', async () => {
  const member = await secured();
  const timers = member.world.timerCount;
  const never = member.call('/etcdserverpb.KV/Range', RANGE, { token: 'ABCDEFGHIJKLMNOP.999999' });
  assert.equal(statusOf(never), 'waits');
  member.world.advance(7000);
  assert.equal(statusOf(never), '16 etcdserver: invalid auth token');
  assert.equal(member.world.timerCount, timers);
  const past = member.call('/etcdserverpb.KV/Range', RANGE, { token: 'ABCDEFGHIJKLMNOP.1' });
  assert.equal(statusOf(past), '16 etcdserver: invalid auth token');
});

test('the same token under the name that browsers send', async () => {
  const member = await secured();
  const token = await logIn(member);
  for (const headers of [{ token }, { authorization: token }, { authorization: `Bearer ${token}` }]) {
    assert.equal(statusOf(member.call('/etcdserverpb.KV/Range', RANGE, headers)), '0 ');
  }
});

// Goal: CVE-2018-16886: the certificate of a gateway must not lend its rights to everybody behind it.
test('a certificate names the user, but not behind a gateway, and not against a token', async () => {
  const member = await secured();
  member.peerCommonName = 'root';
  const ask = (headers: Record<string, string>) => statusOf(member.call('/etcdserverpb.KV/Range', RANGE, headers));
  assert.equal(ask({}), '0 ');
  assert.equal(ask({ 'grpcgateway-accept': '*/*' }), '3 etcdserver: user name is empty');
  assert.equal(ask({ token: 'nonsense' }), '16 etcdserver: invalid auth token');
});

test('a method without a rule can not be registered', async () => {
  const member = await secured();
  const handler = { kind: 'unary' as const, message: () => {} };
  assert.throws(() => member.context.rpc.handle('/etcdserverpb.KV/New', handler), /no rule says who may call/);
});

// Goal: rights that were taken away while a read waited are gone when it is answered.
test('a read is judged when it is answered, not when it comes', async () => {
  const member = await secured();
  const token = await logIn(member);
  member.log.holdsReaders = true;
  const request = RangeRequest.encode(RangeRequest.create({ key: KEY }));
  const call = member.call('/etcdserverpb.KV/Range', request, { token });
  member.context.access.listener.userChanged('root');
  for (const reader of member.log.readers.splice(0)) reader.done(null);
  assert.equal(statusOf(call), '16 etcdserver: invalid auth token');
});
