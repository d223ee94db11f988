/** What the members that run already tell one that begins: that it must not, or which id it has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterIdOf, foundingMemberId } from '@etsd/replication';
import { MemberRecord } from '@etsd/state';
import { findBeginning } from './begin.ts';
import { Neighbourhood } from './neighbours.fixture.ts';
import { checkNoTwin } from './twin.ts';

const PLAN = { name: 'a', 'initial-advertise-peer-urls': 'http://a:1', 'initial-cluster': 'a=http://a:1,b=http://b:1' };
const ID_A = foundingMemberId(['http://a:1'], 'etcd-cluster');
const ID_B = foundingMemberId(['http://b:1'], 'etcd-cluster');
const CLUSTER = clusterIdOf([ID_A, ID_B]);
const B = new MemberRecord(ID_B, ['http://b:1'], false, 'b', ['http://b:2']);
const started = new MemberRecord(ID_A, ['http://a:1'], false, 'a', ['http://a:2']);
const unstarted = new MemberRecord(ID_A, ['http://a:1']);

async function begin(members: MemberRecord[], flags: Record<string, string> = {}, version = '3.5.0', id = CLUSTER) {
  const around = new Neighbourhood();
  await around.member('b', 1, id, members, version);
  return await around.outcome(findBeginning(around.parts({ ...PLAN, ...flags })));
}

test('a founding goes on beside others that have begun', async () => {
  assert.equal((await begin([B, unstarted])).kind, 'found');
});

test('who took part already does not found again', async () => {
  await assert.rejects(begin([B, started]), { message: `member ${ID_A} has already been bootstrapped` });
});

// Goal: a wrong token, or a stranger at a peer URL, is said at once instead of a cluster that never gets a leader.
test('peers of another cluster are refused', async () => {
  await assert.rejects(begin([B, unstarted], { 'initial-cluster-token': 'other' }), {
    message: new RegExp(
      `^cluster ID mismatch: http://b:1 belongs to cluster ${CLUSTER}, the flags of this member make`,
    ),
  });
});

// Goal: one member with a wrong token, which founds nothing without the others, does not keep them from founding.
test('somebody who tries to found another cluster is passed over', async () => {
  const trying = new MemberRecord(ID_B, ['http://b:1']);
  assert.equal((await begin([trying, unstarted], { 'initial-cluster-token': 'other' })).kind, 'found');
});

const EXISTING = { 'initial-cluster-state': 'existing' };

test('a member that joins gets its id from the others, by its URLs', async () => {
  const added = new MemberRecord('00000000000000ad', ['http://a:1'], true);
  assert.deepEqual(await begin([B, added], EXISTING), {
    kind: 'join',
    memberId: '00000000000000ad',
    clusterId: CLUSTER,
    members: [B, added],
  });
});

const JOIN_ROWS: [name: string, members: MemberRecord[], version: string, message: RegExp][] = [
  ['not added yet', [B], '3.5.0', /^error validating peerURLs \{ClusterID:.*\}: member count is unequal$/],
  [
    'added with another URL',
    [B, new MemberRecord('00000000000000ad', ['http://x:1'])],
    '3.5.0',
    /: PeerURLs: no match found for existing member \(ad, \[http:\/\/x:1\]\), last resolver error \(/,
  ],
  ['its data is lost', [B, started], '3.5.0', /^member .* has already been bootstrapped$/],
  ['a newer cluster', [B, unstarted], '3.6.0', /^incompatible with current running cluster$/],
  ['an ancient cluster', [B, unstarted], '2.3.0', /^incompatible with current running cluster$/],
  ['a cluster without a version', [B, unstarted], 'not_decided', /^incompatible with current running cluster$/],
];
for (const [name, members, version, message] of JOIN_ROWS) {
  test(`joining is refused: ${name}`, () => assert.rejects(begin(members, EXISTING, version), { message }));
}

test('joining is refused where nobody answers, or nobody who knows', async () => {
  const message =
    'cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs';
  const around = new Neighbourhood();
  const flags = { ...PLAN, ...EXISTING };
  await assert.rejects(around.outcome(findBeginning(around.parts(flags))), { message });
  assert.match(around.lines[0]?.message ?? '', /failed to get cluster response/);
  for (const body of ['', '{}', '[]', '[{"id":"x"}]']) {
    const other = new Neighbourhood();
    await other.answers('b', 1, () => ({ headers: { 'X-Etcd-Cluster-Id': CLUSTER }, body }));
    await assert.rejects(other.outcome(findBeginning(other.parts(flags))), { message });
  }
});

test('one that answers is enough, however long the others take', async () => {
  const around = new Neighbourhood();
  await around.answers('silent', 1, () => null);
  const silent = new MemberRecord('00000000000000cc', ['http://silent:1'], false, 's', ['http://silent:2']);
  await around.member('b', 1, CLUSTER, [B, unstarted, silent]);
  const flags = { ...PLAN, ...EXISTING, 'initial-cluster': `${PLAN['initial-cluster']},s=http://silent:1` };
  const work = findBeginning(around.parts(flags));
  assert.equal((await around.outcome(work)).kind, 'join');
});

const TWIN_ROWS: [
  name: string,
  cluster: string,
  members: MemberRecord[],
  flags: Record<string, string>,
  twin: boolean,
][] = [
  ['the original runs', CLUSTER, [B, started], { 'initial-advertise-peer-urls': 'http://new:1' }, true],
  ['its address is another’s now', CLUSTER, [B], { 'initial-advertise-peer-urls': 'http://new:1' }, false],
  ['another cluster lives there', ID_A, [B, started], { 'initial-advertise-peer-urls': 'http://new:1' }, false],
  ['it is this member’s own address', CLUSTER, [B, started], {}, false],
];
for (const [name, cluster, members, flags, isTwin] of TWIN_ROWS) {
  test(`a copied data directory: ${name}`, async () => {
    const around = new Neighbourhood();
    await around.member('a', 1, cluster, members);
    const parts = around.parts({ ...PLAN, ...flags });
    const check = around.outcome(checkNoTwin(parts, ID_A, CLUSTER, { get: () => started }));
    if (isTwin) await assert.rejects(check, { message: /^member .* is running at http:\/\/a:1 already: .* is a copy/ });
    else await check;
  });
}
