/**
 * Goal: our log and etcd's are the same format. Method: real etcd writes a data directory and we read it, append to it
 * and let etcd start from it again; we write a log and etcd starts from it. Needs the binaries of etcd in PEER_ETCD_BIN
 * or on the PATH.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Entry, EntryType, HardState, RaftSnapshot, SnapshotMetadata, WalMetadata, WalSnapshot } from '@etsd/proto';
import { hasCode } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { decodeSnapshotFile, encodeSnapshotFile, listSegments, readLog, validSnapshots, Wal } from './index.ts';
import { readSegments } from './reader.ts';
import { BatchBuffer, RecordEncoder, RecordType } from './record.ts';

const world = nodeWorld();
const root = mkdtempSync(join(tmpdir(), 'etsd-wal-etcd-'));
after(() => rmSync(root, { recursive: true, force: true }));
after(() => world.workers.close());

const START = { index: 0, term: 0 };

const etcd = findPeerProgram('etcd');
const etcdctl = findPeerProgram('etcdctl');
const skip = needsPeer('etcd', 'etcdctl');

const locksAsEtcd =
  spawnSync('flock', ['--help']).stdout?.includes('--fcntl') === true || spawnSync('perl', ['-e', '1']).status === 0;
const skipFcntl = locksAsEtcd ? false : 'neither a flock tool with --fcntl (util-linux 2.41) nor perl is here';

class Etcd {
  readonly endpoint: string;
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;
  private output = '';

  private constructor(child: ChildProcess, endpoint: string) {
    this.child = child;
    this.endpoint = endpoint;
    child.stderr?.on('data', (piece: Buffer) => {
      this.output += piece.toString();
    });
    this.ended = new Promise((resolve) => child.on('exit', () => resolve()));
  }

  static async start(directory: string, ...more: string[]): Promise<Etcd> {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    const peer = `http://127.0.0.1:${await freePort()}`;
    const flags = ['--name', 'one', '--data-dir', directory, '--listen-client-urls', endpoint];
    flags.push('--advertise-client-urls', endpoint, '--listen-peer-urls', peer);
    flags.push('--initial-advertise-peer-urls', peer, '--initial-cluster', `one=${peer}`, ...more);
    const server = new Etcd(spawn(etcd as string, flags, { stdio: ['ignore', 'ignore', 'pipe'] }), endpoint);
    await server.ready();
    return server;
  }

  ctl(...args: string[]): string {
    const all = ['--endpoints', this.endpoint, ...args];
    return execFileSync(etcdctl as string, all, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
  }

  async stop(): Promise<string> {
    this.child.kill('SIGTERM');
    await this.ended;
    return this.output;
  }

  private async ready(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (this.output.includes('ready to serve client requests')) resolve();
      };
      this.child.stderr?.on('data', check);
      void this.ended.then(() => reject(new Error(`etcd ended:\n${this.output}`)));
      check();
    });
  }
}

function save(wal: Wal, state: HardState | null, entries: Entry[]): Promise<void> {
  return new Promise((resolve, reject) => {
    wal.save(state, entries, 0, entries.length, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** The record, through our own message classes and encoder. */
function encodeAgain(encoder: RecordEncoder, target: BatchBuffer, type: number, data: Buffer): void {
  if (type === RecordType.crc) encoder.checksum(target);
  else if (type === RecordType.metadata) encoder.metadata(target, WalMetadata.encode(WalMetadata.decode(data)));
  else if (type === RecordType.entry) encoder.entry(target, Entry.decode(data));
  else if (type === RecordType.hardState) encoder.hardState(target, HardState.decode(data));
  else encoder.snapshot(target, WalSnapshot.decode(data));
}

test('etcd reads a log that we went on with, and we read what etcd wrote', { skip }, async () => {
  const directory = join(root, 'etcd-first');
  const logDirectory = join(directory, 'member', 'wal');
  const first = await Etcd.start(directory, '--snapshot-count', '20');
  for (let count = 0; count < 50; count++) first.ctl('put', `key${count}`, `value ${count}`);
  await first.stop();

  const snapshots = await validSnapshots(world.disk, logDirectory);
  const start = snapshots.at(-1) as WalSnapshot;
  assert.ok(start.index > 0, 'etcd has made a snapshot');
  const { wal, metadata, hardState, entries, repair } = await Wal.open(world, logDirectory, start);
  assert.equal(repair, null);
  assert.notEqual(WalMetadata.decode(metadata).clusterId, '0000000000000000');
  assert.equal(hardState.commit, (entries.at(-1) as Entry).index, 'a single member commits what it saves');
  assert.ok(entries.at(-1)?.data.includes('value 49'));

  const name = readdirSync(join(directory, 'member', 'snap'))
    .filter((file) => file.endsWith('.snap'))
    .at(-1) as string;
  const bytes = readFileSync(join(directory, 'member', 'snap', name));
  const snapshot = decodeSnapshotFile(bytes, name);
  assert.equal(snapshot.metadata?.index, start.index);
  assert.deepEqual(encodeSnapshotFile(snapshot), bytes, 'a snapshot file comes out as etcd wrote it');

  const last = entries.at(-1) as Entry;
  const added: Entry[] = [];
  for (let count = 1; count <= 10; count++) {
    const data = Buffer.from(
      last.data.toString('latin1').replaceAll('value 49', `value x${count % 10}`.slice(0, 8)),
      'latin1',
    );
    added.push(Entry.create({ type: EntryType.EntryNormal, term: last.term, index: last.index + count, data }));
  }
  for (const entry of added) await save(wal, HardState.create({ ...hardState, commit: entry.index }), [entry]);
  await wal.close();

  const second = await Etcd.start(directory, '--snapshot-count', '20');
  assert.match(second.ctl('get', 'key49', '--print-value-only'), /value x0/, 'etcd has applied our entries');
  second.ctl('put', 'after', 'restart');
  await second.stop();
  const log = await readLog(world.disk, logDirectory, start);
  assert.ok(log.entries.at(-1)?.data.includes('restart'));
});

test('segments that etcd cut are read across, and written again byte for byte', { skip }, async () => {
  const directory = join(root, 'etcd-cut');
  const server = await Etcd.start(directory, '--max-request-bytes', '8000000');
  const value = join(root, 'value');
  writeFileSync(value, 'v'.repeat(1_500_000));
  for (let count = 0; count < 45; count++) {
    execFileSync('sh', ['-c', `'${etcdctl}' --endpoints ${server.endpoint} put big${count} < '${value}'`]);
  }
  await server.stop();
  const logDirectory = join(directory, 'member', 'wal');
  const segments = await listSegments(world.disk, logDirectory);
  assert.equal(segments.length, 2);
  const theirs = await readLog(world.disk, logDirectory, START);
  assert.equal(
    theirs.entries.length,
    theirs.end.segment.index - 1 + (theirs.entries.length - (theirs.end.segment.index - 1)),
  );

  const written = new BatchBuffer(1 << 20, 1 << 20);
  const encoder = new RecordEncoder();
  await readSegments(world.disk, logDirectory, segments.slice(0, 1), (type, data) =>
    encodeAgain(encoder, written, type, data),
  );
  const original = readFileSync(join(logDirectory, segments[0]?.name as string)).subarray(0, written.length);
  assert.ok(written.bytes.subarray(0, written.length).equals(original), 'every byte is written as etcd wrote it');

  const oursDirectory = join(root, 'ours-cut');
  const ours = await Wal.create(world, oursDirectory, theirs.metadata);
  for (const entry of theirs.entries) await save(ours, theirs.hardState, [entry]);
  await ours.close();
  const back = await readLog(world.disk, oursDirectory, START);
  assert.deepEqual(back.entries, theirs.entries);
});

test('etcd starts from a log and a snapshot file that we wrote', { skip }, async () => {
  const donor = join(root, 'donor');
  const first = await Etcd.start(donor);
  first.ctl('put', 'who', 'etcd');
  await first.stop();
  const log = await readLog(world.disk, join(donor, 'member', 'wal'), START);

  const directory = join(root, 'ours-first');
  mkdirSync(join(directory, 'member', 'snap'), { recursive: true, mode: 0o700 });
  const logDirectory = join(directory, 'member', 'wal');
  const wal = await Wal.create(world, logDirectory, log.metadata);
  await save(wal, log.hardState, log.entries);
  await wal.close();
  const second = await Etcd.start(directory);
  assert.equal(second.ctl('get', 'who', '--print-value-only').trim(), 'etcd');
  second.ctl('put', 'who', 'etcd on our log');
  const output = await second.stop();
  assert.doesNotMatch(output, /"level":"(error|fatal|panic)"/);
  const after = await readLog(world.disk, logDirectory, START);
  assert.ok(after.entries.length > log.entries.length);
});

test('we refuse a log that etcd holds', { skip }, async () => {
  const directory = join(root, 'held-by-etcd');
  const server = await Etcd.start(directory);
  const logDirectory = join(directory, 'member', 'wal');
  try {
    await assert.rejects(Wal.open(world, logDirectory, START), (error) => hasCode(error, 'ELOCKED'));
  } finally {
    await server.stop();
  }
  const { wal } = await Wal.open(world, logDirectory, START);
  await wal.close();
});

test('etcd refuses a log that we hold', { skip: skip !== false ? skip : skipFcntl }, async () => {
  const directory = join(root, 'held-by-us');
  await (await Etcd.start(directory)).stop();
  const { wal } = await Wal.open(world, join(directory, 'member', 'wal'), START);
  const server = await Etcd.start(directory).catch((error: Error) => error);
  if (server instanceof Etcd) await server.stop();
  await wal.close();
  assert.ok(server instanceof Error);
  assert.match(server.message, /file already locked/);
});

test('a snapshot file without members keeps its bytes', () => {
  const metadata = SnapshotMetadata.create({ index: 7, term: 2 });
  const snapshot = RaftSnapshot.create({ metadata });
  const bytes = encodeSnapshotFile(snapshot);
  assert.equal(decodeSnapshotFile(bytes, 'here').metadata?.index, 7);
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1;
  assert.throws(() => decodeSnapshotFile(bytes, 'here'), /snap: crc mismatch \(here\)/);
});
