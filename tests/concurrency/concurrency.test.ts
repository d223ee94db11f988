import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Message, Outcome } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, startServer } from '../support/server.ts';
import { connect, Pending, Stream } from './calls.ts';

const skip = needsPeer('etcd');
const bytes = (text: string): Buffer => Buffer.from(text);

/** What a client sees of one server, ids of the cluster masked. Leases have ids of our choice. */
class Session {
  readonly seen: unknown[] = [];
  private readonly raw: ReturnType<typeof connect>;

  constructor(address: string) {
    this.raw = connect(address);
  }

  start(name: string, request: Message): Pending {
    return new Pending(this.raw, name, request);
  }

  observe(name: string): Stream {
    return new Stream(this.raw, 'v3electionpb.Election/Observe', { name: bytes(name) });
  }

  /** Calls and notes what came of it. */
  async call(name: string, request: Message): Promise<Outcome> {
    const outcome = await this.start(name, request).done();
    this.note(name, outcome);
    return outcome;
  }

  /** Two waiting calls are told apart by how many keys there are. */
  async keys(prefix: string, count: number): Promise<void> {
    await eventually(10_000, `${count} keys under ${prefix}`, async () => {
      const range = { key: bytes(prefix), range_end: bytes(`${prefix.slice(0, -1)}0`), count_only: true };
      const { response } = await this.start('etcdserverpb.KV/Range', range).done();
      return Number(response?.['count']) === count ? true : null;
    });
  }

  note(what: string, value: unknown): void {
    const masked = JSON.stringify(value, (name, each: unknown) =>
      name === 'cluster_id' || name === 'member_id' || name === 'raft_term' ? '#' : each,
    );
    this.seen.push([what, JSON.parse(masked)]);
  }

  close(): void {
    this.raw.close();
  }
}

async function onBoth(script: (session: Session) => Promise<void>): Promise<void> {
  const run = async (product: Product): Promise<unknown[]> => {
    const server = await startServer({ product });
    const session = new Session(server.address);
    try {
      await script(session);
      return session.seen;
    } finally {
      session.close();
      await server.dispose();
    }
  };
  const [theirs, ours] = await Promise.all([run('etcd'), run('etsd')]);
  assert.deepEqual(ours, theirs);
}

async function leases(session: Session, ...ids: number[]): Promise<void> {
  for (const ID of ids) await session.call('Lease/LeaseGrant', { TTL: 600, ID: String(ID) });
}

// Goal: who uses the Lock service gets the same answers, keys and revisions as from etcd.
test('locks are granted, waited for, given up and lost as by etcd', { skip, timeout: 120_000 }, async () => {
  await onBoth(async (session) => {
    const lock = 'v3lockpb.Lock/Lock';
    await leases(session, 1001, 1002, 1003, 1004);
    await session.call(lock, { name: bytes('l'), lease: '1001' });
    await session.call(lock, { name: bytes('l'), lease: '1001' });
    await session.call(lock, { name: bytes('l'), lease: '99' });
    await session.call(lock, { name: bytes(''), lease: '1001' });

    const second = session.start(lock, { name: bytes('l'), lease: '1002' });
    await session.keys('l/', 2);
    const third = session.start(lock, { name: bytes('l'), lease: '1003' });
    await session.keys('l/', 3);
    const fourth = session.start(lock, { name: bytes('l'), lease: '1004' });
    await session.keys('l/', 4);
    // Who hangs up leaves the queue.
    third.cancel();
    await session.keys('l/', 3);
    await session.call('v3lockpb.Lock/Unlock', { key: bytes('l/3e9') });
    session.note('second', await second.done());
    session.note('fourth waits', fourth.outcome);
    // The lease of the owner ends, and with it the lock.
    await session.call('Lease/LeaseRevoke', { ID: '1002' });
    session.note('fourth', await fourth.done());

    // The lease of one who waits ends.
    await leases(session, 1005);
    const lost = session.start(lock, { name: bytes('l'), lease: '1005' });
    await session.keys('l/', 2);
    await session.call('Lease/LeaseRevoke', { ID: '1005' });
    await session.call('v3lockpb.Lock/Unlock', { key: bytes('l/3ec') });
    session.note('lost', await lost.done());

    await session.call('v3lockpb.Lock/Unlock', { key: bytes('l/none') });
    await session.call('v3lockpb.Lock/Unlock', { key: Buffer.alloc(0) });
    const own = await session.start(lock, { name: bytes('own') }).done();
    assert.equal(own.code, 0);
    assert.match(String(own.response?.['key']), /^own\/[0-9a-f]{13,16}$/);
    await session.keys('own/', 1);
  });
});

// Goal: the same of the Election service, with everything an observer is told.
test('elections go as with etcd', { skip, timeout: 120_000 }, async () => {
  await onBoth(async (session) => {
    const service = 'v3electionpb.Election';
    const name = bytes('e');
    await leases(session, 2001, 2002, 2003);
    await session.call(`${service}/Leader`, { name });
    const early = session.observe('e');
    const first = await session.call(`${service}/Campaign`, { name, lease: '2001', value: bytes('one') });
    await early.received(1);
    await session.call(`${service}/Leader`, { name });
    await session.call(`${service}/Campaign`, { name, lease: '2001', value: bytes('one') });
    await session.call(`${service}/Campaign`, { name, lease: '2001', value: bytes('changed') });
    const leader = first.response?.['leader'] as Message;
    await session.call(`${service}/Proclaim`, { leader, value: bytes('proclaimed') });
    await session.call(`${service}/Proclaim`, { value: bytes('nobody') });
    await session.call(`${service}/Proclaim`, { leader: { ...leader, rev: '1' }, value: bytes('old') });
    await session.call(`${service}/Resign`, {});
    await session.call(`${service}/Campaign`, { name, lease: '99', value: bytes('x') });

    const second = session.start(`${service}/Campaign`, { name, lease: '2002', value: bytes('two') });
    await session.keys('e/', 2);
    const third = session.start(`${service}/Campaign`, { name, lease: '2003', value: bytes('three') });
    await session.keys('e/', 3);
    second.cancel();
    await session.keys('e/', 2);
    await session.call(`${service}/Resign`, { leader: { ...leader, rev: '1' } });
    await session.call(`${service}/Resign`, { leader });
    session.note('third', await third.done());
    session.note('early', await early.received(4));
    const late = session.observe('e');
    session.note('late', await late.received(1));
    await session.call('Lease/LeaseRevoke', { ID: '2003' });
    await session.call(`${service}/Leader`, { name });
    early.cancel();
    late.cancel();
  });
});
