import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, U64_ZERO, u64FromNumber } from '@etsd/base';
import {
  Compare,
  DeleteRangeRequest,
  ErrCompacted,
  ErrFutureRev,
  ErrKeyNotFound,
  ErrLeaseNotFound,
  KeyValue,
  PutRequest,
  RaftRequestField,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import type { OpResult, TxnResult } from './results.ts';
import { type ModelOp, TxnModel } from './txn.model.fixture.ts';
import { Bench } from './world.fixture.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');
const put = (key: string, value: string, more: Partial<PutRequest> = {}) =>
  RequestOp.create({ requestPut: PutRequest.create({ key: bytes(key), value: bytes(value), ...more }) });
const range = (key: string, more: Partial<RangeRequest> = {}) =>
  RequestOp.create({ requestRange: RangeRequest.create({ key: bytes(key), ...more }) });
const remove = (key: string, more: Partial<DeleteRangeRequest> = {}) =>
  RequestOp.create({ requestDeleteRange: DeleteRangeRequest.create({ key: bytes(key), ...more }) });
const nested = (txn: Partial<TxnRequest>) => RequestOp.create({ requestTxn: TxnRequest.create(txn) });
const txn = (bench: Bench, request: Partial<TxnRequest>, waited = true) =>
  bench.apply(RaftRequestField.Txn, TxnRequest.encode(TxnRequest.create(request)), waited);

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const VALUES = ['', 'x', 'y', 'zz'];
const LEASES = [U64_ZERO, u64FromNumber(1), u64FromNumber(2), 'fffffffffffffff6'];

/** Random transactions over few keys, so that compares hold and operations meet. */
class Generator {
  private readonly random: Prng;
  private readonly model: TxnModel;

  constructor(random: Prng, model: TxnModel) {
    this.random = random;
    this.model = model;
  }

  request(depth: number): TxnRequest {
    const count = (limit: number) => this.random.below(limit + 1);
    const many = <T>(limit: number, make: () => T): T[] => Array.from({ length: count(limit) }, make);
    return TxnRequest.create({
      compare: many(2, () => this.compare()),
      success: many(4, () => this.op(depth)),
      failure: many(3, () => this.op(depth)),
    });
  }

  private pick<T>(from: readonly T[]): T {
    return from[this.random.below(from.length)] as T;
  }

  private rangeEnd(): Buffer {
    return this.pick([bytes(''), bytes(''), bytes('\0'), bytes(this.pick(NAMES))]);
  }

  private compare(): Compare {
    const near = () => this.random.below(this.model.revision + 2);
    const compare = Compare.create({
      key: bytes(this.pick(NAMES)),
      rangeEnd: this.rangeEnd(),
      result: this.random.below(5),
      target: this.random.below(6),
    });
    const union = this.random.below(6);
    if (union === 0) compare.version = this.random.below(4);
    if (union === 1) compare.createRevision = near();
    if (union === 2) compare.modRevision = near();
    if (union === 3) compare.value = bytes(this.pick(VALUES));
    if (union === 4) compare.lease = this.pick(LEASES);
    return compare;
  }

  private op(depth: number): RequestOp {
    const kind = this.random.below(depth > 0 ? 11 : 9);
    if (kind < 3) {
      const revision = this.random.below(4) > 0 ? 0 : this.random.below(this.model.revision + 2);
      return range(this.pick(NAMES), { rangeEnd: this.rangeEnd(), revision, limit: this.random.below(3) });
    }
    if (kind < 6) return this.put();
    if (kind < 8) return remove(this.pick(NAMES), { rangeEnd: this.rangeEnd(), prevKv: this.random.below(2) === 0 });
    if (kind === 8) return new RequestOp();
    return RequestOp.create({ requestTxn: this.request(depth - 1) });
  }

  private put(): RequestOp {
    const lease = this.pick(LEASES);
    return put(this.pick(NAMES), this.pick(VALUES), {
      lease,
      prevKv: this.random.below(2) === 0,
      ignoreValue: this.random.below(6) === 0,
      ignoreLease: lease === U64_ZERO && this.random.below(6) === 0,
    });
  }
}

function told(op: OpResult): ModelOp {
  const decode = (records: Buffer[]) => records.map((record) => KeyValue.decode(record));
  switch (op.kind) {
    case 'range': {
      const found = decode(op.records);
      return {
        kind: 'range',
        revision: op.revision,
        keys: found.map((kv) => kv.key.toString('latin1')),
        values: found.map((kv) => kv.value.toString('latin1')),
        count: op.count,
        more: op.more,
      };
    }
    case 'put': {
      const previous = op.previous === null ? null : KeyValue.decode(op.previous).value.toString('latin1');
      return { kind: 'put', revision: op.revision, previous };
    }
    case 'delete': {
      const previous = decode(op.records).map((kv) => kv.value.toString('latin1'));
      return { kind: 'delete', revision: op.revision, count: op.count, previous };
    }
    case 'txn':
      assert.equal(op.revision, 0, 'a nested transaction names no revision');
      return { kind: 'txn', succeeded: op.succeeded, ops: op.ops.map(told) };
    default:
      return { kind: 'none' };
  }
}

const ERROR_TEXTS: Record<string, string> = {
  'key not found': ErrKeyNotFound.message,
  'lease not found': ErrLeaseNotFound.message,
  future: ErrFutureRev.message,
  compacted: ErrCompacted.message,
};

// Goal: any transaction answers, fails and changes the store as the plain model says, whatever it holds.
// Method: random transactions over six keys to both; every answer and every tenth state are compared.
for (const seed of [1, 2, 3, 4]) {
  test(`transactions equal the plain model (seed ${seed})`, () => {
    const random = new Prng(seed);
    const model = new TxnModel();
    const bench = new Bench();
    for (const lease of LEASES.slice(1, 3)) {
      model.leases.add(lease);
      bench.lessor.leases.add(lease);
    }
    const generator = new Generator(random, model);
    let failures = 0;
    for (let round = 0; round < 400; round++) {
      const request = generator.request(2);
      const answer = txn(bench, request);
      // An operation may have deleted what a later one wants to keep: there the model keeps "nothing", as we do.
      const expected = model.run(request);
      const where = `seed ${seed} round ${round}: ${JSON.stringify(request)}`;
      if (expected.error !== null) {
        failures++;
        assert.equal(answer.error?.message, ERROR_TEXTS[expected.error], where);
      } else {
        assert.equal(answer.error, null, where);
        const result = answer.result as TxnResult;
        assert.deepEqual(
          { error: null, succeeded: result.succeeded, revision: result.revision, ops: result.ops.map(told) },
          expected,
          where,
        );
      }
      if (random.below(40) === 0 && model.revision > 3) {
        model.compactRevision = bench.store.compactRevision = model.revision - random.below(3);
      }
      if (round % 10 === 0) assertSameState(bench, model, where);
    }
    assertSameState(bench, model, `seed ${seed} at the end`);
    assert.ok(failures > 20, 'enough transactions must have been refused');
    assert.ok(model.revision > 100, 'enough transactions must have written');
  });
}

function assertSameState(bench: Bench, model: TxnModel, where: string): void {
  assert.equal(bench.store.revision, model.revision, where);
  for (const name of NAMES) {
    const wanted = model.current.get(name);
    assert.equal(bench.store.lookup(name, 0), wanted !== undefined, `${where} key ${name}`);
    assert.equal(bench.lessor.leaseOf(name), wanted?.lease ?? U64_ZERO, `${where} lease of ${name}`);
    if (wanted === undefined) continue;
    const { mainRevision, subRevision } = bench.store.found;
    const kv = KeyValue.decode(bench.store.record(mainRevision, subRevision));
    const { createRevision, modRevision, version, value, lease } = kv;
    assert.deepEqual(
      { create: createRevision, mod: modRevision, version, value: value.toString('latin1'), lease },
      wanted,
      `${where} key ${name}`,
    );
  }
}

// Goal: revisions of the operations' own headers are those of real etcd (seen on 3.5.30).
test('reads before the first write of a transaction show the revision before it', () => {
  const bench = new Bench();
  txn(bench, { success: [put('a', '1')] });
  const answer = txn(bench, {
    success: [
      range('a'),
      remove('nothing'),
      put('c', '3'),
      remove('nothing'),
      nested({ success: [range('c'), put('d', '1')] }),
    ],
  });
  const { ops, revision } = answer.result as TxnResult;
  assert.equal(revision, 3);
  assert.deepEqual(
    ops.map((op) => op.revision),
    [2, 2, 3, 3, 0],
  );
  assert.deepEqual(
    (ops[4] as OpResult).ops.map((op) => op.revision),
    [3, 3],
  );
});

// Goal: a refused transaction writes nothing, also where the refused operation comes after a write.
test('a transaction with one bad operation changes nothing', () => {
  const bench = new Bench();
  const answer = txn(bench, { success: [put('a', '1'), put('b', '1', { lease: u64FromNumber(77) })] });
  assert.equal(answer.error, ErrLeaseNotFound);
  assert.equal(bench.store.revision, 1);
  assert.equal(bench.store.keys.size, 0);
});

// Goal: within a transaction a negative revision is checked against the compaction, unlike in a range on its own.
test('a negative revision within a transaction is compacted once there was a compaction', () => {
  const bench = new Bench();
  txn(bench, { success: [put('a', '1')] });
  assert.equal(txn(bench, { success: [range('a', { revision: -2 })] }).error, ErrCompacted);
  assert.equal(txn(bench, { success: [range('a', { revision: -1 })] }).error, null);
  bench.store.compactRevision = 0;
  assert.equal(txn(bench, { success: [range('a', { revision: -1 })] }).error, ErrCompacted);
});

// Goal: the answer of a read-only transaction is that of the same one through the log.
test('a transaction of reads answers the same with and without the log', () => {
  const bench = new Bench();
  txn(bench, { success: [put('a', '1'), put('b', '2')] });
  const request = TxnRequest.create({
    compare: [Compare.create({ key: bytes('a'), target: 3, value: bytes('1') })],
    success: [range('a', { rangeEnd: bytes('\0'), limit: 1 }), range('zz')],
  });
  const logged = txn(bench, request).result as TxnResult;
  const read = bench.state.txn.read(request) as TxnResult;
  assert.deepEqual(read.ops.map(told), logged.ops.map(told));
  assert.equal(read.revision, logged.revision);
});

// Goal: however often a transaction asks for everything, what is held for its answer is bounded, and its writes count.
test('a transaction that reads too much is applied, and reads no further', () => {
  const bench = new Bench();
  txn(bench, { success: [put('a', 'x'.repeat(1000)), put('b', 'x'.repeat(1000))] });
  bench.state.txn.answerBytesMax = 5000;
  let ranges = 0;
  const { store } = bench;
  const original = store.range.bind(store);
  store.range = (...args) => {
    ranges++;
    return original(...args);
  };
  const all = { rangeEnd: bytes('\0') };
  const most = Array.from({ length: 100 }, () => range('a', all));
  const fits = txn(bench, { success: [range('a', all), range('a', all)] }).result as TxnResult;
  assert.deepEqual([fits.isTooLarge, ranges], [false, 2]);
  const { isTooLarge, ops } = txn(bench, { success: [...most, put('c', '1')] }).result as TxnResult;
  assert.deepEqual([isTooLarge, ops.length, ranges], [true, 0, 5]);
  assert.equal(store.lookup('c', 0), true);
  txn(bench, { success: [...most, remove('a', { ...all, prevKv: true })] });
  assert.equal(store.lookup('a', 0), false);
  txn(bench, { success: [put('a', 'x'.repeat(9000))] });
  const { isTooLarge: isLarge, ops: keys } = bench.state.txn.read(
    TxnRequest.create({ success: [range('a', { keysOnly: true }), range('a', { keysOnly: true })] }),
  ) as TxnResult;
  assert.deepEqual(
    [isLarge, keys.map((op) => op.count)],
    [false, [1, 1]],
    'values that are not asked for do not count',
  );
});

// Goal: whoever nobody waits for is applied all the same; only the results are not gathered.
test('applying without a waiter has the same effects', () => {
  const waited = new Bench();
  const unwaited = new Bench();
  const random = new Prng(9);
  const generator = new Generator(random, new TxnModel());
  for (let round = 0; round < 200; round++) {
    const request = generator.request(2);
    txn(waited, request);
    txn(unwaited, request, false);
  }
  assert.deepEqual(unwaited.store.keys, waited.store.keys);
  assert.deepEqual(unwaited.lessor.attached, waited.lessor.attached);
});
