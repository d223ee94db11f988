import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger, type U64, U64_ZERO, u64FromHex, u64FromNumber, u64ToSignedDecimal } from '@etsd/base';
import {
  type EtcdError,
  HeaderTemplate,
  LeaseCheckpointRequest,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  RaftRequestField,
  RaftRequestView,
} from '@etsd/proto';
import { Lessor } from '@etsd/state';
import type { MemberContext } from '../context.ts';
import { LeaseExpiry } from '../duties/lease-expiry.ts';
import { makeLimits } from '../limits.ts';
import { Quota } from '../quota.ts';
import { NOBODY } from '../tokens.ts';
import { openAccess } from './access.fixture.ts';
import { LeaderGuard } from './leader-guard.ts';
import { registerLease } from './lease.ts';
import type { LeaseForwarder } from './lease-router.ts';
import { FakeCall, FakeReplication, FakeServer, FakeWorld } from './surroundings.fixture.ts';

const CLUSTER: U64 = '00000000000000c1';
const MEMBER: U64 = '00000000000000aa';
const OTHER: U64 = '00000000000000bb';

class Member {
  readonly world = new FakeWorld();
  readonly rpc = new FakeServer();
  readonly replication = new FakeReplication();
  readonly store = { revision: 5, begin: (): void => {}, deleteRange: () => 1, end: () => ++this.store.revision };
  readonly lessor: Lessor;
  readonly expiry: LeaseExpiry;
  backendBytes = 0;

  constructor(forwarder: LeaseForwarder | null = null) {
    const backend = { put: (): void => {}, delete: (): void => {}, scan: (): void => {} };
    this.lessor = new Lessor({ store: this.store, backend, ttlMinSeconds: 2 });
    const { world, rpc, replication, store, lessor } = this;
    this.expiry = new LeaseExpiry({
      world,
      replication,
      lessor,
      electionMs: 1000,
      revokesPerSecond: 1000,
      checkpointIntervalMs: 300_000,
      asRoot: () => NOBODY,
    });
    this.expiry.start();
    // What the service does not look at is left out.
    const context = {
      world,
      rpc,
      replication,
      store,
      logger: silentLogger,
      limits: makeLimits(),
      clusterId: CLUSTER,
      memberId: MEMBER,
      header: new HeaderTemplate(CLUSTER, MEMBER),
      access: openAccess(world),
      backend: { sizeBytes: () => this.backendBytes, inUseBytes: () => this.backendBytes, pendingBytes: 0 },
      state: { members: { isLearner: () => false }, alarms: { list: () => [] } },
      quarantine: { refusal: null, isAlarmed: false },
      tracer: null,
    } as unknown as MemberContext;
    const guard = new LeaderGuard({ world, replication, electionMs: 1000 });
    registerLease({ context, quota: new Quota(context), lessor, expiry: this.expiry, guard, forwarder });
  }

  /** Applies what was proposed. */
  apply(): void {
    const view = new RaftRequestView();
    for (const { data, waiter } of this.replication.proposals.splice(0)) {
      view.parse(data);
      const { bodyStart, bodyEnd } = view;
      if (view.field === RaftRequestField.LeaseGrant) {
        this.lessor.applyGrant(LeaseGrantRequest.decode(data, bodyStart, bodyEnd), waiter);
      } else if (view.field === RaftRequestField.LeaseRevoke) {
        this.lessor.applyRevoke(LeaseRevokeRequest.decode(data, bodyStart, bodyEnd), waiter);
      } else if (view.field === RaftRequestField.LeaseCheckpoint) {
        this.lessor.applyCheckpoint(LeaseCheckpointRequest.decode(data, bodyStart, bodyEnd), waiter);
      } else {
        assert.fail(`field ${view.field}`);
      }
    }
  }

  call(method: string): FakeCall {
    return new FakeCall(this.rpc.handler(`/etcdserverpb.Lease/${method}`));
  }

  unary(method: string, request: Buffer): Buffer | string {
    const call = this.call(method);
    call.receive(request);
    this.apply();
    this.world.endTurns();
    return call.status?.code === 0 ? (call.messages[0] as Buffer) : `${call.status?.code} ${call.status?.message}`;
  }

  grant(id: U64 | number, ttl: number): string {
    const ID = typeof id === 'number' ? u64FromNumber(id) : id;
    const answer = this.unary('LeaseGrant', LeaseGrantRequest.encode(LeaseGrantRequest.create({ ID, TTL: ttl })));
    if (typeof answer === 'string') return answer;
    const response = LeaseGrantResponse.decode(answer);
    assert.equal(response.header?.clusterId, CLUSTER);
    assert.equal(response.error, '');
    return `rev ${response.header?.revision} id ${u64ToSignedDecimal(response.ID)} ttl ${response.TTL}`;
  }

  revoke(id: number): string {
    const request = LeaseRevokeRequest.create({ ID: u64FromNumber(id) });
    const answer = this.unary('LeaseRevoke', LeaseRevokeRequest.encode(request));
    return typeof answer === 'string' ? answer : `rev ${LeaseRevokeResponse.decode(answer).header?.revision}`;
  }

  timeToLive(id: number, keys: boolean): string {
    const request = LeaseTimeToLiveRequest.create({ ID: u64FromNumber(id), keys });
    const answer = this.unary('LeaseTimeToLive', LeaseTimeToLiveRequest.encode(request));
    if (typeof answer === 'string') return answer;
    const response = LeaseTimeToLiveResponse.decode(answer);
    const names = response.keys.map((key) => key.toString()).join(',');
    return `rev ${response.header?.revision} id ${u64ToSignedDecimal(response.ID)} ttl ${response.TTL} of ${response.grantedTTL} [${names}]`;
  }
}

function keepAlive(call: FakeCall, id: number): void {
  call.receive(LeaseKeepAliveRequest.encode(LeaseKeepAliveRequest.create({ ID: u64FromNumber(id) })));
}

function read(call: FakeCall): string[] {
  return call.take().map((bytes) => {
    const { header, ID, TTL } = LeaseKeepAliveResponse.decode(bytes);
    assert.equal(header?.memberId, MEMBER);
    return `rev ${header?.revision} id ${u64ToSignedDecimal(ID)} ttl ${TTL}`;
  });
}

describe('Lease service', () => {
  it('grants, revokes and tells as etcd does', () => {
    // The answers are those of etcd 3.5.30 to the same requests.
    const member = new Member();
    member.expiry.promote();
    assert.equal(member.grant(7, 1), 'rev 5 id 7 ttl 2');
    assert.equal(member.grant(7, 100), '9 etcdserver: lease already exists');
    assert.equal(member.grant(8, -5), 'rev 5 id 8 ttl 2');
    assert.equal(member.grant(u64FromHex('fffffffffffffff7') as U64, 30), 'rev 5 id -9 ttl 30');
    assert.equal(member.grant(9, 9_000_000_001), '11 etcdserver: too large lease TTL');
    assert.equal(member.grant(10, 9_000_000_000), 'rev 5 id 10 ttl 9000000000');
    member.lessor.attach('k1', u64FromNumber(10));
    member.lessor.attach('k0', u64FromNumber(10));
    member.world.advance(10);
    assert.equal(member.timeToLive(10, true), 'rev 5 id 10 ttl 8999999999 of 9000000000 [k0,k1]');
    assert.equal(member.timeToLive(10, false), 'rev 5 id 10 ttl 8999999999 of 9000000000 []');
    assert.equal(member.timeToLive(99, true), 'rev 5 id 99 ttl -1 of 0 []');
    assert.equal(member.revoke(99), '5 etcdserver: requested lease not found');
    assert.equal(member.revoke(0), '5 etcdserver: requested lease not found');
    assert.equal(member.revoke(10), 'rev 6');
    assert.equal(member.revoke(8), 'rev 6');
  });

  it('chooses a positive id where none is given', () => {
    const member = new Member();
    member.replication.nextRequestId = () => ({ high: 0xffff_ffff, low: 5 });
    assert.equal(member.grant(U64_ZERO, 10), 'rev 5 id 9223372032559808517 ttl 10');
  });

  it('lists leases by the time they have left, in slices where there are many', () => {
    const member = new Member();
    member.expiry.promote();
    const count = 20_000;
    for (let id = 1; id <= count; id++) {
      member.lessor.applyGrant(
        LeaseGrantRequest.create({ ID: u64FromNumber(id), TTL: 10 + ((id * 7919) % count) }),
        null,
      );
    }
    const call = member.call('LeaseLeases');
    call.receive(LeaseLeasesRequest.encode(LeaseLeasesRequest.create({})));
    assert.equal(call.isOpen, true, 'not in one go');
    member.world.endTurns();
    assert.equal(call.status?.code, 0);
    const response = LeaseLeasesResponse.decode(call.messages[0] as Buffer);
    assert.equal(response.header?.revision, 5);
    const ttls = response.leases.map(({ ID }) => member.lessor.get(ID)?.ttl as number);
    assert.equal(ttls.length, count);
    for (let place = 1; place < count; place++) assert.ok((ttls[place - 1] as number) <= (ttls[place] as number));
  });

  it('lists few leases at once, and none too', () => {
    const member = new Member();
    const list = (): U64[] => {
      const call = member.call('LeaseLeases');
      call.receive(Buffer.alloc(0));
      assert.equal(call.status?.code, 0);
      return LeaseLeasesResponse.decode(call.messages[0] as Buffer).leases.map(({ ID }) => ID);
    };
    assert.deepEqual(list(), []);
    member.grant(2, 30);
    member.grant(3, 20);
    assert.deepEqual(list(), [u64FromNumber(3), u64FromNumber(2)]);
  });

  it('answers renewals in order, an unknown lease with 0, and ends when the client has finished', () => {
    const member = new Member();
    member.expiry.promote();
    member.grant(7, 10);
    const call = member.call('LeaseKeepAlive');
    keepAlive(call, 99);
    keepAlive(call, 7);
    keepAlive(call, 0);
    call.halfClose();
    assert.equal(call.isOpen, true);
    member.world.endTurns();
    assert.deepEqual(read(call), ['rev 5 id 99 ttl 0', 'rev 5 id 7 ttl 10', 'rev 5 id 0 ttl 0']);
    assert.deepEqual(call.status, { code: 0, message: '' });
  });

  it('holds later answers back while a renewal waits for a revoke', () => {
    const member = new Member();
    member.expiry.promote();
    member.grant(7, 2);
    member.grant(8, 100);
    member.world.advance(3000);
    const call = member.call('LeaseKeepAlive');
    keepAlive(call, 7);
    keepAlive(call, 8);
    member.world.endTurns();
    assert.deepEqual(read(call), []);
    member.apply();
    assert.deepEqual(read(call), ['rev 5 id 7 ttl 0', 'rev 5 id 8 ttl 100']);
  });

  it('asks the leader where this member is not it, and again while there is none', () => {
    const asked: U64[] = [];
    const forwarder: LeaseForwarder = {
      renew: (leader, id, done) => {
        asked.push(leader);
        if (asked.length < 3) done(new Error('connection refused'), 0);
        else done(null, id === u64FromNumber(7) ? 10 : 0);
      },
      timeToLive: (_leader, request, done) => {
        const { ID } = request;
        done(null, ID === u64FromNumber(7) ? LeaseTimeToLiveResponse.create({ ID, TTL: 9, grantedTTL: 10 }) : null);
      },
    };
    const member = new Member(forwarder);
    member.replication.leader = U64_ZERO;
    const call = member.call('LeaseKeepAlive');
    keepAlive(call, 7);
    member.world.advance(2000);
    assert.deepEqual(asked, []);
    member.replication.leader = OTHER;
    member.world.advance(200);
    assert.deepEqual(read(call), ['rev 5 id 7 ttl 10']);
    assert.deepEqual(asked, [OTHER, OTHER, OTHER]);
    assert.equal(member.timeToLive(7, false), 'rev 5 id 7 ttl 9 of 10 []');
    assert.equal(member.timeToLive(8, false), 'rev 5 id 8 ttl -1 of 0 []');
  });

  it('renews here once this member leads, and gives up after the time of a request', () => {
    const member = new Member();
    member.replication.leader = U64_ZERO;
    const call = member.call('LeaseKeepAlive');
    const other = member.call('LeaseKeepAlive');
    keepAlive(call, 7);
    member.world.advance(6000);
    member.replication.leader = MEMBER;
    member.expiry.promote();
    member.world.advance(100);
    assert.deepEqual(read(call), ['rev 5 id 7 ttl 0']);
    member.expiry.demote();
    member.replication.leader = OTHER;
    keepAlive(other, 7);
    member.world.advance(8000);
    assert.deepEqual(other.status, { code: 14, message: 'etcdserver: request timed out' });
    member.replication.leader = U64_ZERO;
    keepAlive(call, 7);
    member.world.advance(8000);
    assert.deepEqual(call.status, { code: 14, message: 'etcdserver: no leader' });
    assert.equal(member.world.timerCount, 1, 'only the tick is left');
  });

  it('tells an error of the cluster to the stream', () => {
    const member = new Member();
    member.expiry.promote();
    const error = { code: 14, message: 'etcdserver: request timed out' } as EtcdError;
    member.replication.readBarrier = (waiter) => waiter.fail(error);
    const call = member.call('LeaseKeepAlive');
    keepAlive(call, 7);
    keepAlive(call, 8);
    member.world.endTurns();
    assert.deepEqual(call.status, { code: 14, message: 'etcdserver: request timed out' });
  });

  it('refuses a grant that does not fit the quota', () => {
    const member = new Member();
    member.backendBytes = 3 * 1024 ** 3;
    const call = member.call('LeaseGrant');
    call.receive(LeaseGrantRequest.encode(LeaseGrantRequest.create({ TTL: 10 })));
    const view = new RaftRequestView();
    view.parse(member.replication.proposals[0]?.data as Buffer);
    assert.equal(view.field, RaftRequestField.Alarm);
  });
});
