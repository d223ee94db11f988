import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inRange, isEmptyRange, keyFromBytes, keyToBytes, OPEN_END, prefixEnd, successor } from './bytes.ts';
import { Prng } from './prng.ts';

describe('keys as one-byte strings', () => {
  it('keep every byte and order as bytes do (seed 3)', () => {
    const prng = new Prng(3);
    for (let round = 0; round < 3000; round++) {
      const a = prng.bytes(prng.below(5));
      const b = prng.bytes(prng.below(5));
      const [keyA, keyB] = [keyFromBytes(a), keyFromBytes(b)];
      assert.deepEqual(keyToBytes(keyA), a);
      assert.equal(Math.sign(Buffer.compare(a, b)), keyA < keyB ? -1 : keyA > keyB ? 1 : 0);
    }
  });
});

describe('ranges in etcd convention', () => {
  const cases: ReadonlyArray<readonly [key: string, end: string, candidate: string, inside: boolean]> = [
    ['a', '', 'a', true],
    ['a', '', 'b', false],
    ['a', 'c', 'b', true],
    ['a', 'c', 'c', false],
    ['b', OPEN_END, 'zzz', true],
    ['b', OPEN_END, 'a', false],
    ['\0', OPEN_END, '', false],
    ['\0', OPEN_END, '\0', true],
    ['c', 'a', 'b', false],
  ];
  for (const [key, end, candidate, inside] of cases) {
    it(`(${JSON.stringify(key)}, ${JSON.stringify(end)}) ${inside ? 'holds' : 'does not hold'} ${JSON.stringify(candidate)}`, () =>
      assert.equal(inRange(candidate, key, end), inside));
  }

  it('a prefix ends where its last byte that can grow has grown', () => {
    assert.equal(prefixEnd('foo'), 'fop');
    assert.equal(prefixEnd('a\xff'), 'b');
    assert.equal(prefixEnd('\xff\xff'), OPEN_END);
    assert.equal(prefixEnd(''), OPEN_END);
  });

  it('nothing lies between a key and its successor', () =>
    assert.equal(inRange(successor('a'), 'a', successor('a')), false));

  it('only a reversed or equal end makes a range empty', () => {
    assert.equal(isEmptyRange('b', 'a'), true);
    assert.equal(isEmptyRange('a', 'a'), true);
    assert.equal(isEmptyRange('a', ''), false);
    assert.equal(isEmptyRange('a', OPEN_END), false);
  });
});
