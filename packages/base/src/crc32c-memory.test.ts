// Goal: a checksum by vectors is that of `crc32c`, whatever is asked for. Method: both, of random parts of random bytes; and
// what one bit more or less, anywhere in a message, does to it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forSeeds } from '@etsd/testkit';
import { crc32c } from './crc32c.ts';
import { Crc32cMemory } from './crc32c-memory.ts';

const BYTES = 4096;

function filled(below: (bound: number) => number): Crc32cMemory {
  const memory = new Crc32cMemory(BYTES);
  for (let at = 0; at < BYTES; at++) memory.bytes[at] = below(256);
  return memory;
}

test('checksums of parts of any length, at any place, continued from any other', async () => {
  await forSeeds(20, (prng) => {
    const memory = filled((bound) => prng.below(bound));
    for (let round = 0; round < 200; round++) {
      const start = prng.below(BYTES);
      const end = start + prng.below(BYTES - start + 1);
      const seed = prng.chance(0.2) ? 0 : prng.below(2 ** 32);
      assert.equal(
        memory.crc(start, end, seed),
        crc32c(memory.bytes, start, end, seed),
        `${start}-${end} from ${seed}`,
      );
    }
  });
});

test('it works by vectors here, and every bit of a message counts', () => {
  const memory = new Crc32cMemory(BYTES);
  assert.equal(typeof Reflect.get(memory, 'fold'), 'function', 'otherwise nothing but crc32c was tried');
  const seen = new Set<number>([memory.crc(0, 512, 0)]);
  for (let bit = 0; bit < 8 * 512; bit++) {
    memory.bytes[bit >>> 3] = 1 << (bit & 7);
    const crc = memory.crc(0, 512, 0);
    assert.equal(crc, crc32c(memory.bytes, 0, 512));
    assert.ok(!seen.has(crc), `bit ${bit}`);
    seen.add(crc);
    memory.bytes[bit >>> 3] = 0;
  }
});

test('what lies before and behind a message does not count', () => {
  const memory = new Crc32cMemory(BYTES);
  const crc = memory.crc(100, BYTES - 100, 1);
  memory.bytes.fill(0xff, 0, 100).fill(0xff, BYTES - 100);
  assert.equal(memory.crc(100, BYTES - 100, 1), crc);
});
