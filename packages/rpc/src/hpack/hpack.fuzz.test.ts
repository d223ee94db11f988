/**
 * Goal: a header block of any bytes is decoded within its limits or refused; the decoder looks at nothing but its range and
 * its table stays within its size. Method: good blocks with a few things wrong, one after the other on one table.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forSeeds, mutate } from '@etsd/testkit';
import { Decoder } from './decoder.ts';
import { Encoder } from './encoder.ts';

const LIMITS = { headerListBytes: 2048, headerFields: 20 };
const TABLE_BYTES = 256;

const NAMES = [':path', ':authority', 'grpc-timeout', 'token', 'user-agent', 'x-a', 'x-b', 'cookie'];

test('header blocks of any bytes', async () => {
  let refused = 0;
  let read = 0;
  await forSeeds(3000, (prng) => {
    const encoder = new Encoder();
    const decoders = [new Decoder(LIMITS, TABLE_BYTES), new Decoder(LIMITS, TABLE_BYTES)] as const;
    for (let block = prng.between(1, 6); block > 0; block--) {
      const target = Buffer.alloc(8192);
      let at = encoder.begin(target, 0);
      for (let field = prng.below(8); field > 0; field--) {
        const value = prng
          .bytes(prng.below(60))
          .toString('latin1')
          .replace(/[^ -~]/g, 'x');
        at = encoder.field(target, at, prng.pick(NAMES), value, prng.chance(0.5));
      }
      const bytes = prng.chance(0.1) ? prng.bytes(prng.below(100)) : mutate(prng, target.subarray(0, at));
      const zeros = Buffer.concat([Buffer.alloc(4), bytes, Buffer.alloc(40)]);
      const ones = Buffer.concat([Buffer.alloc(4), bytes, Buffer.alloc(40, 0xff)]);
      const first = decoders[0].decode(zeros, 4, 4 + bytes.length);
      const second = decoders[1].decode(ones, 4, 4 + bytes.length);
      assert.deepEqual(first?.fields, second?.fields, bytes.toString('hex'));
      assert.ok(decoders[0].table.size <= TABLE_BYTES);
      if (first === null) {
        refused++;
        return;
      }
      read++;
      assert.ok(first.fields.length <= LIMITS.headerFields);
      assert.ok(first.fields.reduce((sum, { size }) => sum + size, 0) <= LIMITS.headerListBytes);
    }
  });
  assert.ok(refused > 200 && read > 200, `${refused} refused, ${read} read`);
});
