/**
 * Goal: the requests of the Auth service are answered here as in etcd: the same errors, in the same order where several
 * apply, and the same contents. Method: random requests, by root, by others and by nobody, at a real etcd and at our state.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Prng } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import {
  AuthenticateRequest,
  AuthenticateResponse,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleListResponse,
  AuthStatusResponse,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGetResponse,
  AuthUserListResponse,
  RaftRequestField as Field,
  writeRaftRequest,
} from '@etsd/proto';
import { Lessor, State } from '@etsd/state';
import { needsPeer } from '@etsd/testkit';
import type { Client } from '../support/client.ts';
import { startServer } from '../support/server.ts';
import { RequestMaker } from './auth-log.ts';

const skip = needsPeer('etcd');
const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const count = Number(process.env['ETSD_TEST_AUTH_ANSWERS'] ?? 600);
const PASSWORD = 'pw';
const NOTHING = Buffer.alloc(0);

const METHODS: Readonly<Record<number, string>> = {
  [Field.AuthEnable]: 'AuthEnable',
  [Field.AuthDisable]: 'AuthDisable',
  [Field.AuthStatus]: 'AuthStatus',
  [Field.AuthUserAdd]: 'UserAdd',
  [Field.AuthUserDelete]: 'UserDelete',
  [Field.AuthUserGet]: 'UserGet',
  [Field.AuthUserList]: 'UserList',
  [Field.AuthUserChangePassword]: 'UserChangePassword',
  [Field.AuthUserGrantRole]: 'UserGrantRole',
  [Field.AuthUserRevokeRole]: 'UserRevokeRole',
  [Field.AuthRoleAdd]: 'RoleAdd',
  [Field.AuthRoleDelete]: 'RoleDelete',
  [Field.AuthRoleGet]: 'RoleGet',
  [Field.AuthRoleList]: 'RoleList',
  [Field.AuthRoleGrantPermission]: 'RoleGrantPermission',
  [Field.AuthRoleRevokePermission]: 'RoleRevokePermission',
};

/** Responses that say something; all others are empty. */
const CONTENTS: Readonly<Record<number, { decode(bytes: Buffer): object }>> = {
  [Field.AuthStatus]: AuthStatusResponse,
  [Field.AuthUserGet]: AuthUserGetResponse,
  [Field.AuthUserList]: AuthUserListResponse,
  [Field.AuthRoleGet]: AuthRoleGetResponse,
  [Field.AuthRoleList]: AuthRoleListResponse,
};

function ourState(): State {
  const backend = new MemoryBackend();
  const store = new Store(backend);
  store.open();
  return new State({ backend, store, lessor: new Lessor({ store, backend, ttlMinSeconds: 2 }) });
}

function told(response: object): string {
  return JSON.stringify({ ...response, header: null });
}

/** A token of the user, if it can have one now. */
async function tokenOf(client: Client, name: string): Promise<Record<string, string>> {
  if (name === '') return {};
  const request = AuthenticateRequest.encode(AuthenticateRequest.create({ name, password: PASSWORD }));
  const { code, bytes } = await client.callRaw('/etcdserverpb.Auth/Authenticate', request);
  return code === 0 ? { token: AuthenticateResponse.decode(bytes).token } : {};
}

/** One that would take root away for good, so that nothing could be seen any more. */
function endsRoot(field: number, body: Buffer): boolean {
  if (field === Field.AuthUserAdd) return AuthUserAddRequest.decode(body).name === 'root';
  return field === Field.AuthUserDelete && AuthUserDeleteRequest.decode(body).name === 'root';
}

function nextRequest(random: Prng, maker: RequestMaker): [number, Buffer] {
  switch (random.below(12)) {
    case 0:
      return [Field.AuthUserList, NOTHING];
    case 1:
      return [Field.AuthRoleList, NOTHING];
    case 2:
      return [Field.AuthStatus, NOTHING];
    case 3:
    case 4: {
      const role = ['root', 'reads', 'writes', 'both', ''][random.below(5)] as string;
      return [Field.AuthRoleGet, AuthRoleGetRequest.encode(AuthRoleGetRequest.create({ role }))];
    }
    default:
      return maker.change();
  }
}

test('requests of the Auth service are answered as etcd answers them', { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  const maker = new RequestMaker(random, ['cGFzcw=='], PASSWORD);
  const beginning = RequestMaker.beginning(PASSWORD);
  // It looks up who may do what where changes may come late, until its next commit: there is one after each of them.
  const flags = ['--bcrypt-cost', '4', '--backend-batch-limit', '1', '--unsafe-no-fsync'];
  const etcd = await startServer({ product: 'etcd', flags });
  const client = etcd.connect();
  const state = ourState();
  const seen = new Map<string, number>();
  try {
    for (let index = 1; index <= count; index++) {
      const first = beginning[index - 1];
      const [field, body] = first === undefined ? nextRequest(random, maker) : [first.field, first.body];
      const method = METHODS[field];
      if (method === undefined || (index > beginning.length && endsRoot(field, body))) {
        state.applyEmpty(index, 1);
        continue;
      }
      const user = ['root', 'root', 'root', 'ann', 'bob', ''][random.below(6)] as string;
      const headers = await tokenOf(client, user);
      const known = 'token' in headers;
      const theirs = await client.callRaw(`/etcdserverpb.Auth/${method}`, body, 20_000, headers);
      let ours = '';
      const [name, revision] = known ? [user, state.auth.revision] : ['', 0];
      state.apply(index, 1, writeRaftRequest(field, body, 0, body.length, 1, index, name, revision), {
        done: (response) => {
          ours = told(CONTENTS[field] === undefined ? {} : (response as object));
        },
        fail: ({ code, message }) => {
          ours = `${code} ${message}`;
        },
      });
      const content = theirs.code === 0 ? told(CONTENTS[field]?.decode(theirs.bytes) ?? {}) : '';
      const expected = theirs.code === 0 ? content : `${theirs.code} ${theirs.message}`;
      const asked = `request ${index}, ${method} by ${name}: ${JSON.stringify(body.toString('latin1'))}`;
      assert.equal(ours, expected, asked);
      seen.set(theirs.message, (seen.get(theirs.message) ?? 0) + 1);
    }
  } finally {
    client.close();
    await etcd.dispose();
  }
  context.diagnostic([...seen].map(([text, times]) => `${times} ${text || 'done'}`).join(', '));
  // Eleven to thirteen of them as a rule; ten are seldom.
  assert.ok(seen.size >= 8, 'most errors were seen');
});
