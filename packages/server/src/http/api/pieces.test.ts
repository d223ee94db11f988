/** Addresses, tags and ranges of the API, one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { FakeExchange } from '../exchange.fixture.ts';
import { percentDecode, Query } from './address.ts';
import { isKnownTo, preconditionOf } from './etags.ts';
import { Problem } from './problem.ts';
import { prefixEndOf, readLease, showLease } from './render.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

test('goal: any bytes can be a key in a path; method: random ones, escaped in random ways', (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Prng(seed);
  for (let round = 0; round < 500; round++) {
    const bytes = random.bytes(random.below(20));
    const path = [...bytes]
      .map((byte) => {
        const letter = String.fromCharCode(byte);
        if (/[A-Za-z0-9/._~-]/.test(letter) && random.chance(0.8)) return letter;
        const digits = byte.toString(16).padStart(2, '0');
        return `%${random.chance(0.5) ? digits : digits.toUpperCase()}`;
      })
      .join('');
    assert.deepEqual(percentDecode(path), bytes);
  }
  assert.equal(percentDecode('a+ü').toString(), 'a+ü');
  assert.equal(percentDecode('a+b%2B', true).toString(), 'a b+');
  for (const wrong of ['%', '%1', '%g1', '%1g', 'a%']) assert.throws(() => percentDecode(wrong), Problem, wrong);
});

test('goal: parameters are what they say, and nothing that is not known or given twice', () => {
  const query = new Query('prefix=%ff/&flag&on=true&off=false&n=7&empty=&__proto__=x');
  assert.deepEqual(query.bytes('prefix'), Buffer.from([0xff, 0x2f]));
  assert.deepEqual(
    [query.flag('flag'), query.flag('on'), query.flag('off'), query.flag('none')],
    [true, true, false, false],
  );
  assert.deepEqual([query.number('n', 1, 0, 9), query.number('none', 1, 0, 9)], [7, 1]);
  assert.equal(query.text('empty'), '');
  assert.equal(query.has('constructor'), false);
  assert.throws(() => query.number('n', 1, 0, 6), Problem);
  assert.throws(() => query.number('empty', 1, 0, 6), Problem);
  assert.throws(() => query.flag('n'), Problem);
  assert.throws(() => query.allow('prefix'), Problem);
  assert.throws(() => new Query('a=1&a=2'), Problem);
  assert.doesNotThrow(() => new Query('&&').allow());
});

test('goal: conditions of RFC 9110 that a revision can answer, no others', () => {
  const given = (headers: Record<string, string>): FakeExchange => new FakeExchange({ target: '/', headers });
  assert.equal(preconditionOf(given({})), null);
  assert.deepEqual(preconditionOf(given({ 'if-match': ' "12" ' })), { kind: 'revision', revision: 12 });
  assert.deepEqual(preconditionOf(given({ 'if-match': '*' })), { kind: 'present' });
  assert.deepEqual(preconditionOf(given({ 'if-none-match': '*' })), { kind: 'absent' });
  for (const match of ['12', 'W/"12"', '"a"', '"1", "2"', '', '"-1"']) {
    assert.throws(() => preconditionOf(given({ 'if-match': match })), Problem, match);
  }
  const known = (tags: string): boolean => isKnownTo(given({ 'if-none-match': tags }), 7);
  assert.deepEqual(['"7"', 'W/"7"', '"6", "7"', '*', '"8"', '7', ''].map(known), [
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('goal: the end of a prefix, and ids of leases', () => {
  assert.deepEqual(prefixEndOf(Buffer.from('ab')), Buffer.from('ac'));
  assert.deepEqual(prefixEndOf(Buffer.from([1, 0xff, 0xff])), Buffer.from([2]));
  assert.deepEqual(prefixEndOf(Buffer.from([0xff])), Buffer.from([0]));
  assert.deepEqual(prefixEndOf(Buffer.alloc(0)), Buffer.from([0]));
  for (const id of ['1', '9223372036854775807', '-1', '-9223372036854775808'])
    assert.equal(showLease(readLease(id)), id);
  for (const wrong of ['', 'x', '0x1', '1.5', '99999999999999999999']) assert.throws(() => readLease(wrong), Problem);
});
