/**
 * Goal: a program that makes its client out of our `.proto` files with `@grpc/grpc-js`, as the documentation of gRPC
 * shows it, works against etsd: every kind of call, every service, and errors with code and text.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type EmbeddedMember, startMember } from '@etsd/server';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ROOT } from '../support/binaries.ts';

const SCHEMA = join(ROOT, 'packages/proto/schema');

// biome-ignore lint/suspicious/noExplicitAny: what grpc-js makes of a schema at run time has no types
type Anything = any;

interface Duplex extends AsyncIterable<Anything> {
  write(message: object): void;
  end(): void;
  cancel(): void;
}

let member: EmbeddedMember;
let address: string;
let packages: Anything;
const open: grpc.Client[] = [];

function service(name: string, at = address): Anything {
  const Client = name.split('.').reduce((within, part) => within[part], packages);
  const client = new Client(at, grpc.credentials.createInsecure());
  open.push(client);
  return client;
}

/** A unary call as a promise. */
function call(client: Anything, method: string, request: object, metadata = new grpc.Metadata()): Promise<Anything> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 20_000 };
    client[method](request, metadata, options, (error: Error | null, response: Anything) =>
      error === null ? resolve(response) : reject(error),
    );
  });
}

/** The next messages of a stream, so many. */
async function take(stream: Duplex, count: number): Promise<Anything[]> {
  const messages: Anything[] = [];
  for await (const message of stream) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

function refused(code: grpc.status, text: RegExp): (error: unknown) => boolean {
  return (error) => {
    const { code: given, details } = error as grpc.ServiceError;
    assert.equal(given, code, details);
    assert.match(details, text);
    return true;
  };
}

before(async () => {
  member = await startMember({ listen: '127.0.0.1:0' });
  address = member.endpoint.replace('http://', '');
  const definition = loadSync(
    readdirSync(SCHEMA).filter((file) => file.endsWith('.proto')),
    { includeDirs: [SCHEMA], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
  );
  packages = grpc.loadPackageDefinition(definition);
});

after(async () => {
  for (const client of open) client.close();
  await member.close();
});

test('KV: put, range, delete, transaction, compaction', async () => {
  const kv = service('etcdserverpb.KV');
  await call(kv, 'Put', { key: Buffer.from('k/a'), value: Buffer.from('1') });
  const put = await call(kv, 'Put', { key: Buffer.from('k/a'), value: Buffer.from('2'), prev_kv: true });
  assert.equal(put.prev_kv.value.toString(), '1');
  await call(kv, 'Put', { key: Buffer.from('k/b'), value: Buffer.from('3') });
  const range = await call(kv, 'Range', { key: Buffer.from('k/'), range_end: Buffer.from('k0'), limit: 1 });
  assert.deepEqual([range.count, range.more, range.kvs[0].version], ['2', true, '2']);
  const txn = await call(kv, 'Txn', {
    compare: [{ target: 'VERSION', result: 'EQUAL', key: Buffer.from('k/a'), version: 2 }],
    success: [{ request_delete_range: { key: Buffer.from('k/a') } }],
    failure: [{ request_range: { key: Buffer.from('k/a') } }],
  });
  assert.deepEqual([txn.succeeded, txn.responses[0].response_delete_range.deleted], [true, '1']);
  await call(kv, 'Compact', { revision: put.header.revision });
  await assert.rejects(
    call(kv, 'Range', { key: Buffer.from('k/a'), revision: Number(put.header.revision) - 1 }),
    refused(grpc.status.OUT_OF_RANGE, /^etcdserver: mvcc: required revision has been compacted$/),
  );
  await assert.rejects(call(kv, 'Put', {}), refused(grpc.status.INVALID_ARGUMENT, /^etcdserver: key is not provided$/));
});

test('Watch: a stream both ways, with history and what was before', async () => {
  const kv = service('etcdserverpb.KV');
  const { header } = await call(kv, 'Put', { key: Buffer.from('w'), value: Buffer.from('1') });
  await call(kv, 'DeleteRange', { key: Buffer.from('w') });
  const stream: Duplex = service('etcdserverpb.Watch').Watch();
  const start_revision = header.revision;
  stream.write({ create_request: { key: Buffer.from('w'), start_revision, prev_kv: true, watch_id: 7 } });
  const [created, events] = await take(stream, 2);
  assert.deepEqual([created.created, created.watch_id], [true, '7']);
  assert.deepEqual(
    events.events.map((event: Anything) => [event.type, event.prev_kv?.value.toString() ?? null]),
    [
      ['PUT', null],
      ['DELETE', '1'],
    ],
  );
});

test('Lease: grant, keep alive, time to live, revoke', async () => {
  const lease = service('etcdserverpb.Lease');
  const { ID } = await call(lease, 'LeaseGrant', { TTL: 20 });
  const kv = service('etcdserverpb.KV');
  await call(kv, 'Put', { key: Buffer.from('leased'), value: Buffer.from('1'), lease: ID });
  const stream: Duplex = lease.LeaseKeepAlive();
  stream.write({ ID });
  const [alive] = await take(stream, 1);
  assert.deepEqual([alive.ID, alive.TTL], [ID, '20']);
  const left = await call(lease, 'LeaseTimeToLive', { ID, keys: true });
  assert.deepEqual(
    left.keys.map((key: Buffer) => key.toString()),
    ['leased'],
  );
  await call(lease, 'LeaseRevoke', { ID });
  assert.equal((await call(kv, 'Range', { key: Buffer.from('leased') })).count, '0');
  await assert.rejects(
    call(lease, 'LeaseRevoke', { ID }),
    refused(grpc.status.NOT_FOUND, /^etcdserver: requested lease not found$/),
  );
});

test('Lock: the second waits until the first lets go', async () => {
  const lock = service('v3lockpb.Lock');
  const first = await call(lock, 'Lock', { name: Buffer.from('l') });
  let isSecondIn = false;
  const second = call(lock, 'Lock', { name: Buffer.from('l') }).then((response) => {
    isSecondIn = true;
    return response;
  });
  await call(service('etcdserverpb.KV'), 'Range', { key: Buffer.from('l') });
  assert.equal(isSecondIn, false);
  await call(lock, 'Unlock', { key: first.key });
  assert.notDeepEqual((await second).key, first.key);
});

test('Election: campaign, proclaim, observe, resign', async () => {
  const election = service('v3electionpb.Election');
  const lease = service('etcdserverpb.Lease');
  const { ID } = await call(lease, 'LeaseGrant', { TTL: 20 });
  const name = Buffer.from('e');
  const { leader } = await call(election, 'Campaign', { name, lease: ID, value: Buffer.from('one') });
  const observed = (async () => {
    for await (const { kv } of election.Observe({ name }) as Duplex) if (kv.value.toString() === 'two') return;
    assert.fail('the stream ended before');
  })();
  assert.equal((await call(election, 'Leader', { name })).kv.value.toString(), 'one');
  await call(election, 'Proclaim', { leader, value: Buffer.from('two') });
  await observed;
  await call(election, 'Resign', { leader });
  await assert.rejects(call(election, 'Leader', { name }), refused(grpc.status.UNKNOWN, /no leader/));
});

test('Cluster, Maintenance and health', async () => {
  const { members } = await call(service('etcdserverpb.Cluster'), 'MemberList', {});
  assert.deepEqual(members[0].clientURLs, [member.endpoint]);
  const maintenance = service('etcdserverpb.Maintenance');
  assert.equal((await call(maintenance, 'Status', {})).leader, members[0].ID);
  const pieces: Buffer[] = [];
  for await (const { blob } of maintenance.Snapshot({}) as Duplex) pieces.push(blob);
  assert.ok(Buffer.concat(pieces).length > 16_384, 'a store and its checksum');
  assert.equal((await call(service('grpc.health.v1.Health'), 'Check', {})).status, 'SERVING');
});

test('Auth: a token in the metadata, and who may do what', async () => {
  await using locked = await startMember({ listen: '127.0.0.1:0' });
  const at = locked.endpoint.replace('http://', '');
  const auth = service('etcdserverpb.Auth', at);
  await call(auth, 'UserAdd', { name: 'root', password: 'rootpw' });
  await call(auth, 'RoleAdd', { name: 'root' });
  await call(auth, 'UserGrantRole', { user: 'root', role: 'root' });
  await call(auth, 'UserAdd', { name: 'alice', password: 'pw' });
  await call(auth, 'RoleAdd', { name: 'reader' });
  const perm = { permType: 'READ', key: Buffer.from('p/'), range_end: Buffer.from('p0') };
  await call(auth, 'RoleGrantPermission', { name: 'reader', perm });
  await call(auth, 'UserGrantRole', { user: 'alice', role: 'reader' });
  await call(auth, 'AuthEnable', {});
  const kv = service('etcdserverpb.KV', at);
  const { token } = await call(auth, 'Authenticate', { name: 'alice', password: 'pw' });
  const metadata = new grpc.Metadata();
  metadata.set('token', token);
  assert.equal((await call(kv, 'Range', { key: Buffer.from('p/a') }, metadata)).count, '0');
  await assert.rejects(
    call(kv, 'Put', { key: Buffer.from('p/a') }, metadata),
    refused(grpc.status.PERMISSION_DENIED, /^etcdserver: permission denied$/),
  );
  await assert.rejects(
    call(kv, 'Range', { key: Buffer.from('p/a') }),
    refused(grpc.status.INVALID_ARGUMENT, /^etcdserver: user name is empty$/),
  );
  await assert.rejects(
    call(auth, 'Authenticate', { name: 'alice', password: 'no' }),
    refused(grpc.status.INVALID_ARGUMENT, /^etcdserver: authentication failed, invalid user ID or password$/),
  );
});

test('a deadline of the caller ends a call that waits', async () => {
  const lock = service('v3lockpb.Lock');
  await call(lock, 'Lock', { name: Buffer.from('busy') });
  const waiting = new Promise((_resolve, reject) => {
    lock.Lock({ name: Buffer.from('busy') }, { deadline: Date.now() + 100 }, (error: Error | null) => reject(error));
  });
  await assert.rejects(waiting, refused(grpc.status.DEADLINE_EXCEEDED, /./));
});
