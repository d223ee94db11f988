/** What the log's Auth requests make, and what they answer. Bytes and order are those of real etcd 3.5.30. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AuthenticateResponse,
  AuthPermission,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGetRequest,
  type AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthRoleListResponse,
  AuthRoleRevokePermissionRequest,
  AuthStatusResponse,
  AuthUserAddOptions,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGetResponse,
  AuthUserGrantRoleRequest,
  AuthUserListResponse,
  AuthUserRevokeRoleRequest,
  RaftRequestField as Field,
  InternalAuthenticateRequest,
} from '@etsd/proto';
import { State } from './apply.ts';
import type { AuthListener, AuthStore } from './auth.ts';
import { Bench, type Probe } from './world.fixture.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');
const NOTHING = Buffer.alloc(0);
type Request = readonly [field: number, body: Buffer];

const HASH = 'cGFzcw==';
const enable: Request = [Field.AuthEnable, NOTHING];
const disable: Request = [Field.AuthDisable, NOTHING];
const status: Request = [Field.AuthStatus, NOTHING];
const listUsers: Request = [Field.AuthUserList, NOTHING];
const listRoles: Request = [Field.AuthRoleList, NOTHING];
const addUser = (name: string, hashedPassword = HASH, options: AuthUserAddOptions | null = null): Request => [
  Field.AuthUserAdd,
  AuthUserAddRequest.encode(AuthUserAddRequest.create({ name, hashedPassword, options })),
];
const deleteUser = (name: string): Request => [
  Field.AuthUserDelete,
  AuthUserDeleteRequest.encode(AuthUserDeleteRequest.create({ name })),
];
const changePassword = (name: string, hashedPassword = HASH): Request => [
  Field.AuthUserChangePassword,
  AuthUserChangePasswordRequest.encode(AuthUserChangePasswordRequest.create({ name, hashedPassword })),
];
const getUser = (name: string): Request => [
  Field.AuthUserGet,
  AuthUserGetRequest.encode(AuthUserGetRequest.create({ name })),
];
const grant = (user: string, role: string): Request => [
  Field.AuthUserGrantRole,
  AuthUserGrantRoleRequest.encode(AuthUserGrantRoleRequest.create({ user, role })),
];
const revoke = (name: string, role: string): Request => [
  Field.AuthUserRevokeRole,
  AuthUserRevokeRoleRequest.encode(AuthUserRevokeRoleRequest.create({ name, role })),
];
const addRole = (name: string): Request => [
  Field.AuthRoleAdd,
  AuthRoleAddRequest.encode(AuthRoleAddRequest.create({ name })),
];
const deleteRole = (role: string): Request => [
  Field.AuthRoleDelete,
  AuthRoleDeleteRequest.encode(AuthRoleDeleteRequest.create({ role })),
];
const getRole = (role: string): Request => [
  Field.AuthRoleGet,
  AuthRoleGetRequest.encode(AuthRoleGetRequest.create({ role })),
];
const permit = (name: string, permType: number, key: string, rangeEnd = ''): Request => [
  Field.AuthRoleGrantPermission,
  AuthRoleGrantPermissionRequest.encode(
    AuthRoleGrantPermissionRequest.create({
      name,
      perm: AuthPermission.create({ permType, key: bytes(key), rangeEnd: bytes(rangeEnd) }),
    }),
  ),
];
const permitNothing = (name: string): Request => [
  Field.AuthRoleGrantPermission,
  AuthRoleGrantPermissionRequest.encode(AuthRoleGrantPermissionRequest.create({ name })),
];
const forbid = (role: string, key: string, rangeEnd = ''): Request => [
  Field.AuthRoleRevokePermission,
  AuthRoleRevokePermissionRequest.encode(
    AuthRoleRevokePermissionRequest.create({ role, key: bytes(key), rangeEnd: bytes(rangeEnd) }),
  ),
];
const authenticate = (name: string): Request => [
  Field.Authenticate,
  InternalAuthenticateRequest.encode(InternalAuthenticateRequest.create({ name, simpleToken: 'abcdefghijklmnop' })),
];

const ask = (bench: Bench, request: Request, user = ''): Probe =>
  bench.applyAs(user, user === '' ? 0 : bench.state.auth.revision, ...request);
const told = (probe: Probe): string => (probe.error === null ? 'ok' : probe.error.message.replace('etcdserver: ', ''));

/** Steps as `[request, answer, auth revision after it]`. */
function follow(bench: Bench, steps: readonly (readonly [Request, string, number])[], user = ''): void {
  for (const [at, [request, answer, revision]] of steps.entries()) {
    const step = `step ${at} (${request[0]} ${request[1].toString('latin1')})`;
    assert.equal(told(ask(bench, request, user)), answer, step);
    assert.equal(bench.state.auth.revision, revision, `revision after ${step}`);
  }
}

/** Root, and ann who may read `a` to `d`; authentication is on. */
function guarded(): Bench {
  const bench = new Bench();
  const made = [addUser('root'), grant('root', 'root'), addUser('ann'), addRole('reads'), permit('reads', 0, 'a', 'd')];
  for (const request of [...made, grant('ann', 'reads'), enable]) assert.equal(told(ask(bench, request)), 'ok');
  return bench;
}

test('users: what is refused, in which order, and what counts as a change', () => {
  const noPassword = AuthUserAddOptions.create({ noPassword: true });
  follow(new Bench(), [
    [addUser(''), 'user name is empty', 1],
    [addUser('ann'), 'ok', 2],
    [addUser('ann', 'not base 64'), 'user name already exists', 2],
    [addUser('bob', 'not base 64'), 'auth: authentication failed, password was given for no password user', 2],
    [addUser('bob', 'not base 64', noPassword), 'ok', 3],
    [addUser('cem', ''), 'ok', 4],
    [changePassword('dan'), 'user name not found', 4],
    [changePassword('ann', 'YQ'), 'auth: authentication failed, password was given for no password user', 4],
    [changePassword('ann', 'YQ=='), 'ok', 5],
    [changePassword('bob', 'not base 64'), 'ok', 6],
    [grant('dan', 'none'), 'user name not found', 6],
    [grant('ann', 'none'), 'role name not found', 6],
    [grant('ann', 'root'), 'ok', 7],
    [grant('ann', 'root'), 'ok', 7],
    [revoke('dan', 'root'), 'user name not found', 7],
    [revoke('ann', 'none'), 'role is not granted to the user', 7],
    [revoke('ann', 'root'), 'ok', 8],
    [getUser('dan'), 'user name not found', 8],
    [deleteUser('dan'), 'user name not found', 8],
    [deleteUser('ann'), 'ok', 9],
  ]);
});

test('roles: what is refused, in which order, and what counts as a change', () => {
  follow(new Bench(), [
    [addRole(''), 'role name is empty', 1],
    [addRole('r'), 'ok', 2],
    [addRole('r'), 'role name already exists', 2],
    [permitNothing('none'), 'permission not given', 2],
    [permit('none', 0, '', ''), 'invalid auth management', 2],
    [permit('none', 0, 'b', 'a'), 'invalid auth management', 2],
    [permit('none', 0, 'b', 'b'), 'invalid auth management', 2],
    [permit('none', 0, 'b', '\0'), 'role name not found', 2],
    [permit('r', 0, 'b', '\0'), 'ok', 3],
    [permit('r', 0, 'b', '\0'), 'ok', 4],
    [forbid('none', 'b', '\0'), 'role name not found', 4],
    [forbid('r', 'b'), 'permission is not granted to the role', 4],
    [forbid('r', 'b', '\0'), 'ok', 5],
    [getRole('none'), 'role name not found', 5],
    [deleteRole('none'), 'role name not found', 5],
    [deleteRole('r'), 'ok', 6],
  ]);
});

test('authentication is turned on for a root user with the root role, and off at the price of a revision', () => {
  follow(new Bench(), [
    [enable, 'root user does not exist', 1],
    [disable, 'ok', 1],
    [authenticate('root'), 'authentication is not enabled', 1],
    [addUser('root'), 'ok', 2],
    [enable, 'root user does not have root role', 2],
    [grant('root', 'root'), 'ok', 3],
    [enable, 'ok', 3],
    [enable, 'user name is empty', 3],
    [addRole('root'), 'user name is empty', 3],
  ]);
  const bench = guarded();
  follow(
    bench,
    [
      [enable, 'ok', 7],
      [deleteUser('root'), 'invalid auth management', 7],
      [revoke('root', 'root'), 'invalid auth management', 7],
      [deleteRole('root'), 'invalid auth management', 7],
      [addRole('root'), 'ok', 8],
      [deleteRole('root'), 'invalid auth management', 8],
      [disable, 'ok', 9],
      [revoke('root', 'root'), 'ok', 10],
      [deleteRole('root'), 'ok', 11],
      [deleteUser('root'), 'ok', 12],
    ],
    'root',
  );
});

test('only root administers; others may see themselves and their own roles', () => {
  const bench = guarded();
  const admin = [enable, disable, status, listUsers, listRoles, addUser('x'), deleteUser('x'), changePassword('ann')];
  admin.push(grant('ann', 'root'), revoke('ann', 'reads'), addRole('x'), deleteRole('reads'), permitNothing('reads'));
  admin.push(forbid('reads', 'a'), getUser('root'), getRole('root'));
  for (const request of admin) {
    assert.equal(told(ask(bench, request, 'ann')), 'permission denied', `${request[0]}`);
    assert.equal(told(ask(bench, request, 'stranger')), 'permission denied', `${request[0]}`);
    assert.equal(told(ask(bench, request)), 'user name is empty', `${request[0]}`);
  }
  assert.equal(bench.state.auth.revision, 7);
  assert.deepEqual(ask(bench, getUser('ann'), 'ann').result, { ...AuthUserGetResponse.create({ roles: ['reads'] }) });
  const { perm } = ask(bench, getRole('reads'), 'ann').result as AuthRoleGetResponse;
  assert.deepEqual(
    perm.map(({ permType, key, rangeEnd }) => [permType, key.toString(), rangeEnd.toString()]),
    [[0, 'a', 'd']],
  );
  // How old root's revision is does not matter to what only root may do.
  assert.equal(told(bench.applyAs('root', 1, ...addRole('x'))), 'ok');
});

test('lists are in the order of bytes, and the role root needs no permission', () => {
  const bench = guarded();
  for (const request of [addUser('\u{1f600}'), addUser('\uffee'), addUser('Z'), addRole('root')]) {
    ask(bench, request, 'root');
  }
  const users = ['Z', 'ann', 'root', '\uffee', '\u{1f600}'];
  assert.deepEqual(ask(bench, listUsers, 'root').result, { ...AuthUserListResponse.create({ users }) });
  const roles = ['reads', 'root'];
  assert.deepEqual(ask(bench, listRoles, 'root').result, { ...AuthRoleListResponse.create({ roles }) });
  const { perm } = ask(bench, getRole('root'), 'root').result as AuthRoleGetResponse;
  assert.deepEqual(perm, []);
  const answer = ask(bench, status, 'root').result;
  assert.deepEqual(answer, { ...AuthStatusResponse.create({ enabled: true, authRevision: 11 }) });
});

// Goal: the very bytes that etcd 3.5.30 wrote for the same requests (seen in its file).
test('records are stored as etcd stores them', () => {
  const bench = new Bench();
  const hex = (bucket: string, key: string) => bench.backend.get(bucket, bytes(key))?.toString('hex');
  assert.equal(hex('auth', 'authRevision'), '0000000000000001');
  assert.equal(hex('auth', 'authEnabled'), undefined);
  const steps = [addUser('root'), grant('root', 'root'), addUser('u'), addRole('r'), permit('r', 0, '\0')];
  steps.push(permit('r', 2, 'a', 'b'), permit('r', 2, 'a'), permit('r', 0, 'a'), permit('r', 1, 'a', 'b'));
  for (const request of [...steps, grant('u', 'r'), enable]) assert.equal(told(ask(bench, request)), 'ok');
  assert.equal(hex('auth', 'authRevision'), '000000000000000b');
  assert.equal(hex('auth', 'authEnabled'), '01');
  assert.equal(hex('authRoles', 'r'), '0a01721203120100120808011201611a0162120508021201611203120161');
  assert.equal(hex('authUsers', 'u'), `0a01751204${bytes('pass').toString('hex')}1a01722200`);
  ask(bench, addUser('n', '', AuthUserAddOptions.create({ noPassword: true })), 'root');
  assert.equal(hex('authUsers', 'n'), '0a016e22020801');
  ask(bench, disable, 'root');
  assert.equal(hex('auth', 'authEnabled'), '00');
});

test('a role that is deleted is taken from its users', () => {
  const bench = guarded();
  follow(bench, [[deleteRole('reads'), 'ok', 8]], 'root');
  assert.deepEqual(bench.state.auth.user('ann')?.roles, []);
  assert.equal(bench.state.auth.readError('ann', 8, 'a', '')?.message, 'etcdserver: permission denied');
});

test('a token is the prefix of the entry and the index before it; nobody without a password gets one', () => {
  const bench = guarded();
  ask(bench, addUser('nopw', '', AuthUserAddOptions.create({ noPassword: true })), 'root');
  const heard: string[] = [];
  bench.state.auth.listener = listening(heard, bench.state.auth);
  const { result } = ask(bench, authenticate('ann'));
  const token = `abcdefghijklmnop.${bench.index - 1}`;
  assert.deepEqual(result, { ...AuthenticateResponse.create({ token }) });
  assert.equal(told(ask(bench, authenticate('nopw'))), 'authentication failed, invalid user ID or password');
  assert.equal(told(ask(bench, authenticate('none'))), 'authentication failed, invalid user ID or password');
  assert.deepEqual(heard, [`ann has ${token}`]);
});

test('who keeps tokens hears what makes them void', () => {
  const bench = guarded();
  const heard: string[] = [];
  bench.state.auth.listener = listening(heard, bench.state.auth);
  const steps = [changePassword('ann'), addRole('x'), grant('ann', 'x'), grant('ann', 'x'), addRole('x')];
  for (const request of [...steps, deleteUser('ann'), disable]) ask(bench, request, 'root');
  assert.deepEqual(heard, ['ann changed at 8', 'ann changed at 11', 'off at 12']);
});

/** Notes what is told, with the revision that the store shows by then. */
function listening(heard: string[], auth: AuthStore): AuthListener {
  return {
    authenticated: (user, token) => heard.push(`${user} has ${token}`),
    userChanged: (user) => heard.push(`${user} changed at ${auth.revision}`),
    enabledChanged: (enabled) => heard.push(`${enabled ? 'on' : 'off'} at ${auth.revision}`),
  };
}

test('a state over the same backend, or one whose backend was replaced, knows the same', () => {
  const bench = guarded();
  const { backend, store, lessor } = bench;
  const again = new State({ backend, store, lessor });
  assert.deepEqual([again.auth.enabled, again.auth.revision], [true, 7]);
  assert.deepEqual([again.auth.userNames(), again.auth.roleNames()], [['ann', 'root'], ['reads']]);
  const other = new Bench();
  for (const request of [addUser('ann'), addUser('gone'), addUser('root', 'YQ==')]) ask(other, request);
  const heard: string[] = [];
  other.state.auth.listener = listening(heard, other.state.auth);
  assert.equal(other.state.auth.readError('ann', 7, 'z', ''), null);
  other.backend.delete('authUsers', bytes('gone'));
  for (const bucket of ['auth', 'authUsers', 'authRoles']) {
    backend.scan(bucket, null, null, (key, value) => {
      other.backend.put(bucket, key, value);
      return true;
    });
  }
  other.state.reload();
  assert.deepEqual(heard, ['on at 7', 'gone changed at 7', 'root changed at 7']);
  assert.equal(other.state.auth.readError('ann', 7, 'a', 'd'), null);
  assert.equal(other.state.auth.readError('ann', 7, 'z', '')?.message, 'etcdserver: permission denied');
});
