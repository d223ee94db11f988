import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Prng } from './prng.ts';
import {
  U64_ZERO,
  u64FromBytes,
  u64FromDecimal,
  u64FromHalves,
  u64FromHex,
  u64FromNumber,
  u64High,
  u64IsNegative,
  u64Low,
  u64ToDecimal,
  u64ToHex,
  u64ToSignedDecimal,
  u64WriteBytes,
} from './u64.ts';

describe('u64', () => {
  it('agrees with bigint on random ids, in every form (seed 7)', () => {
    const prng = new Prng(7);
    for (let round = 0; round < 2000; round++) {
      const high = prng.chance(0.2) ? 0 : prng.u32();
      const low = prng.u32();
      const value = (BigInt(high) << 32n) | BigInt(low);
      const id = u64FromHalves(high, low);
      assert.equal(id, value.toString(16).padStart(16, '0'));
      assert.equal(u64High(id), high);
      assert.equal(u64Low(id), low);
      assert.equal(u64ToHex(id), value.toString(16));
      assert.equal(u64ToDecimal(id), value.toString());
      assert.equal(u64ToSignedDecimal(id), BigInt.asIntN(64, value).toString());
      assert.equal(u64IsNegative(id), BigInt.asIntN(64, value) < 0n);
      assert.equal(u64FromDecimal(value.toString()), id);
      assert.equal(u64FromDecimal(BigInt.asIntN(64, value).toString()), id);
      assert.equal(u64FromHex(value.toString(16).toUpperCase()), id);
      const bytes = Buffer.alloc(9);
      assert.equal(u64WriteBytes(id, bytes, 1), 9);
      assert.equal(u64FromBytes(bytes, 1), id);
    }
  });

  it('takes negative halves as the same bits', () => assert.equal(u64FromHalves(-1, -2), 'fffffffffffffffe'));

  it('has one zero', () => {
    assert.equal(u64FromHalves(0, 0), U64_ZERO);
    assert.equal(u64FromNumber(0), U64_ZERO);
    assert.equal(u64ToHex(U64_ZERO), '0');
  });

  it('keeps the upper bits of large numbers', () => assert.equal(u64FromNumber(2 ** 52 + 1), '0010000000000001'));

  it('refuses what is no 64-bit number', () => {
    for (const text of ['', 'g', '0x1', '11112222333344445']) assert.equal(u64FromHex(text), undefined, text);
    for (const text of ['', '1.5', '18446744073709551616', '-9223372036854775809', 'a']) {
      assert.equal(u64FromDecimal(text), undefined, text);
    }
  });
});
