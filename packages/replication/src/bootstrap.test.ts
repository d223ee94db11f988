/**
 * The lives of a member on a real disk: founded, restarted, restarted after its log was cut, forced to be alone; and the
 * cases in which it must refuse to start. Ids and first entries are compared with what etcd 3.5 wrote for the same flags.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { OperatorError, silentLogger } from '@etsd/base';
import { ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType, HardState } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import { forceSingleMember, foundCluster, hasLog, type OpenedLog, openExisting } from './bootstrap.ts';
import { clusterIdOf, foundingMemberId, identify, joiningMemberId, memberContext } from './membership.ts';
import { ReplicationNode } from './node.ts';
import { RecordingApplier, RecordingWaiter } from './testing/fakes.ts';

const world = nodeWorld();
const directories: string[] = [];
after(async () => {
  for (const directory of directories) await rm(directory, { recursive: true });
});

async function newPlace(): Promise<{ world: typeof world; directory: string; logger: typeof silentLogger }> {
  const root = await mkdtemp(join(tmpdir(), 'etsd-replication-'));
  directories.push(root);
  return { world, directory: join(root, 'wal'), logger: silentLogger };
}

const FOUNDERS = [{ name: 'infra1', peerUrls: ['http://127.0.0.1:23801'] }];

function nodeOn(opened: OpenedLog, applier: RecordingApplier, snapshotCount = 10_000): ReplicationNode {
  const node = new ReplicationNode({
    world,
    logger: silentLogger,
    log: opened.log,
    start: opened.start,
    applier,
    durableIndex: () => applier.appliedIndex,
    onFatal: (error) => {
      throw error;
    },
    heartbeatMs: 10,
    electionMs: 100,
    snapshotCount,
  });
  node.start();
  return node;
}

function propose(node: ReplicationNode, text: string): Promise<unknown> {
  return new Promise((done, fail) => node.propose(Buffer.from(text), { done, fail }));
}

test('ids are etcd’s', () => {
  const id = foundingMemberId(['http://127.0.0.1:23801'], 'tok-1');
  assert.equal(id, 'f7875276d5273a18');
  assert.equal(clusterIdOf([id]), 'dcb73ccb4154c224');
  assert.notEqual(joiningMemberId(['http://127.0.0.1:23801'], 1_700_000_000), id);
});

test('the context of a founding member is etcd’s, byte for byte', () => {
  const [member] = identify(FOUNDERS, 'tok-1');
  assert.ok(member !== undefined);
  assert.equal(
    memberContext(member, false).toString(),
    '{"id":17836315519559875096,"peerURLs":["http://127.0.0.1:23801"],"name":"infra1"}',
  );
});

test('a member is founded, works, and finds everything again', async () => {
  const place = await newPlace();
  assert.equal(await hasLog(place), false);
  const opened = await foundCluster({ ...place, members: FOUNDERS, name: 'infra1', token: 'tok-1' });
  const applier = new RecordingApplier();
  const node = nodeOn(opened, applier);
  const results = await Promise.all(['a', 'b', 'c'].map((text) => propose(node, text)));
  assert.deepEqual(results, ['a', 'b', 'c']);
  await node.stop();
  assert.equal(await hasLog(place), true);

  const again = new RecordingApplier();
  const reopened = await openExisting({ ...place, appliedIndex: 0, confState: null });
  assert.equal(reopened.start.memberId, 'f7875276d5273a18');
  assert.equal(reopened.start.clusterId, 'dcb73ccb4154c224');
  const second = nodeOn(reopened, again);
  assert.equal(await propose(second, 'd'), 'd');
  assert.deepEqual(again.seen, ['(change 0 of f7875276d5273a18)', '(empty)', 'a', 'b', 'c', '(empty)', 'd']);
  await second.stop();
});

test('after the log was cut, a new life reads only what follows', async () => {
  const place = await newPlace();
  const opened = await foundCluster({ ...place, members: FOUNDERS, name: 'infra1', token: 'tok-1' });
  const applier = new RecordingApplier();
  const node = nodeOn(opened, applier, 20);
  for (let count = 0; count < 30; count++) await propose(node, `v${count}`);
  await new Promise<void>((resolve) => {
    const timer = world.timers.every(5, () => {
      if (node.snapshotIndex === 0) return;
      timer.cancel();
      resolve();
    });
  });
  const cutAt = node.snapshotIndex;
  await propose(node, 'last');
  await node.stop();

  const reopened = await openExisting({
    ...place,
    appliedIndex: applier.appliedIndex,
    confState: applier.confState,
  });
  assert.equal(reopened.start.stored.baseIndex, cutAt);
  assert.equal(reopened.start.stored.entries[0]?.index, cutAt + 1);
  const second = nodeOn(reopened, applier);
  assert.equal(await propose(second, 'on'), 'on');
  await second.stop();

  await assert.rejects(
    openExisting({ ...place, appliedIndex: cutAt - 1, confState: applier.confState }),
    (error: unknown) => error instanceof OperatorError && error.message.includes('was cut at'),
  );
  await assert.rejects(
    openExisting({ ...place, appliedIndex: 1_000_000, confState: applier.confState }),
    (error: unknown) => error instanceof OperatorError && error.message.includes('the log'),
  );
});

for (const isJoint of [false, true]) {
  const where = isJoint ? ', also out of a joint configuration' : '';
  test(`a member forced to be alone drops what may not be committed and removes the others${where}`, async () => {
    await forceAlone(isJoint);
  });
}

async function forceAlone(isJoint: boolean): Promise<void> {
  const place = await newPlace();
  const founders = [
    { name: 'a', peerUrls: ['http://a:2380'] },
    { name: 'b', peerUrls: ['http://b:2380'] },
    { name: 'c', peerUrls: ['http://c:2380'] },
  ];
  const opened = await foundCluster({ ...place, members: founders, name: 'b', token: 'tok' });
  const self = opened.start.memberId;
  const adds = opened.start.bootstrap ?? [];
  const entries = adds.map((entry, place) => Entry.create({ ...entry, term: 1, index: place + 1 }));
  const append = (type: number, data: Buffer): void => {
    entries.push(Entry.create({ type, term: 1, index: entries.length + 1, data }));
  };
  append(EntryType.EntryNormal, Buffer.from('committed'));
  if (isJoint) append(EntryType.EntryConfChangeV2, ConfChangeV2.encode(moveTo(self, '00000000000000dd')));
  const commit = entries.length;
  append(EntryType.EntryNormal, Buffer.from('not committed'));
  await new Promise<void>((resolve) => {
    opened.log.save(HardState.create({ term: 1, commit }), entries, 0, entries.length, () => resolve());
  });
  await opened.log.close();

  const reopened = await openExisting({ ...place, appliedIndex: 0, confState: null });
  const forced = await forceSingleMember(reopened, ['http://b:2380'], 'b');
  const applier = new RecordingApplier();
  const node = nodeOn(forced, applier);
  const waiter = new RecordingWaiter();
  node.propose(Buffer.from('alone'), waiter);
  await propose(node, 'alone too');
  assert.deepEqual(applier.confState?.voters, [self]);
  assert.ok(applier.seen.includes('committed'));
  assert.ok(!applier.seen.includes('not committed'));
  assert.deepEqual(applier.confState?.votersOutgoing, []);
  assert.equal(waiter.outcome, 'alone');
  await node.stop();
}

/** A joint configuration in which `self` stays and another takes the place of the founders. */
function moveTo(self: string, other: string): ConfChangeV2 {
  const wide = new ConfChangeV2();
  const { ConfChangeAddNode } = ConfChangeType;
  for (const nodeId of [self, other]) wide.changes.push(ConfChangeSingle.create({ type: ConfChangeAddNode, nodeId }));
  return wide;
}

test('the name of the member must be among the founders', async () => {
  const place = await newPlace();
  await assert.rejects(foundCluster({ ...place, members: FOUNDERS, name: 'other', token: 't' }), OperatorError);
  assert.deepEqual(await readdir(join(place.directory, '..')), []);
});

test('a foundation that was cut short is made up for, with the same flags only', async () => {
  const place = await newPlace();
  const founding = { members: FOUNDERS, name: 'infra1', token: 'tok-1' };
  const opened = await foundCluster({ ...place, ...founding });
  await opened.log.close();
  const existing = { ...place, appliedIndex: 0, confState: null };
  await assert.rejects(
    openExisting({ ...existing, founding: async () => ({ ...founding, token: 'other' }) }),
    OperatorError,
  );
  const waiting = await openExisting(existing);
  assert.equal(waiting.start.bootstrap, null, 'a member that joins waits for its leader');
  await waiting.log.close();
  const resumed = await openExisting({ ...existing, founding: async () => founding });
  const node = nodeOn(resumed, new RecordingApplier());
  assert.equal(await propose(node, 'a'), 'a');
  await node.stop();
});

test('founding entries add every member in order of ids', async () => {
  const place = await newPlace();
  const founders = [
    { name: 'x', peerUrls: ['http://x:1'] },
    { name: 'y', peerUrls: ['http://y:1'] },
  ];
  const { log, start } = await foundCluster({ ...place, members: founders, name: 'x', token: 't' });
  const changes = (start.bootstrap ?? []).map((entry) => ConfChange.decode(entry.data));
  assert.deepEqual(
    changes.map(({ type }) => type),
    [ConfChangeType.ConfChangeAddNode, ConfChangeType.ConfChangeAddNode],
  );
  const ids = changes.map(({ nodeId }) => nodeId);
  assert.deepEqual(ids, [...ids].sort());
  await log.close();
});
