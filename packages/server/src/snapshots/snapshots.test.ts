// Goal: a snapshot made by one member, sent and installed, gives another the very same state, while that one goes on
// serving; damage is refused and crashes are recovered from. Method: real parts over backends in memory and on disk.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Backend, MemoryBackend } from '@etsd/backend';
import { openLmdb } from '@etsd/backend/lmdb';
import { EMPTY, silentLogger, U64_ZERO } from '@etsd/base';
import { BoltWriter } from '@etsd/boltfile';
import { revisionKey, Store, type StoreOptions, WatchHub } from '@etsd/mvcc';
import {
  ConfChange,
  ConfChangeType,
  ConfState,
  ErrCompacted,
  HardState,
  LeaseGrantRequest,
  Message,
  MessageType,
  RaftSnapshot,
  SnapshotMetadata,
  V2Request,
  WalSnapshot,
  WatchResponse,
} from '@etsd/proto';
import { isSealed, KeyRing, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { digest, keptKeys, Lessor, MemberRecord, memberToJson, State, V2Failure } from '@etsd/state';
import { decodeSnapshotFile, Wal } from '@etsd/wal';
import { MetricRegistry } from '../metrics.ts';
import { receivedPath } from './file-names.ts';
import { MemberSnapshots } from './member-snapshots.ts';
import { recoverInstalledSnapshot } from './recover.ts';
import { SnapshotMetrics } from './snapshot-metrics.ts';

const world = nodeWorld();
test.after(() => world.workers.close());

const A = '00000000000000aa';
const B = '00000000000000bb';
const LEASE = '0000000000000777';

/** The parts of a member that snapshots touch. */
class Side {
  readonly directory = mkdtempSync(join(tmpdir(), 'snapshots-'));
  readonly backend: Backend;
  readonly store: Store;
  readonly lessor: Lessor;
  readonly state: State;
  readonly hub: WatchHub;
  readonly snapshots: MemberSnapshots;
  index = 0;

  constructor(backend: Backend | null = null, options: StoreOptions = {}, outside: World = world) {
    this.backend = backend ?? openLmdb(join(this.directory, 'store.mdb'), (error) => assert.fail(error));
    this.store = new Store(this.backend, options);
    this.store.open();
    this.lessor = new Lessor({ store: this.store, backend: this.backend, ttlMinSeconds: 2 });
    this.lessor.open();
    this.state = new State({ backend: this.backend, store: this.store, lessor: this.lessor });
    this.hub = new WatchHub(this.store, { fragmentBytes: 1 << 20, wake: () => {} });
    this.store.listener = this.hub;
    const { backend: b, store, lessor, state, directory } = this;
    const metrics = new SnapshotMetrics(new MetricRegistry());
    const parts = { world: outside, logger: silentLogger, directory, store, lessor, state, metrics };
    this.snapshots = new MemberSnapshots({ ...parts, backend: b });
    this.snapshots.onReplaced = () => this.hub.storeReplaced();
  }

  /** Changes that come with an entry of the log, in term 2. */
  entry(change: () => void): void {
    this.state.applyEmpty(++this.index, 2);
    change();
  }

  put(key: string, value: string, lease = U64_ZERO): void {
    this.entry(() => {
      this.store.begin();
      this.store.put(key, Buffer.from(value), 0, value.length, lease);
      this.store.end();
      if (lease !== U64_ZERO) this.lessor.attach(key, lease);
    });
  }

  grant(id: string): void {
    this.entry(() => this.lessor.applyGrant(LeaseGrantRequest.create({ ID: id, TTL: 1000 }), null));
  }

  addMember(id: string, voters: string[]): void {
    const context = Buffer.from(memberToJson(new MemberRecord(id, [`http://${id}:1`])));
    const change = ConfChange.create({ type: ConfChangeType.ConfChangeAddNode, nodeId: id, context });
    this.state.applyConfChange(++this.index, 2, change, () => ConfState.create({ voters }), null);
  }

  async close(): Promise<void> {
    await this.backend.close();
    rmSync(this.directory, { recursive: true });
  }

  value(key: string): string | null {
    if (!this.store.lookup(key, 0)) return null;
    const { mainRevision, subRevision } = this.store.found;
    return this.store.record(mainRevision, subRevision).toString('latin1');
  }

  hash(): number {
    const job = this.store.hashKv(0);
    if (job instanceof Error) throw job;
    while (!job.slice(1 << 20));
    return job.hash;
  }
}

function leader(backend: Backend | null = null, outside: World = world): Side {
  const side = new Side(backend, {}, outside);
  side.addMember(A, [A]);
  side.addMember(B, [A, B]);
  side.grant(LEASE);
  for (let i = 0; i < 3000; i++) side.put(`key${i % 1000}`, `value ${i}`, i % 10 === 0 ? LEASE : U64_ZERO);
  side.entry(() => side.state.version.set('3.5.0'));
  side.entry(() => side.state.alarms.activate(B, 1));
  side.entry(() => side.state.v2.apply(V2Request.create({ method: 'PUT', val: 'v2' }), '/old/key'));
  return side;
}

/** Sends a snapshot from one side to the other's files, as the transport does; the message. */
async function send(from: Side, to: Side, damage: (bytes: Buffer) => Buffer = (bytes) => bytes): Promise<Message> {
  const message = Message.create({ type: MessageType.MsgSnap, from: A, to: B, snapshot: RaftSnapshot.create({}) });
  const outgoing = await from.snapshots.source.open(message);
  const pieces: Buffer[] = [];
  for (let piece = await outgoing.read(); piece !== null; piece = await outgoing.read()) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  assert.equal(bytes.length, outgoing.size);
  const body = async function* (): AsyncGenerator<Buffer> {
    const damaged = damage(bytes);
    for (let at = 0; at < damaged.length; at += 5000) yield damaged.subarray(at, at + 5000);
  };
  try {
    await to.snapshots.sink.receive(outgoing.message, body());
  } finally {
    outgoing.close();
  }
  return outgoing.message;
}

function install(side: Side, message: Message): Promise<void> {
  return new Promise((resolve, reject) => {
    const snapshot = message.snapshot as RaftSnapshot;
    side.snapshots.installer.install(snapshot, (error) => (error === null ? resolve() : reject(error)));
  });
}

test('with keys everything that lies in a file on the way is encrypted', async () => {
  const keys = KeyRing.parse(Buffer.from(`a ${'0123456789abcdef'.repeat(4)}`), 'keys of the test');
  const sealed = { ...world, disk: new SealedDisk(world.disk, new Sealing(keys, world.random)) };
  const from = leader(new MemoryBackend(), sealed);
  const to = new Side(new MemoryBackend(), {}, sealed);
  const seen: string[] = [];
  const look = ({ directory }: Side): void => {
    for (const name of readdirSync(directory)) {
      const bytes = readFileSync(join(directory, name));
      assert.ok(isSealed(bytes) && !bytes.includes('value 29'), name);
      seen.push(name.replace(/[0-9a-f]{16}|\d+/g, 'N'));
    }
  };
  const message = await send(from, to, (bytes) => {
    assert.ok(bytes.includes('value 29'));
    look(from);
    return bytes;
  });
  look(to);
  await install(to, message);
  look(to);
  assert.deepEqual([...new Set(seen)].sort(), ['N-N.snap', 'N.snap.db', 'peer-N.snapshot.tmp']);
  assert.equal(to.hash(), from.hash());
  await from.close();
  await to.close();
});

for (const kind of ['memory', 'lmdb'] as const) {
  const backend = () => (kind === 'memory' ? new MemoryBackend() : null);

  describe(`snapshots, ${kind}`, () => {
    test('an empty member that installs one has the same keys, leases, members, alarms and version', async () => {
      const from = leader(backend());
      const to = new Side(backend());
      const message = await send(from, to);
      assert.equal(message.snapshot?.metadata?.index, from.index);
      assert.equal(message.snapshot?.metadata?.term, 2);
      assert.deepEqual(message.snapshot?.metadata?.confState?.voters, [A, B]);
      await install(to, message);
      assert.equal(to.state.appliedIndex, from.index);
      assert.deepEqual(to.state.confState?.voters, [A, B]);
      assert.equal(to.store.revision, from.store.revision);
      assert.equal(to.hash(), from.hash());
      assert.equal(digest(to.backend), digest(from.backend));
      assert.deepEqual(to.state.members.list(), from.state.members.list());
      assert.deepEqual(to.state.alarms.list(0), from.state.alarms.list(0));
      assert.equal(to.state.alarms.noSpace, true);
      assert.equal(to.state.version.version, '3.5.0');
      const old = to.state.v2.get('/old/key');
      assert.ok(!(old instanceof V2Failure) && old.value === 'v2');
      assert.equal(to.state.v2.index, from.state.v2.index);
      assert.deepEqual(keptKeys(to.backend, 0), keptKeys(from.backend, 0));
      assert.deepEqual(to.lessor.get(LEASE)?.sortedKeys(), from.lessor.get(LEASE)?.sortedKeys());
      assert.equal(to.lessor.leaseOf('key10'), LEASE);
      const left = readdirSync(to.directory).filter((name) => !name.startsWith('store.mdb'));
      assert.deepEqual(left, [`0000000000000002-${from.index.toString(16).padStart(16, '0')}.snap`]);
      const file = join(to.directory, left[0] as string);
      assert.deepEqual(decodeSnapshotFile(readFileSync(file), file).metadata, message.snapshot?.metadata);
      // The state goes on from there.
      to.index = from.index;
      to.put('after', 'x');
      from.put('after', 'x');
      assert.equal(to.hash(), from.hash());
      await from.close();
      await to.close();
    });

    test('the snapshot is that of one moment, whatever is written while it is made', async () => {
      const from = leader(backend());
      const { revision } = from.store;
      const hash = from.hash();
      const taking = from.snapshots.clientFiles.take();
      let isTaken = false;
      void taking.then(() => {
        isTaken = true;
      });
      while (!isTaken) {
        from.put('meanwhile', 'x');
        await new Promise((resolve) => setImmediate(resolve));
      }
      (await taking)?.close();
      const to = new Side(backend());
      const before = await from.snapshots.clientFiles.take();
      assert.ok(before !== null && before.state.index === from.index);
      before.close();
      const first = await taking;
      assert.ok(first !== null && first.state.index < from.index);
      assert.ok(from.store.revision > revision);
      const job = from.store.hashKv(revision);
      if (job instanceof Error) throw job;
      while (!job.slice(1 << 20));
      assert.equal(job.hash, hash);
      await from.close();
      await to.close();
    });

    test('a member with an older state is given the newer one, and goes on serving meanwhile', async () => {
      const from = leader(backend());
      const to = new Side(backend());
      const reference = leader(null);
      const old = await send(reference, to);
      await install(to, old);
      for (let i = 0; i < 500; i++) from.put(`more${i}`, 'x'.repeat(i));
      from.entry(() => from.state.members.remove(A));
      const before = to.value('key7');
      let reads = 0;
      const message = await send(from, to);
      const installing = install(to, message);
      let isDone = false;
      void installing.then(() => {
        isDone = true;
      });
      while (!isDone) {
        reads++;
        assert.equal(to.value('key7'), before);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok(reads > 3, `${reads} reads were answered meanwhile`);
      assert.equal(to.hash(), from.hash());
      assert.equal(to.state.members.isRemoved(A), true);
      for (const side of [from, to, reference]) await side.close();
    });

    test('a snapshot that is damaged or cut is refused, and leaves nothing behind', async () => {
      const from = leader(backend());
      const to = new Side(backend());
      const cut = send(from, to, (bytes) => bytes.subarray(0, bytes.length - 4096));
      await assert.rejects(cut, /the file was cut/);
      const damaged = send(from, to, (bytes) => bytes.fill(0, 4096 * 20, 4096 * 21));
      await assert.rejects(damaged, /page 20 at byte 81920/);
      const longer = send(from, to, (bytes) => Buffer.concat([bytes, EMPTY, Buffer.alloc(32)]));
      await assert.rejects(longer, /a snapshot of \d+ bytes came, its file has/);
      assert.deepEqual(
        readdirSync(to.directory).filter((name) => !name.startsWith('store.mdb')),
        [],
      );
      await from.close();
      await to.close();
    });

    test('a file that is whole but no store is refused before raft hears of it', async () => {
      const rows: readonly (readonly [string, RegExp, (write: BoltWriter) => void])[] = [
        ['nothing', /"key" and "meta" are not both there/, () => {}],
        [
          'a bucket of a later version',
          /has a bucket "later", which this version does not know/,
          (write) => {
            write.beginBucket('later');
            write.endBucket();
          },
        ],
        [
          'a key that is no revision',
          /a record is none .*bucket key, record 6162/,
          (write) => {
            write.beginBucket('key');
            write.add(Buffer.from('ab'), EMPTY);
            write.endBucket();
          },
        ],
        [
          'a value that is no record',
          /a record is none/,
          (write) => {
            write.beginBucket('key');
            write.add(revisionKey(2, 0), Buffer.from([0xff]));
            write.endBucket();
          },
        ],
      ];
      const to = new Side(backend());
      for (const [name, message, fill] of rows) {
        const path = join(to.directory, 'given');
        const writer = await BoltWriter.create(world.disk, path);
        fill(writer);
        await writer.finish(false);
        const bytes = readFileSync(path);
        rmSync(path);
        const metadata = SnapshotMetadata.create({ index: 5, term: 1, confState: new ConfState() });
        const given = Message.create({ type: MessageType.MsgSnap, snapshot: RaftSnapshot.create({ metadata }) });
        const body = async function* (): AsyncGenerator<Buffer> {
          yield bytes;
        };
        await assert.rejects(to.snapshots.sink.receive(given, body()), message, name);
      }
      await to.close();
    });
  });
}

test('watchers are told what happened meanwhile, once, in order; what is compacted cancels them', async () => {
  const from = leader();
  const to = new Side();
  await install(to, await send(from, to));
  to.index = from.index;
  const events: string[] = [];
  const compacted: number[] = [];
  const stream = to.hub.open({
    writable: () => true,
    envelopeSize: () => 0,
    events(_watcher, revision, selection, begin, end) {
      const frames = Buffer.alloc(selection.size(begin, end));
      selection.write(frames, 0, begin, end);
      for (const { kv } of WatchResponse.decode(frames).events) events.push(`${kv?.modRevision}`);
      assert.ok(revision <= to.store.revision);
    },
    compacted: (watcher, revision) => compacted.push(watcher.id, revision),
    progress: () => {},
  });
  const request = { key: 'w', rangeEnd: 'x', watchId: 0, prevKv: false, noPuts: false, noDeletes: false };
  stream.create({ ...request, startRevision: 0, fragment: false, progressNotify: false });
  for (const side of [from, to]) side.put('w1', 'before');
  const first = from.store.revision;
  for (let i = 0; i < 5; i++) from.put('w2', `missed ${i}`);
  await install(to, await send(from, to));
  while (to.hub.step());
  to.index = from.index;
  for (const side of [from, to]) side.put('w3', 'after');
  assert.deepEqual(
    events,
    [0, 1, 2, 3, 4, 5, 6].map((i) => `${first + i}`),
  );
  assert.deepEqual(compacted, []);
  for (let i = 0; i < 5; i++) from.put('w4', `lost ${i}`);
  const at = from.store.revision;
  from.entry(() => assert.equal(from.store.compact(at), null));
  await install(to, await send(from, to));
  while (to.hub.step());
  assert.deepEqual(compacted, [0, at]);
  assert.equal(events.length, 7);
  await from.close();
  await to.close();
});

test('a range under way ends with an error if its revision is compacted in the new state, and goes on otherwise', async () => {
  const from = leader();
  const to = new Side();
  await install(to, await send(from, to));
  const open = () => {
    const cursor = to.store.openCursor('key', 'kez', { ...WHOLE, revision: to.store.revision });
    assert.ok(!(cursor instanceof Error));
    assert.equal(cursor.next(1000, 10), false);
    return cursor;
  };
  const goesOn = open();
  for (let i = 0; i < 5; i++) from.put('key1', 'newer');
  await install(to, await send(from, to));
  let records = 10;
  while (!goesOn.next(1 << 20, 100)) records += goesOn.records.length;
  assert.equal(goesOn.error, null);
  assert.equal(records + goesOn.records.length, 1000);
  const ends = open();
  from.put('key2', 'newer');
  const revision = from.store.revision;
  from.entry(() => assert.equal(from.store.compact(revision), null));
  while (!from.store.compactSlice(10_000));
  await install(to, await send(from, to));
  assert.equal(ends.next(1 << 20, 100), true);
  assert.equal(ends.error, ErrCompacted);
  assert.deepEqual(ends.records, []);
  await from.close();
  await to.close();
});

const WHOLE = {
  limit: 0,
  sortOrder: 0,
  sortTarget: 0,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
};

test('after a crash between the record in the log and the installation the next start installs the snapshot', async () => {
  const from = leader();
  const to = new Side();
  const message = await send(from, to);
  const walDirectory = join(to.directory, 'wal');
  const { index, term, confState } = message.snapshot?.metadata ?? assert.fail();
  const wal = await Wal.create(world, walDirectory, Buffer.from('m'));
  const recover = () => {
    const { directory, backend } = to;
    return recoverInstalledSnapshot({ world, logger: silentLogger, walDirectory, directory, backend });
  };
  const saved = (run: (done: (error: Error | null) => void) => void) =>
    new Promise<void>((resolve, reject) => run((error) => (error === null ? resolve() : reject(error))));
  await saved((done) => {
    wal.saveSnapshot(WalSnapshot.create({ index, term, confState }), () => {});
    wal.save(HardState.create({ term, vote: A, commit: index }), [], 0, 0, done);
    wal.flush();
  });
  await wal.close();
  writeFileSync(join(to.directory, 'peer-3.snapshot.tmp'), 'left over');
  assert.equal(await recover(), true);
  const again = new Store(to.backend);
  again.open();
  assert.equal(again.revision, from.store.revision);
  assert.equal(digest(to.backend), digest(from.backend));
  assert.equal(existsSync(receivedPath(to.directory, index)), false);
  assert.equal(existsSync(join(to.directory, 'peer-3.snapshot.tmp')), false);
  assert.equal(await recover(), false, 'once');
  await from.close();
  await to.close();
});

test('a member that is stopped while it installs keeps its old state, and the file to begin anew', async () => {
  const from = leader();
  const to = new Side();
  const message = await send(from, to);
  const before = digest(to.backend);
  const installing = install(to, message);
  to.snapshots.stop();
  await assert.rejects(installing, /the member is being stopped/);
  await to.backend.close();
  const again = openLmdb(join(to.directory, 'store.mdb'), (error) => assert.fail(error));
  assert.equal(digest(again), before);
  assert.equal(existsSync(receivedPath(to.directory, message.snapshot?.metadata?.index ?? 0)), true);
  assert.equal(existsSync(join(to.directory, 'store.mdb.new')), false);
  await again.close();
  await from.close();
  rmSync(to.directory, { recursive: true });
});

test('no more than three files exist at a time, and nobody waits for one that is not wanted any more', async () => {
  const from = leader();
  const files = from.snapshots.clientFiles;
  const names = () => readdirSync(from.directory).filter((name) => name.endsWith('.snapshot.tmp'));
  const held = [await files.take(), await files.take(), await files.take()];
  assert.equal(names().length, 3);
  let isWanted = true;
  const given = files.take(() => isWanted);
  const last = files.take();
  isWanted = false;
  held[0]?.close();
  assert.equal(await given, null);
  const file = await last;
  assert.ok(file !== null);
  for (const each of [held[1], held[2], file]) each?.close();
  assert.equal(await file.read(), null, 'a closed file gives nothing more');
  while (names().length > 0) await new Promise((resolve) => setImmediate(resolve));
  await from.close();
});
