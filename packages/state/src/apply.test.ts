import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, U64_ZERO, u64FromHex, u64FromNumber } from '@etsd/base';
import {
  AlarmAction,
  AlarmRequest,
  AlarmType,
  Attributes,
  ClusterMemberAttrSetRequest,
  ClusterVersionSetRequest,
  CompactionRequest,
  ConfState,
  DeleteRangeRequest,
  DowngradeInfoSetRequest,
  ErrCompacted,
  ErrCorrupt,
  ErrFutureRev,
  ErrKeyNotFound,
  ErrLeaseNotFound,
  ErrMemberExist,
  ErrMemberNotFound,
  ErrNoSpace,
  ErrPeerURLExist,
  ErrRootUserNotExist,
  ErrTooManyLearners,
  type EtcdError,
  KeyValue,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  PutRequest,
  RaftRequestField,
  RequestOp,
  TxnRequest,
  V2Request,
  writeRaftRequest,
} from '@etsd/proto';
import { State } from './apply.ts';
import { addMemberChange, promoteMemberChange, removeMemberChange, updateMemberChange } from './conf-change.ts';
import { digest } from './digest.ts';
import { MemberRecord } from './members.ts';
import type { AlarmResult, DeleteResult, MembersResult, PutResult } from './results.ts';
import { V2Failure } from './v2/event.ts';
import { Bench, Probe } from './world.fixture.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');
const put = (bench: Bench, request: Partial<PutRequest>) =>
  bench.apply(RaftRequestField.Put, PutRequest.encode(PutRequest.create(request)));
const remove = (bench: Bench, request: Partial<DeleteRangeRequest>) =>
  bench.apply(RaftRequestField.DeleteRange, DeleteRangeRequest.encode(DeleteRangeRequest.create(request)));
const alarm = (bench: Bench, request: Partial<AlarmRequest>) =>
  bench.apply(RaftRequestField.Alarm, AlarmRequest.encode(AlarmRequest.create(request)));
const grant = (bench: Bench, id: number) =>
  bench.apply(
    RaftRequestField.LeaseGrant,
    LeaseGrantRequest.encode(LeaseGrantRequest.create({ ID: u64FromNumber(id), TTL: 9 })),
  );

function stored(bench: Bench, key: string): KeyValue | null {
  if (!bench.store.lookup(key, 0)) return null;
  return KeyValue.decode(bench.store.record(bench.store.found.mainRevision, bench.store.found.subRevision));
}

// Goal: every rule of a put, in the order in which etcd 3.5.30 checks them (each row was seen on the real binary).
test('puts: what is refused, kept and replaced', () => {
  const bench = new Bench();
  grant(bench, 5);
  const lease = u64FromNumber(5);
  const rows: [name: string, request: Partial<PutRequest>, error: EtcdError | null][] = [
    ['plain', { key: bytes('a'), value: bytes('1') }, null],
    ['keep the value of nothing', { key: bytes('zz'), ignoreValue: true }, ErrKeyNotFound],
    ['keep the lease of nothing', { key: bytes('zz'), ignoreLease: true }, ErrKeyNotFound],
    ['the lease is checked first', { key: bytes('zz'), ignoreValue: true, lease: u64FromNumber(9) }, ErrLeaseNotFound],
    ['unknown lease', { key: bytes('zz'), lease: u64FromNumber(9) }, ErrLeaseNotFound],
    ['known lease', { key: bytes('a'), value: bytes('2'), lease }, null],
    ['keep value, drop lease', { key: bytes('a'), ignoreValue: true }, null],
    ['back on the lease', { key: bytes('a'), value: bytes('3'), lease }, null],
    ['keep lease, new value', { key: bytes('a'), value: bytes('4'), ignoreLease: true }, null],
  ];
  const after = ['1', undefined, undefined, undefined, undefined, '2', '2', '3', '4'];
  for (const [at, [name, request, error]] of rows.entries()) {
    const before = bench.store.revision;
    const probe = put(bench, request);
    assert.equal(probe.error, error, name);
    assert.equal(probe.answers, 1, name);
    assert.equal(bench.store.revision, error === null ? before + 1 : before, name);
    if (error === null) assert.equal(stored(bench, 'a')?.value.toString(), after[at], name);
  }
  assert.equal(stored(bench, 'a')?.lease, lease);
  assert.equal(bench.lessor.leaseOf('a'), lease);
});

// Goal: the replaced record is given only where asked for, and is a copy that later writes do not touch.
test('puts: the record before', () => {
  const bench = new Bench();
  const first = put(bench, { key: bytes('a'), value: bytes('1'), prevKv: true }).result as PutResult;
  assert.equal(first.previous, null);
  assert.equal(first.revision, 2);
  const second = put(bench, { key: bytes('a'), value: bytes('2'), prevKv: true }).result as PutResult;
  assert.equal(KeyValue.decode(second.previous as Buffer).value.toString(), '1');
  const third = put(bench, { key: bytes('a'), value: bytes('3') }).result as PutResult;
  assert.equal(third.previous, null);
});

// Goal: a key hangs on the lease of its last put and on none after its deletion, however it is deleted.
test('leases follow puts and deletions', () => {
  const bench = new Bench();
  grant(bench, 1);
  grant(bench, 2);
  const on = (key: string, lease: number) => put(bench, { key: bytes(key), lease: u64FromNumber(lease) });
  on('a', 1);
  on('b', 1);
  on('c', 2);
  on('c', 1);
  assert.deepEqual([...bench.lessor.attached.keys()], ['a', 'b', 'c']);
  assert.equal(bench.lessor.leaseOf('c'), u64FromNumber(1));
  put(bench, { key: bytes('a') });
  assert.equal(bench.lessor.leaseOf('a'), U64_ZERO);
  remove(bench, { key: bytes('b') });
  assert.equal(bench.lessor.leaseOf('b'), U64_ZERO);
  on('d', 2);
  remove(bench, { key: bytes('c'), rangeEnd: bytes('\0') });
  assert.equal(bench.lessor.attachedCount, 0);
});

// Goal: deletions count, show what they deleted, and make no revision where there is nothing.
test('deletions', () => {
  const bench = new Bench();
  for (const key of ['a', 'b', 'c']) put(bench, { key: bytes(key), value: bytes(key) });
  const none = remove(bench, { key: bytes('x'), prevKv: true }).result as DeleteResult;
  assert.deepEqual([none.deleted, none.revision, none.previous.length], [0, 4, 0]);
  const two = remove(bench, { key: bytes('a'), rangeEnd: bytes('c'), prevKv: true }).result as DeleteResult;
  assert.deepEqual([two.deleted, two.revision], [2, 5]);
  assert.deepEqual(
    two.previous.map((record) => KeyValue.decode(record).key.toString()),
    ['a', 'b'],
  );
  const silent = remove(bench, { key: bytes('c') }).result as DeleteResult;
  assert.deepEqual([silent.deleted, silent.previous.length], [1, 0]);
});

test('compactions answer the current revision or why not', () => {
  const bench = new Bench();
  put(bench, { key: bytes('a') });
  const compact = (revision: number) =>
    bench.apply(RaftRequestField.Compaction, CompactionRequest.encode(CompactionRequest.create({ revision })));
  assert.equal(compact(3).error, ErrFutureRev);
  assert.deepEqual({ ...(compact(1).result as object) }, { revision: 2, compactRevision: 1 });
  assert.equal(compact(1).error, ErrCompacted);
});

// Goal: with the alarm for space nothing is added, while whatever frees space still works; the same after a restart.
test('the alarm for space refuses what adds data', () => {
  const bench = new Bench();
  put(bench, { key: bytes('a') });
  const member = u64FromNumber(5);
  const raised = alarm(bench, { action: AlarmAction.ACTIVATE, memberID: member, alarm: AlarmType.NOSPACE });
  assert.deepEqual((raised.result as AlarmResult).alarms.length, 1);
  assert.equal(put(bench, { key: bytes('b') }).error, ErrNoSpace);
  assert.equal(put(bench, { key: bytes('b'), lease: member }).error, ErrNoSpace, 'before the lease is looked for');
  assert.equal(grant(bench, 1).error, ErrNoSpace);
  const txn = (request: Partial<TxnRequest>) =>
    bench.apply(RaftRequestField.Txn, TxnRequest.encode(TxnRequest.create(request)));
  const op = RequestOp.create({ requestPut: PutRequest.create({ key: bytes('b') }) });
  assert.equal(txn({ failure: [op] }).error, ErrNoSpace, 'though that branch does not run');
  assert.equal(txn({}).error, null);
  assert.equal(remove(bench, { key: bytes('a') }).error, null);
  const again = new State({ backend: bench.backend, store: bench.store, lessor: bench.lessor });
  assert.equal(again.alarms.noSpace, true);
  alarm(bench, { action: AlarmAction.DEACTIVATE, memberID: member, alarm: AlarmType.NOSPACE });
  assert.equal(put(bench, { key: bytes('b') }).error, null);
  assert.equal(bench.backend.buckets.get('alarm')?.size, 0);
});

test('the alarm for corruption refuses every write', () => {
  const bench = new Bench();
  alarm(bench, { action: AlarmAction.ACTIVATE, memberID: u64FromNumber(1), alarm: AlarmType.CORRUPT });
  assert.equal(put(bench, { key: bytes('b') }).error, ErrCorrupt);
  assert.equal(remove(bench, { key: bytes('b') }).error, ErrCorrupt);
  assert.equal(bench.apply(RaftRequestField.Txn, Buffer.alloc(0)).error, ErrCorrupt);
  assert.equal(bench.apply(RaftRequestField.Compaction, Buffer.alloc(0)).error, ErrCorrupt);
  const revoke = LeaseRevokeRequest.encode(LeaseRevokeRequest.create({ ID: u64FromNumber(1) }));
  assert.equal(bench.apply(RaftRequestField.LeaseRevoke, revoke).error, ErrCorrupt);
  assert.equal(bench.state.txn.read(new TxnRequest()) instanceof Error, false, 'reads go on, as in etcd 3.5');
});

// Goal: alarms as seen on 3.5.30; a type that is none must not stop the member, as it does etcd's.
test('alarms: raised once, cleared once, listed by type', () => {
  const bench = new Bench();
  const of = (probe: Probe) =>
    (probe.result as AlarmResult).alarms.map(({ memberID, alarm: type }) => `${Number(`0x${memberID}`)}:${type}`);
  const [one, two] = [u64FromNumber(1), u64FromNumber(2)];
  const { ACTIVATE, DEACTIVATE, GET } = AlarmAction;
  assert.deepEqual(of(alarm(bench, {})), []);
  assert.deepEqual(of(alarm(bench, { action: ACTIVATE, memberID: two })), [], 'the type NONE');
  assert.deepEqual(of(alarm(bench, { action: ACTIVATE, memberID: two, alarm: 9 })), [], 'no such type');
  assert.deepEqual(of(alarm(bench, { action: ACTIVATE, memberID: two, alarm: 1 })), ['2:1']);
  assert.deepEqual(of(alarm(bench, { action: ACTIVATE, memberID: two, alarm: 1 })), ['2:1']);
  assert.deepEqual(of(alarm(bench, { action: ACTIVATE, memberID: one, alarm: 1 })), ['1:1']);
  assert.deepEqual(of(alarm(bench, { action: GET })), ['1:1', '2:1']);
  assert.deepEqual(of(alarm(bench, { action: GET, alarm: 2 })), []);
  assert.deepEqual(of(alarm(bench, { action: DEACTIVATE, memberID: two, alarm: 1 })), ['2:1']);
  assert.deepEqual(of(alarm(bench, { action: DEACTIVATE, memberID: two, alarm: 1 })), []);
  assert.equal(bench.state.alarms.noSpace, true, 'one member still lacks space');
  assert.notEqual(alarm(bench, { action: 7 }).error, null);
});

// Goal: cluster version, downgrade and attributes land in the backend in etcd's bytes, in both forms of the log.
test('cluster version, downgrade and member attributes', () => {
  const bench = new Bench();
  const id = u64FromHex('f7875276d5273a18') as string;
  const member = new MemberRecord(id, ['http://127.0.0.1:23801']);
  const conf = ConfState.create({ voters: [id] });
  bench.state.applyConfChange(++bench.index, 1, addMemberChange(member), () => conf, null);
  bench.apply(
    RaftRequestField.ClusterVersionSet,
    ClusterVersionSetRequest.encode(ClusterVersionSetRequest.create({ ver: '3.5.0' })),
  );
  assert.equal(bench.backend.text('cluster', 'clusterVersion'), '3.5.0');
  bench.apply(
    RaftRequestField.DowngradeInfoSet,
    DowngradeInfoSetRequest.encode(DowngradeInfoSetRequest.create({ enabled: true, ver: '3.4.0' })),
  );
  assert.equal(bench.backend.text('cluster', 'downgrade'), '{"target-version":"3.4.0","enabled":true}');
  const attributes = Attributes.create({ name: 'infra1', clientUrls: ['http://127.0.0.1:23791'] });
  const request = ClusterMemberAttrSetRequest.create({ memberID: id, memberAttributes: attributes });
  bench.apply(RaftRequestField.ClusterMemberAttrSet, ClusterMemberAttrSetRequest.encode(request));
  const json =
    '{"id":17836315519559875096,"peerURLs":["http://127.0.0.1:23801"],"name":"infra1","clientURLs":["http://127.0.0.1:23791"]}';
  assert.equal(bench.backend.text('members', 'f7875276d5273a18'), json);
  const v2 = (path: string, val: string) => {
    const data = V2Request.encode(V2Request.create({ ID: u64FromNumber(3), method: 'PUT', path, val }));
    bench.state.apply(++bench.index, 1, data, null);
  };
  v2('/0/members/f7875276d5273a18/attributes', '{"name":"a<b","clientURLs":["http://h:1"]}');
  assert.match(bench.backend.text('members', 'f7875276d5273a18') ?? '', /"name":"a\\u003cb"/);
  v2('/0/version', '3.6.0');
  v2('/1/some/key', 'kept beside');
  assert.equal(bench.state.version.version, '3.6.0');
  const again = new State({ backend: bench.backend, store: bench.store, lessor: bench.lessor });
  assert.deepEqual(again.members.list(), bench.state.members.list());
  assert.equal(again.version.downgradeTarget, '3.4.0');
  const kept = again.v2.get('/some/key');
  assert.ok(!(kept instanceof V2Failure) && kept.value === 'kept beside');
  // A member that came, said its name twice, two versions, and the key.
  assert.equal(again.v2.index, 6);
});

// Goal: membership changes are checked when applied, a refused one reaches raft as a change of nobody, and an id that
// was removed never comes back.
test('membership changes', () => {
  const bench = new Bench();
  const toRaft: (string | null)[] = [];
  const conf = new ConfState();
  const apply = (change: ReturnType<typeof removeMemberChange>): Probe => {
    const probe = new Probe();
    const raft = (given: typeof change | null) => {
      toRaft.push(given?.nodeId ?? null);
      return conf;
    };
    bench.state.applyConfChange(++bench.index, 1, change, raft, probe);
    return probe;
  };
  const id = (n: number) => u64FromNumber(n);
  const member = (n: number, url = `http://h:${n}`, learner = false) => new MemberRecord(id(n), [url], learner);
  assert.equal(apply(addMemberChange(member(1))).error, null);
  assert.equal(apply(addMemberChange(member(1))).error, ErrMemberExist);
  assert.equal(apply(addMemberChange(member(2, 'http://h:1'))).error, ErrPeerURLExist);
  const added = apply(addMemberChange(member(2, 'http://h:2', true)));
  assert.deepEqual(
    (added.result as MembersResult).members.map((each) => each.isLearner),
    [false, true],
  );
  assert.equal(apply(addMemberChange(member(3, 'http://h:3', true))).error, ErrTooManyLearners);
  assert.equal(apply(updateMemberChange(member(2, 'http://h:1'))).error, ErrPeerURLExist);
  assert.equal(apply(updateMemberChange(member(2, 'http://h:9'))).error, null);
  assert.equal(bench.state.members.get(id(2))?.isLearner, true, 'other URLs do not make a learner vote');
  assert.equal(apply(promoteMemberChange(member(2))).error, null);
  assert.equal(bench.state.members.get(id(2))?.isLearner, false);
  assert.notEqual(apply(promoteMemberChange(member(2))).error, null);
  assert.equal(apply(removeMemberChange(id(2))).error, null);
  assert.equal(apply(removeMemberChange(id(2))).error, ErrMemberNotFound);
  assert.equal(apply(addMemberChange(member(2))).error, ErrMemberNotFound);
  assert.equal(bench.backend.text('members_removed', '2'), 'removed');
  assert.deepEqual(
    toRaft.map((given) => given === null),
    [false, true, true, false, true, true, false, false, true, false, true, true],
  );
});

// Goal: the index stands in the same batch as what it covers, and what is applied is not applied again after a restart.
test('entries up to the stored index are passed over', () => {
  const bench = new Bench();
  put(bench, { key: bytes('a') });
  bench.backend.commit();
  assert.equal(bench.backend.buckets.get('meta')?.get('consistent_index')?.toString('hex'), '0000000000000001');
  assert.equal(bench.backend.buckets.get('meta')?.get('term')?.toString('hex'), '0000000000000001');
  const again = new State({ backend: bench.backend, store: bench.store, lessor: bench.lessor });
  assert.equal(again.appliedIndex, 1);
  again.apply(1, 1, bench.log[0] as Buffer, null);
  assert.equal(bench.store.revision, 2);
  again.applyEmpty(2, 2);
  assert.equal(again.appliedTerm, 2);
  assert.throws(() => again.apply(9, 2, bench.log[0] as Buffer, null), /in order/);
});

test('authentication needs the user root, and leaves nothing behind where it is refused', () => {
  const bench = new Bench();
  const before = digest(bench.backend);
  assert.equal(bench.apply(RaftRequestField.AuthEnable, Buffer.alloc(0)).error, ErrRootUserNotExist);
  assert.equal(digest(bench.backend), before);
});

test('an entry of an unknown kind stops the member', () => {
  const bench = new Bench();
  const data = writeRaftRequest(777, Buffer.alloc(0), 0, 0, 1, 1, '', 0);
  assert.throws(() => bench.state.apply(1, 1, data, null), /log entry 1 .* does not know/);
});

// Goal: applying knows nothing but the log. Method: one random log twice, one time with waiters and one without, with
// commits at other moments; the digests must be equal, and differ from that of a log with one byte changed.
test('the same log gives the same digest', () => {
  const random = new Prng(7);
  const log: [number, Buffer][] = [];
  for (let round = 0; round < 500; round++) log.push(randomRequest(random));
  const run = (waited: boolean, commitEvery: number, requests: [number, Buffer][]) => {
    const bench = new Bench();
    for (const [at, [field, body]] of requests.entries()) {
      bench.apply(field, body, waited);
      if (at % commitEvery === 0) bench.backend.commit();
    }
    return { digest: digest(bench.backend), store: bench.store.keys, attached: bench.lessor.attached };
  };
  const first = run(true, 3, log);
  const second = run(false, 50, log);
  assert.deepEqual(second, first);
  const changed = log.slice(0, -1);
  changed.push([
    RaftRequestField.ClusterVersionSet,
    ClusterVersionSetRequest.encode(ClusterVersionSetRequest.create({ ver: '9' })),
  ]);
  assert.notEqual(run(true, 3, changed).digest, first.digest);
});

function randomRequest(random: Prng): [number, Buffer] {
  const key = bytes(random.pick(['a', 'b', 'c', 'd']));
  const lease = random.pick([U64_ZERO, U64_ZERO, u64FromNumber(1), u64FromNumber(2)]);
  switch (random.below(6)) {
    case 0:
      return [
        RaftRequestField.DeleteRange,
        DeleteRangeRequest.encode(DeleteRangeRequest.create({ key, rangeEnd: bytes('c') })),
      ];
    case 1:
      return [RaftRequestField.LeaseGrant, LeaseGrantRequest.encode(LeaseGrantRequest.create({ ID: lease, TTL: 5 }))];
    case 2: {
      const action = random.below(3);
      const request = AlarmRequest.create({ action, memberID: u64FromNumber(random.below(3)), alarm: random.below(2) });
      return [RaftRequestField.Alarm, AlarmRequest.encode(request)];
    }
    case 3: {
      const put = PutRequest.create({ key, value: random.bytes(3), prevKv: true });
      const op = RequestOp.create({ requestPut: put });
      return [RaftRequestField.Txn, TxnRequest.encode(TxnRequest.create({ success: [op] }))];
    }
    default:
      return [RaftRequestField.Put, PutRequest.encode(PutRequest.create({ key, value: random.bytes(4), lease }))];
  }
}
