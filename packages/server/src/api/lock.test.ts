/**
 * Goal: one place at a time is the first, whoever leaves makes room, and who hangs up leaves. Method: the services over
 * the real store and state, with a log that applies at once. How etcd answers is compared in tests/concurrency.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import {
  CampaignRequest,
  CampaignResponse,
  GrpcCode,
  LeaderRequest,
  LeaderResponse,
  LeaseGrantRequest,
  LockRequest,
  LockResponse,
  RaftRequestField,
  ResignRequest,
  UnlockRequest,
} from '@etsd/proto';
import { NOBODY } from '../tokens.ts';
import { registerElection } from './election.ts';
import { proposeRequest } from './guards.ts';
import { KeyQueue } from './key-queue.ts';
import { LeaderGuard } from './leader-guard.ts';
import { registerLock } from './lock.ts';
import { TestMember } from './member.fixture.ts';
import type { FakeCall } from './surroundings.fixture.ts';
import { registerWatch } from './watch.ts';

const LOCK = '/v3lockpb.Lock/Lock';
const UNLOCK = '/v3lockpb.Lock/Unlock';
const ELECTION = '/v3electionpb.Election/';
const name = Buffer.from('n');

class Services extends TestMember {
  constructor() {
    super();
    const { context, log, store, world } = this;
    const watch = registerWatch({
      world,
      rpc: this.server,
      replication: log,
      header: context.header,
      store,
      maxRequestBytes: 1_500_000,
      progressIntervalMs: 600_000,
      guard: new LeaderGuard({ world, replication: log, electionMs: 1000 }),
      refusal: () => null,
      access: null,
    });
    store.listener = watch.hub;
    const queue = new KeyQueue(context, this.quota, watch);
    registerLock(context, queue);
    registerElection(context, queue);
    for (const id of [1, 2, 3]) {
      const grant = LeaseGrantRequest.encode(LeaseGrantRequest.create({ ID: u64FromNumber(id), TTL: 60 }));
      const waiter = { done() {}, fail: assert.ifError };
      proposeRequest(context, RaftRequestField.LeaseGrant, grant, 0, grant.length, waiter, NOBODY);
    }
  }

  /** Lets everything happen that can. */
  async settle(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      this.world.endTurns();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async lock(lease: number): Promise<FakeCall> {
    const call = this.call(LOCK, LockRequest.encode(LockRequest.create({ name, lease: u64FromNumber(lease) })));
    await this.settle();
    return call;
  }

  async unlock(key: string): Promise<void> {
    this.call(UNLOCK, UnlockRequest.encode(UnlockRequest.create({ key: Buffer.from(key) })));
    await this.settle();
  }

  async campaign(lease: number, value: string): Promise<FakeCall> {
    const request = { name, lease: u64FromNumber(lease), value: Buffer.from(value) };
    const call = this.call(`${ELECTION}Campaign`, CampaignRequest.encode(CampaignRequest.create(request)));
    await this.settle();
    return call;
  }

  keys(): number {
    return this.store.count('n/', 'n0', 0);
  }
}

test('a lock goes from owner to owner in the order of asking', async () => {
  const services = new Services();
  const first = await services.lock(1);
  const second = await services.lock(2);
  const third = await services.lock(3);
  assert.equal(LockResponse.decode(first.messages[0] as Buffer).key.toString(), 'n/1');
  const states = (): (number | undefined)[] => [first, second, third].map((call) => call.status?.code);
  assert.deepEqual(states(), [GrpcCode.OK, undefined, undefined]);
  await services.unlock('n/1');
  assert.deepEqual(states(), [GrpcCode.OK, GrpcCode.OK, undefined]);
  await services.unlock('n/2');
  assert.deepEqual(states(), [GrpcCode.OK, GrpcCode.OK, GrpcCode.OK]);
});

test('who hangs up while waiting leaves the queue', async () => {
  const services = new Services();
  await services.lock(1);
  const second = await services.lock(2);
  const third = await services.lock(3);
  second.hangUp();
  await services.settle();
  assert.equal(services.keys(), 2);
  await services.unlock('n/1');
  assert.equal(third.status?.code, GrpcCode.OK);
});

test('a place that is lost while waiting is an error, not a lock', async () => {
  const services = new Services();
  await services.lock(1);
  const second = await services.lock(2);
  await services.unlock('n/2');
  await services.unlock('n/1');
  assert.deepEqual(second.status, { code: GrpcCode.Unknown, message: 'mutex: session is expired' });
  assert.equal(services.keys(), 0);
});

test('a candidate that is lost while waiting does not lead', async () => {
  const services = new Services();
  const first = await services.campaign(1, 'one');
  const second = await services.campaign(2, 'two');
  await services.unlock('n/2');
  const { leader } = CampaignResponse.decode(first.messages[0] as Buffer);
  services.call(`${ELECTION}Resign`, ResignRequest.encode(ResignRequest.create({ leader })));
  await services.settle();
  assert.deepEqual(second.status, { code: GrpcCode.Unknown, message: 'election: not leader' });
  assert.equal(services.keys(), 0);
});

test('an observer is told of every leader', async () => {
  const services = new Services();
  const request = LeaderRequest.encode(LeaderRequest.create({ name }));
  const observer = services.call(`${ELECTION}Observe`, request);
  await services.settle();
  const first = await services.campaign(1, 'one');
  const second = await services.campaign(2, 'two');
  const { leader } = CampaignResponse.decode(first.messages[0] as Buffer);
  services.call(`${ELECTION}Resign`, ResignRequest.encode(ResignRequest.create({ leader })));
  await services.settle();
  assert.equal(second.status?.code, GrpcCode.OK);
  const told = observer.messages.map((message) => LeaderResponse.decode(message).kv?.value.toString());
  assert.deepEqual(told, ['one', 'two']);
  observer.hangUp();
  await services.settle();
  await services.campaign(2, 'three');
  assert.equal(observer.messages.length, 2);
});
