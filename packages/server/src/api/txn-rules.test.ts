import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import {
  Compare,
  DeleteRangeRequest,
  ErrDuplicateKey,
  ErrEmptyKey,
  ErrInvalidSortOption,
  ErrKeyNotFound,
  ErrLeaseProvided,
  ErrTooManyOps,
  ErrValueProvided,
  type EtcdError,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import { checkTxn, isReadOnly, isSerializable, txnCost } from './txn-rules.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');
const put = (key: string, more: Partial<PutRequest> = {}) =>
  RequestOp.create({ requestPut: PutRequest.create({ key: bytes(key), ...more }) });
const range = (key: string, more: Partial<RangeRequest> = {}) =>
  RequestOp.create({ requestRange: RangeRequest.create({ key: bytes(key), ...more }) });
const del = (key: string, end = '') =>
  RequestOp.create({ requestDeleteRange: DeleteRangeRequest.create({ key: bytes(key), rangeEnd: bytes(end) }) });
const txn = (success: RequestOp[], failure: RequestOp[] = [], compare: Compare[] = []) =>
  TxnRequest.create({ success, failure, compare });
const nested = (success: RequestOp[], failure: RequestOp[] = []) =>
  RequestOp.create({ requestTxn: txn(success, failure) });
const many = (count: number, op: () => RequestOp) => Array.from({ length: count }, op);

// Goal: every rule, each row as etcd 3.5.30 answered it (but the sort option, on which it crashes).
const ROWS: [name: string, request: TxnRequest, error: EtcdError | null][] = [
  ['nothing', txn([]), null],
  ['an operation without content', txn([new RequestOp()]), ErrKeyNotFound],
  ['a compare without a key', txn([], [], [new Compare()]), ErrEmptyKey],
  [
    'too many compares come before their keys',
    txn(
      [],
      [],
      many(129, () => new RequestOp()).map(() => new Compare()),
    ),
    ErrTooManyOps,
  ],
  ['128 operations', txn(many(128, () => range('a'))), null],
  ['129 operations', txn(many(129, () => range('a'))), ErrTooManyOps],
  [
    'nested: one more than is left',
    txn([...many(126, () => range('k')), nested(many(3, () => range('k')))]),
    ErrTooManyOps,
  ],
  ['nested: as many as are left', txn([...many(126, () => range('k')), nested([range('k')])]), null],
  ['a put without a key in the other branch', txn([], [put('')]), ErrEmptyKey],
  ['a range without a key', txn([], [range('')]), ErrEmptyKey],
  ['a deletion without a key', txn([del('')]), ErrEmptyKey],
  ['a value where none is wanted', txn([put('a', { value: bytes('x'), ignoreValue: true })]), ErrValueProvided],
  ['a lease where none is wanted', txn([put('a', { lease: '0000000000000001', ignoreLease: true })]), ErrLeaseProvided],
  ['an order that is none', txn([range('a', { sortOrder: 7 })]), ErrInvalidSortOption],
  ['a target that is none', txn([range('a', { sortTarget: 9 })]), ErrInvalidSortOption],
  ['two puts', txn([put('x'), put('x')]), ErrDuplicateKey],
  ['put in each branch', txn([put('x')], [put('x')]), null],
  ['deletion, then put', txn([del('x', 'z'), put('y')]), ErrDuplicateKey],
  ['put, then deletion', txn([put('y'), del('x', 'z')]), ErrDuplicateKey],
  ['the end of a deletion is outside', txn([del('x', 'z'), put('z')]), null],
  ['two deletions', txn([del('x', 'z'), del('y')]), null],
  ['a nested put of the same key', txn([put('x'), nested([], [put('x')])]), ErrDuplicateKey],
  ['both branches of a nested one', txn([nested([put('x')], [put('x')])]), null],
  ['two nested ones', txn([nested([put('x')]), nested([], [put('x')])]), ErrDuplicateKey],
  ['deletion and put in the two branches of a nested one', txn([nested([del('x')], [put('x')])]), null],
  ['nested deletion, then nested put', txn([nested([del('x')]), nested([put('x')])]), ErrDuplicateKey],
  ['nested put, then nested deletion', txn([nested([put('x')]), nested([del('x')])]), null],
  ['an open end forbids nothing', txn([del('x', '\0'), put('y')]), null],
  ['an empty range forbids nothing', txn([del('z', 'a'), put('z')]), null],
  [
    'but a value can not be kept of what an open end deletes',
    txn([del('x', '\0'), put('y', { ignoreValue: true })]),
    ErrDuplicateKey,
  ],
  ['below the open end it can', txn([del('x', '\0'), put('a', { ignoreLease: true })]), null],
];
for (const [name, request, error] of ROWS) {
  test(`transactions: ${name}`, () => assert.equal(checkTxn(request, 128), error));
}

interface NaiveWrites {
  puts: Set<string>;
  dels: [string, string][];
}

/** The rule on duplicates, told as plainly as possible; null where it is broken. Open ends are not made here. */
function naive(ops: RequestOp[]): NaiveWrites | null {
  const writes: NaiveWrites = { puts: new Set(), dels: [] };
  const text = (buffer: Buffer) => buffer.toString('latin1');
  const isDeleted = (key: string) => writes.dels.some(([from, to]) => from <= key && key < to);
  for (const { requestDeleteRange: each } of ops) {
    if (each === null) continue;
    const key = text(each.key);
    writes.dels.push([key, each.rangeEnd.length === 0 ? `${key}\0` : text(each.rangeEnd)]);
  }
  for (const { requestTxn } of ops) {
    if (requestTxn === null) continue;
    const [yes, no] = [naive(requestTxn.success), naive(requestTxn.failure)];
    if (yes === null || no === null) return null;
    const both = [...yes.puts, ...no.puts];
    if (both.some((key) => writes.puts.has(key) || isDeleted(key))) return null;
    for (const key of both) writes.puts.add(key);
    writes.dels.push(...yes.dels, ...no.dels);
  }
  for (const { requestPut } of ops) {
    if (requestPut === null) continue;
    const key = text(requestPut.key);
    if (writes.puts.has(key) || isDeleted(key)) return null;
    writes.puts.add(key);
  }
  return writes;
}

// Goal: the fast check of what may stand beside what is the plain one. Method: random nested branches.
test('duplicates: the check over sorted intervals equals the plain one', () => {
  const random = new Prng(11);
  const key = () => String.fromCharCode(97 + random.below(12));
  const ops = (depth: number): RequestOp[] =>
    Array.from({ length: random.below(4) }, () => {
      const kind = random.below(depth > 0 ? 4 : 3);
      if (kind === 0) return put(key());
      if (kind === 1) return del(key());
      if (kind === 2) return del(key(), key());
      return nested(ops(depth - 1), ops(depth - 1));
    });
  let refused = 0;
  for (let round = 0; round < 5000; round++) {
    const branch = ops(3);
    const expected = naive(branch) === null ? ErrDuplicateKey : null;
    if (expected !== null) refused++;
    assert.equal(checkTxn(txn(branch), 1000), expected, JSON.stringify(branch));
  }
  assert.ok(refused > 500 && refused < 4500, `${refused} refused`);
});

// Goal: a transaction of the largest size is checked within the bound of the event loop.
test('duplicates: deep and wide nesting stays cheap', () => {
  let depth: RequestOp[] = [put('deepest')];
  let name = 0;
  for (let level = 0; level < 60; level++) {
    const wide = many(60, () => nested([del(`d${name}`, `d${name++}x`), put(`p${name++}`)]));
    depth = [...wide, nested(depth)];
  }
  // Processor time: other processes may hold the machine meanwhile.
  const started = process.cpuUsage();
  assert.equal(checkTxn(txn(depth), 100_000), null);
  const took = process.cpuUsage(started).user / 1000;
  assert.ok(took < 500, `${took} ms`);
});

test('which transactions skip the log', () => {
  assert.equal(isReadOnly(txn([])), true);
  assert.equal(isReadOnly(txn([range('a')], [range('b')])), true);
  assert.equal(isReadOnly(txn([range('a'), put('b')])), false);
  assert.equal(isReadOnly(txn([nested([range('a')])])), false);
  assert.equal(isSerializable(txn([])), true);
  assert.equal(isSerializable(txn([range('a', { serializable: true })])), true);
  assert.equal(isSerializable(txn([range('a', { serializable: true })], [range('a')])), false);
});

test('a transaction costs its dearer branch', () => {
  const cheap = put('a', { value: bytes('1') });
  assert.equal(txnCost(txn([range('a'), del('b')])), 0);
  assert.equal(txnCost(txn([cheap], [cheap, cheap])), 2 * 258);
  assert.equal(txnCost(txn([nested([], [cheap]), cheap])), 2 * 258);
});
