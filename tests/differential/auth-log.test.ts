/**
 * Goal: the same log makes the same users, roles, permissions and keys here and in etcd, byte for byte, whoever asks for
 * what and is allowed or refused. Method: a log of random requests, by users of random auth revisions, is appended to the
 * log of an etcd that has stopped; etcd starts from it and applies it; then every bucket must be what our state made.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Prng } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { Store } from '@etsd/mvcc';
import { Entry, EntryType, HardState, writeRaftRequest } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import { Lessor, State } from '@etsd/state';
import { needsPeer } from '@etsd/testkit';
import { Wal } from '@etsd/wal';
import { prepareServer, type TestServer } from '../support/server.ts';
import { type LoggedRequest, RequestMaker } from './auth-log.ts';

const skip = needsPeer('etcd');
const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const count = Number(process.env['ETSD_TEST_AUTH_COUNT'] ?? 1500);
const BUCKETS = ['alarm', 'auth', 'authRoles', 'authUsers', 'key', 'lease'] as const;
const world = nodeWorld();
after(() => world.workers.close());

/** Our side: a state without a member around it. */
class OurSide {
  readonly backend = new MemoryBackend();
  readonly state: State;
  readonly refused = new Map<string, number>();
  /** The last requests before each revision of the keys, the newest last. */
  readonly history: { revision: number; request: LoggedRequest; outcome: string }[] = [];
  index = 0;

  constructor(base: number) {
    const { backend } = this;
    const store = new Store(backend);
    store.open();
    const lessor = new Lessor({ store, backend, ttlMinSeconds: 2 });
    lessor.open();
    this.state = new State({ backend, store, lessor });
    while (this.index < base) this.state.applyEmpty(++this.index, 1);
  }

  /** Applies the request, and returns it as the data of its entry. */
  apply({ field, body, user, authRevision }: LoggedRequest): Buffer {
    const data = writeRaftRequest(field, body, 0, body.length, 1, this.index + 1, user, authRevision);
    let outcome = 'done';
    this.state.apply(++this.index, 1, data, {
      done: () => {},
      fail: ({ message }) => {
        outcome = message;
        this.refused.set(message, (this.refused.get(message) ?? 0) + 1);
      },
    });
    this.history.push({ revision: this.state.store.revision, request: { field, body, user, authRevision }, outcome });
    return data;
  }

  buckets(): Record<string, string[]> {
    const found: Record<string, string[]> = {};
    for (const bucket of BUCKETS) {
      const records: string[] = [];
      this.backend.scan(bucket, null, null, (key, value) => {
        records.push(told(key, value));
        return true;
      });
      found[bucket] = records;
    }
    return found;
  }
}

function told(key: Buffer, value: Buffer): string {
  return `${key.toString('latin1')} = ${value.toString('latin1')}`;
}

/** Where the buckets first differ, and the requests applied here just before. */
function firstDifference(ours: OurSide, theirs: Record<string, string[]>): string | null {
  const own = ours.buckets();
  for (const bucket of BUCKETS) {
    const [left, right] = [own[bucket] ?? [], theirs[bucket] ?? []];
    const at = left.findIndex((record, index) => record !== right[index]);
    if (at < 0 && left.length === right.length) continue;
    const revision = bucket === 'key' && at >= 0 ? Buffer.from(left[at] as string, 'latin1').readUInt32BE(4) : 1e9;
    const until = ours.history.findIndex((step) => step.revision >= revision);
    const steps = ours.history.slice(Math.max(0, until - 5), until + 1).map(({ request, outcome }) => {
      const { user, authRevision, field, body } = request;
      return `${field} by ${user} at ${authRevision}: ${JSON.stringify(body.toString('latin1'))}, ${outcome}`;
    });
    return [`bucket ${bucket}`, `ours   ${left[at]}`, `theirs ${right[at]}`, ...steps].join('\n');
  }
  return null;
}

/** Appends entries to the log of a stopped etcd, committed. `make` is told the index of the last entry there. */
async function append(etcd: TestServer, make: (last: number) => Buffer[]): Promise<void> {
  const directory = join(etcd.dataDir, 'member.etcd', 'member', 'wal');
  const { wal, hardState, entries } = await Wal.open(world, directory, { index: 0, term: 0 });
  const last = (entries.at(-1) as Entry).index;
  const added = make(last).map((data, at) =>
    Entry.create({ type: EntryType.EntryNormal, term: hardState.term, index: last + 1 + at, data }),
  );
  const commit = HardState.create({ ...hardState, commit: last + added.length });
  await new Promise<void>((resolve, reject) =>
    wal.save(commit, added, 0, added.length, (error) => (error === null ? resolve() : reject(error))),
  );
  await wal.close();
}

async function bucketsOf(etcd: TestServer): Promise<Record<string, string[]>> {
  const file = await BoltFile.open(world.disk, join(etcd.dataDir, 'member.etcd', 'member', 'snap', 'db'));
  const found: Record<string, string[]> = {};
  for (const bucket of await file.buckets()) {
    const name = bucket.name.toString('latin1');
    if (!(BUCKETS as readonly string[]).includes(name)) continue;
    const records: string[] = [];
    const cursor = file.leaves(bucket);
    for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
      for (let at = 0; at < leaf.count; at++) records.push(told(leaf.key(at), leaf.value(at)));
    }
    found[name] = records;
  }
  await file.close();
  return found;
}

/** What etcd and what we make of the same requests; `each` is told our state and says what comes next, or null. */
async function both(
  next: (state: State) => LoggedRequest | null,
): Promise<{ ours: OurSide; theirs: Record<string, string[]> }> {
  // What etcd would add on its own, once it leads, would come into the buckets too; there is nothing of the kind here.
  // It looks users up where changes may come late, until its next commit: there is one after each of them.
  const flags = ['--snapshot-count', '100000', '--backend-batch-limit', '1', '--unsafe-no-fsync'];
  const etcd = await prepareServer({ product: 'etcd', flags });
  try {
    await etcd.start();
    await etcd.stop();
    let ours: OurSide | null = null;
    await append(etcd, (last) => {
      ours = new OurSide(last);
      const entries: Buffer[] = [];
      for (let request = next(ours.state); request !== null; request = next(ours.state))
        entries.push(ours.apply(request));
      return entries;
    });
    await etcd.start();
    await etcd.stop();
    return { ours: ours as unknown as OurSide, theirs: await bucketsOf(etcd) };
  } finally {
    await etcd.dispose();
  }
}

test('a log of users who may and may not is applied as etcd applies it', { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  const maker = new RequestMaker(new Prng(seed));
  const beginning = RequestMaker.beginning();
  let made = 0;
  const { ours, theirs } = await both(({ auth }) => {
    if (made === count) return null;
    const request = beginning[made++];
    if (request !== undefined) return request;
    // Whoever turned it off: what is to be seen is refused only while it is on.
    if (!auth.enabled && made % 20 === 0) return beginning.at(-1) as LoggedRequest;
    return maker.make(auth);
  });
  context.diagnostic(`refused: ${[...ours.refused].map(([text, times]) => `${times} ${text}`).join(', ')}`);
  assert.equal(firstDifference(ours, theirs), null);
  for (const text of ['permission denied', 'revision of auth store is old', 'user name is empty']) {
    assert.ok((ours.refused.get(`etcdserver: ${text}`) ?? 0) > 10, `${text} was the answer now and then`);
  }
});

test('many permissions of a role stand in the order that etcd leaves them in', { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  const maker = new RequestMaker(new Prng(seed));
  const requests = [13, 14, 20, 33, 49, 50, 51, 120, 200].flatMap((size) => maker.manyPermissions(`role${size}`, size));
  let made = 0;
  const { ours, theirs } = await both(() => requests[made++] ?? null);
  assert.equal(firstDifference(ours, theirs), null);
});
