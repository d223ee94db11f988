/** Three members in memory that ask each other for hashes as they would over the network. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { type Logger, silentLogger, type U64, U64_ZERO, u64FromNumber } from '@etsd/base';
import { revisionKey, Store } from '@etsd/mvcc';
import { ErrTimeout } from '@etsd/proto';
import { CorruptionCheck } from './corruption-check.ts';
import { KvHashes } from './kv-hashes.ts';
import type { PeerRequests } from './member-versions.ts';
import { answerHash, type HashAnswer, PeerHashes } from './peer-hashes.ts';

const CLUSTER = u64FromNumber(0xcc);
const runner = {
  add(job: { step(): boolean }): void {
    while (!job.step());
  },
};

class TestMember {
  readonly backend = new MemoryBackend();
  readonly store = new Store(this.backend);
  readonly hashes: KvHashes;
  isDown = false;

  constructor() {
    this.store.open();
    this.hashes = new KvHashes({ store: this.store, runner });
  }

  put(value: string): void {
    const bytes = Buffer.from(value);
    this.store.begin();
    this.store.put('k', bytes, 0, bytes.length, U64_ZERO);
    this.store.end();
  }

  compact(revision: number): void {
    assert.equal(this.store.compact(revision), null);
    while (!this.store.compactSlice(1000));
  }

  /** As a disk that lies: another value under a revision. */
  spoil(revision: number): void {
    const key = revisionKey(revision, 0);
    const record = Buffer.from(this.backend.get('key', key) as Buffer);
    const last = record.indexOf('v'.charCodeAt(0));
    record[last] = 0x58;
    this.backend.put('key', key, record);
  }

  answer(body: string, cluster = ''): HashAnswer {
    let said: HashAnswer | null = null;
    answerHash(
      { hashes: this.hashes, clusterId: CLUSTER, logger: silentLogger },
      cluster,
      Buffer.from(body),
      (answer) => {
        said = answer;
      },
    );
    assert.ok(said !== null);
    return said;
  }
}

class Bench {
  readonly members: TestMember[];
  readonly ids: U64[];
  readonly raised: number[] = [];
  readonly lines: string[] = [];
  readonly check: CorruptionCheck;
  isCutOff = false;

  /** The first member is the one that checks. */
  constructor(count = 3) {
    this.members = Array.from({ length: count }, () => new TestMember());
    this.ids = this.members.map((_, index) => u64FromNumber(index + 1));
    const logger: Logger = { enabled: () => true, log: (_level, message) => void this.lines.push(message) };
    const peers: PeerRequests = {
      request: (id, method, path, body, contentType, _timeout, done) => {
        assert.deepEqual([method, path, contentType], ['GET', '/members/hashkv', 'application/json']);
        const member = this.members[this.ids.indexOf(id)] as TestMember;
        if (member.isDown) return done(new Error('connection refused'), 0, Buffer.alloc(0));
        const answer = member.answer((body as Buffer).toString());
        done(null, answer.status, Buffer.from(answer.body));
      },
    };
    const [first] = this.members as [TestMember];
    const memberId = this.ids[0] as U64;
    const members = () => this.ids.map((id) => ({ id, peerURLs: ['http://h:1'] }));
    this.check = new CorruptionCheck({
      memberId,
      own: first.hashes,
      peers: new PeerHashes({ memberId, peers, members, timeoutMs: 7000, logger }),
      compactionHashes: () => first.store.compactionHashes.all(),
      readBarrier: (waiter) => (this.isCutOff ? waiter.fail(ErrTimeout) : waiter.done(null)),
      raise: (id) => this.raised.push(Number(`0x${id}`)),
      requestTimeoutMs: 7000,
      logger,
    });
  }

  all(act: (member: TestMember) => void): void {
    for (const member of this.members) act(member);
  }

  said(text: string): boolean {
    return this.lines.some((line) => line.includes(text));
  }
}

function written(count = 3): Bench {
  const bench = new Bench(count);
  for (let at = 0; at < 5; at++) bench.all((member) => member.put(`v${at}`));
  return bench;
}

describe('the answer to a question for a hash', () => {
  // Goal: what 3.5.30 answers, body for body.
  const { members } = written(1);
  const [member] = members as [TestMember];
  member.compact(3);
  const rows: [question: string, cluster: string, status: number, answer: string | RegExp][] = [
    ['', '', 400, 'error unmarshalling request\n'],
    ['x', '', 400, 'error unmarshalling request\n'],
    ['[]', '', 400, 'error unmarshalling request\n'],
    ['{"revision":"3"}', '', 400, 'error unmarshalling request\n'],
    ['{"revision":99}', '', 400, 'mvcc: required revision is a future revision\n'],
    ['{"revision":2}', '', 400, 'mvcc: required revision has been compacted\n'],
    ['{}', '1234', 412, 'cluster ID mismatch\n'],
    ['{}', 'cc', 200, /^\{"header":\{"revision":6\},"hash":\d+,"compact_revision":3\}$/],
    ['null', '', 200, /"compact_revision":3/],
    ['{"Revision":3}', '', 200, /"compact_revision":-1/],
    ['{"revision":5}', '', 200, /^\{"header":\{"revision":6\}/],
  ];
  for (const [question, cluster, status, answer] of rows) {
    test(`${question} ${cluster}`, () => {
      const said = member.answer(question, cluster);
      assert.equal(said.status, status);
      if (typeof answer === 'string') assert.equal(said.body, answer);
      else assert.match(said.body, answer);
    });
  }
});

describe('the check before serving', () => {
  test('equal members pass; slow, compacted and missing ones say nothing against it', async () => {
    const bench = written();
    await bench.check.initial();
    const [one, two, three] = bench.members as [TestMember, TestMember, TestMember];
    one.put('v9');
    three.isDown = true;
    await bench.check.initial();
    assert.ok(bench.said('cannot fetch hash from slow remote peer'));
    two.put('v9');
    two.put('v9');
    two.compact(8);
    await bench.check.initial();
    assert.ok(bench.said('local member is behind'));
  });

  test('another value at the same revision keeps the member from starting', async () => {
    const bench = written();
    bench.members[0]?.spoil(3);
    await assert.rejects(bench.check.initial(), { message: '1 found data inconsistency with peers' });
  });

  test('members that compacted differently can not be compared', async () => {
    const bench = written();
    bench.members[0]?.spoil(6);
    bench.members[1]?.compact(4);
    bench.members[2]?.compact(4);
    await bench.check.initial();
    assert.ok(bench.said('found different compact revision values'));
  });
});

describe('the periodic check', () => {
  test('raises nothing where members are equal, whatever they compacted', async () => {
    const bench = written();
    await bench.check.periodic();
    bench.all((member) => member.compact(4));
    await bench.check.periodic();
    assert.deepEqual(bench.raised, []);
  });

  test('raises the alarm of the member that differs, once a pass', async () => {
    const bench = written();
    bench.members[1]?.spoil(4);
    bench.members[2]?.spoil(5);
    await bench.check.periodic();
    assert.deepEqual(bench.raised, [2]);
  });

  test('a follower ahead of the leader, or compacted further, can not be right', async () => {
    const ahead = written();
    ahead.members[2]?.put('v7');
    await ahead.check.periodic();
    assert.deepEqual(ahead.raised, [3]);
    const compacted = written();
    compacted.members[1]?.compact(2);
    await compacted.check.periodic();
    assert.deepEqual(compacted.raised, [2]);
  });

  // Goal: the leader's own data may be what changes between two looks.
  test('a leader whose own hash changes accuses itself', async () => {
    const bench = written();
    const [first] = bench.members as [TestMember];
    const byRevision = first.hashes.byRevision.bind(first.hashes);
    let looks = 0;
    first.hashes.byRevision = (revision, done) => {
      if (++looks === 2) first.spoil(4);
      byRevision(revision, done);
    };
    await bench.check.periodic();
    assert.deepEqual(bench.raised, [1]);
  });

  test('without a majority nobody is accused', async () => {
    const bench = written();
    bench.members[1]?.spoil(4);
    bench.isCutOff = true;
    await assert.rejects(bench.check.periodic());
    assert.deepEqual(bench.raised, []);
  });
});

describe('the check of compactions', () => {
  test('goes back until it could ask everybody, and not further the next time', async () => {
    const bench = written();
    const [, , third] = bench.members as [TestMember, TestMember, TestMember];
    bench.all((member) => member.compact(3));
    third.isDown = true;
    await bench.check.compactions();
    assert.ok(bench.said('was not able to check all peers'));
    third.isDown = false;
    await bench.check.compactions();
    assert.ok(bench.said('successfully checked hash on whole cluster'));
    bench.lines.length = 0;
    await bench.check.compactions();
    assert.ok(!bench.said('successfully checked'), 'it is not asked for again');
    assert.deepEqual(bench.raised, []);
  });

  test('the minority is at fault, be it the leader', async () => {
    for (const guilty of [0, 1]) {
      const bench = written();
      bench.members[guilty]?.spoil(4);
      bench.all((member) => member.compact(4));
      await bench.check.compactions();
      assert.deepEqual(bench.raised, [guilty + 1]);
    }
  });

  test('of two that differ nobody knows which is right: the alarm is that of the cluster', async () => {
    const bench = written(2);
    bench.members[1]?.spoil(4);
    bench.all((member) => member.compact(4));
    await bench.check.compactions();
    assert.deepEqual(bench.raised, [0]);
  });
});
