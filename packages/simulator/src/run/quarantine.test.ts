/**
 * Goal: a member that holds something else than the others finds out by itself, serves nobody from then on, takes the state
 * of another member and serves again, while the others go on; and never where no majority is on the other side. Method:
 * whole members in a simulated world; one of them is changed behind its back, in memory or in its store.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Prng } from '@etsd/base';
import { PutRequest, RaftRequestField, writeRaftRequest } from '@etsd/proto';
import { SimCluster } from '../cluster/cluster.ts';
import type { SimMember } from '../cluster/member.ts';
import { NO_EXTRAS } from './extras.ts';
import { drawPlan, type Plan } from './plan.ts';

const EVERYTHING = { eventsMax: Number.POSITIVE_INFINITY };
/** Longer than members take to compare, and to heal. */
const LONG_MS = 60_000;

const PLAN: Partial<Plan> = {
  founders: 3,
  spares: 0,
  heartbeatMs: 100,
  electionMs: 1000,
  snapshotCount: 10_000,
  catchUpEntries: 500,
  batchIntervalMs: 100,
  comparesMembers: true,
};

class World {
  readonly cluster: SimCluster;
  written = 0;
  private id = 0;

  constructor(seed: number, more: Partial<Plan> = {}) {
    const drawn = drawPlan(new Prng(seed));
    const network = { ...drawn.network, lossRate: 0, copyRate: 0, reorderRate: 0, halfOpenRate: 0 };
    this.cluster = new SimCluster({
      seed,
      plan: { ...drawn, ...NO_EXTRAS, network, ...PLAN, ...more },
      keepsTrace: true,
    });
    this.cluster.start();
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    const { cluster } = this;
    await cluster.universe.simulation.runUntil(condition, { ...EVERYTHING, durationMs: LONG_MS });
    assert.ok(condition(), `${what}\n${this.lines(/./).slice(-20).join('\n')}`);
  }

  async wait(ms: number): Promise<void> {
    const { simulation } = this.cluster.universe;
    const endMs = simulation.nowMs + ms;
    this.cluster.after(ms, () => {});
    await simulation.runUntil(() => simulation.nowMs >= endMs, { ...EVERYTHING, durationMs: ms + 1 });
  }

  /** So many puts through the log, one after the other. */
  async write(count: number): Promise<void> {
    const goal = this.written + count;
    const put = (): void => {
      const { leader } = this.cluster;
      const again = (): void => this.cluster.after(1, put);
      if (this.written >= goal) return;
      if (leader?.member == null) {
        again();
        return;
      }
      const key = Buffer.from(`key-${this.written % 50}`);
      const body = PutRequest.encode(PutRequest.create({ key, value: Buffer.from(`value ${this.written}`) }));
      const data = writeRaftRequest(RaftRequestField.Put, body, 0, body.length, 7, ++this.id, '', 0);
      leader.member.replication.propose(data, {
        done: () => {
          this.written++;
          again();
        },
        fail: again,
      });
    };
    put();
    await this.until(`${count} puts`, () => this.written >= goal);
  }

  get follower(): SimMember {
    return this.cluster.members.find((member) => member !== this.cluster.leader) as SimMember;
  }

  lines(pattern: RegExp): string[] {
    return this.cluster.trace.lines.filter((line) => pattern.test(line));
  }

  /** What everybody holds at the present revision. */
  async hashes(): Promise<Map<string, number>> {
    const { members } = this.cluster;
    const index = Math.max(...members.map((one) => one.state?.appliedIndex ?? 0));
    await this.until('all have applied', () => members.every((one) => one.state?.appliedIndex === index));
    return new Map(members.map((one) => [one.name, hashOf(one)]));
  }
}

interface Hashing {
  readonly revision: number;
  hashKv(revision: number): { readonly hash: number; slice(bytes: number): boolean };
}

function hashOf(member: SimMember): number {
  const store = member.state?.store as unknown as Hashing;
  const job = store.hashKv(0);
  while (!job.slice(1e6));
  return job.hash;
}

/** A key that no entry of the log has put. */
function putBehindItsBack(member: SimMember): void {
  const { store } = member.state as NonNullable<SimMember['state']>;
  store.begin();
  store.put('key-7', Buffer.from('not what the log says'), 0, 21, '0000000000000000');
  store.end();
}

/** One bit of the first record in the store is another one. */
function flipBit(member: SimMember): void {
  const { backend } = member;
  assert.ok(backend !== null);
  let first: { key: Buffer; record: Buffer } | null = null;
  backend.scan('key', null, null, (key, record) => {
    first = { key: Buffer.from(key), record: Buffer.from(record) };
    return false;
  });
  assert.ok(first !== null);
  const { key, record } = first as { key: Buffer; record: Buffer };
  record[record.length - 1] = (record.at(-1) as number) ^ 1;
  backend.put('key', key, record);
}

describe('a follower whose state was changed behind its back', () => {
  test('goes into quarantine, says where it differs, takes the state of another member and serves again', async () => {
    const world = new World(1);
    await world.until('a leader', () => world.cluster.leader !== null && world.cluster.members.every((m) => m.isReady));
    await world.write(600);
    const wrong = world.follower;
    putBehindItsBack(wrong);
    await world.write(600);
    await world.until('the quarantine', () => world.lines(/goes into quarantine/).length > 0);
    const [told] = world.lines(/goes into quarantine/) as [string];
    assert.ok(told.includes(` ${wrong.name} `), told);
    const range = /"from-revision":(\d+),"to-revision":(\d+)/.exec(told);
    assert.ok(range !== null && Number(range[1]) <= 602 && Number(range[2]) >= 602, told);
    await world.until('the way out of it', () => world.lines(/left its quarantine/).length > 0);
    await world.write(600);
    await world.wait(15_000);
    assert.equal(world.lines(/goes into quarantine/).length, 1, 'once');
    const hashes = await world.hashes();
    assert.equal(new Set(hashes.values()).size, 1, [...hashes].join());
  });

  test('stays in it over a restart until it is healed', async () => {
    const world = new World(2);
    await world.until('a leader', () => world.cluster.leader !== null && world.cluster.members.every((m) => m.isReady));
    await world.write(300);
    const wrong = world.follower;
    putBehindItsBack(wrong);
    await world.write(600);
    await world.until('the quarantine', () => world.lines(/goes into quarantine/).length > 0);
    await world.wait(20);
    wrong.losePower();
    wrong.boot();
    await world.until('it serves again', () => world.lines(/left its quarantine/).length > 0);
    assert.equal(world.lines(/is still in quarantine/).length, 1);
    await world.write(300);
    const hashes = await world.hashes();
    assert.equal(new Set(hashes.values()).size, 1, [...hashes].join());
  });

  test('is found by reading everything, where only what is stored differs', async () => {
    const world = new World(3, { stateCheckMs: 5000 });
    await world.until('a leader', () => world.cluster.leader !== null && world.cluster.members.every((m) => m.isReady));
    await world.write(40);
    await world.wait(6000);
    flipBit(world.follower);
    await world.until('the quarantine', () => world.lines(/goes into quarantine/).length > 0);
    assert.equal(world.lines(/the stored state has changed by itself/).length, 1);
    await world.until('the way out of it', () => world.lines(/left its quarantine/).length > 0);
    const hashes = await world.hashes();
    assert.equal(new Set(hashes.values()).size, 1, [...hashes].join());
  });
});

test('a leader that differs hands over first', async () => {
  const world = new World(4);
  await world.until('a leader', () => world.cluster.leader !== null && world.cluster.members.every((m) => m.isReady));
  await world.write(300);
  const wrong = world.cluster.leader as SimMember;
  putBehindItsBack(wrong);
  await world.write(600);
  await world.until('the way out of it', () => world.lines(/left its quarantine/).length > 0);
  assert.notEqual(world.cluster.leader, wrong);
  await world.write(300);
  const hashes = await world.hashes();
  assert.equal(new Set(hashes.values()).size, 1, [...hashes].join());
});

test('where every member differs from every other, nobody is quarantined', async () => {
  const world = new World(5);
  await world.until('a leader', () => world.cluster.leader !== null && world.cluster.members.every((m) => m.isReady));
  await world.write(300);
  const [one, two] = world.cluster.members as [SimMember, SimMember];
  putBehindItsBack(one);
  putBehindItsBack(two);
  putBehindItsBack(two);
  await world.write(600);
  await world.wait(20_000);
  assert.equal(world.lines(/goes into quarantine/).length, 0);
  assert.ok(world.lines(/members differ, and it is not this one/).length > 0);
});

test('in a cluster of two nobody is, for nobody knows who is right', async () => {
  const world = new World(6, { founders: 2 });
  await world.until('a leader', () => world.cluster.leader !== null && world.cluster.members.every((m) => m.isReady));
  await world.write(300);
  putBehindItsBack(world.follower);
  await world.write(600);
  await world.wait(20_000);
  assert.equal(world.lines(/quarantine/).length, 0);
});
