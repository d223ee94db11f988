import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c, Prng } from '@etsd/base';
import { changedByte, sectorEnd, unwrittenSector } from './torn.ts';

// Goal: one changed byte is found, more are not taken for one. Method: bytes from a seed; each bit and some bytes are changed.
test('a checksum that is one byte off', () => {
  const prng = new Prng(3);
  for (const length of [100, 300, 4096]) {
    const bytes = Buffer.from(Array.from({ length }, () => prng.below(256)));
    const kept = crc32c(bytes, 0, length, 77);
    for (let round = 0; round < 50; round++) {
      const at = prng.below(length);
      const before = bytes[at] as number;
      bytes[at] = before ^ (1 + prng.below(255));
      assert.equal(changedByte(crc32c(bytes, 0, length, 77), kept, length), at, `byte ${at} of ${length}`);
      const twice = Buffer.from(bytes);
      const other = (at + 1 + prng.below(length)) % length;
      twice[other] = (twice[other] as number) ^ (1 + prng.below(255));
      const known = changedByte(crc32c(twice, 0, length, 77), kept, length);
      assert.equal(known >= 0, other === at, `bytes ${at} and ${other} of ${length}`);
      bytes[at] = before;
    }
  }
});

// Goal: only a sector that holds zeros throughout, behind that of the record's head, was never written.
test('a sector that was never written', () => {
  const position = 400;
  const bytes = Buffer.alloc(2048 - position, 1);
  assert.equal(unwrittenSector(bytes, position, 1700), -1);
  bytes.fill(0, 1024 - position, 1536 - position);
  assert.equal(unwrittenSector(bytes, position, 1700), 1024);
  assert.equal(unwrittenSector(bytes, position, 1024), -1, 'the record ends before');
  bytes[1535 - position] = 1;
  assert.equal(unwrittenSector(bytes, position, 1700), -1, 'its last byte was written');
  bytes.fill(0, 0, 512 - position);
  assert.equal(unwrittenSector(bytes, position, 1700), -1, 'the head is there, so its sector is');
  assert.deepEqual([sectorEnd(0), sectorEnd(511), sectorEnd(512)], [512, 512, 1024]);
});
