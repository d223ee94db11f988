/** Goal: records written straight into a batch are those of the generated codec. Method: both, on random records. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '@etsd/base';
import { Entry, HardState, WalRecord, WalSnapshot } from '@etsd/proto';
import { assertSameShape, forSeeds } from '@etsd/testkit';
import { BatchBuffer, FRAME_HEAD_BYTES, paddingOf, RecordEncoder, RecordType, readFrameHead } from './record.ts';

function frame(type: number, data: Buffer, crc: number): Buffer {
  const record = WalRecord.encode(WalRecord.create({ type, crc, data }));
  const padding = paddingOf(record.length);
  const out = Buffer.alloc(FRAME_HEAD_BYTES + record.length + padding);
  const mark = padding === 0 ? 0n : BigInt(0x80 | padding) << 56n;
  out.writeBigUInt64LE(BigInt(record.length) | mark, 0);
  record.copy(out, FRAME_HEAD_BYTES);
  return out;
}

test('a batch is what the generated codec makes of the same records', async () => {
  let shortChecksums = 0;
  await forSeeds(200, (prng) => {
    const seed = prng.chance(0.5) ? 0 : prng.u32();
    const encoder = new RecordEncoder(seed);
    const batch = new BatchBuffer(64, 1 << 20);
    const expected: Buffer[] = [];
    let crc = seed;
    const expect = (type: number, data: Buffer): void => {
      crc = crc32c(data, 0, data.length, crc);
      if (crc < 0x1000_0000) shortChecksums++;
      expected.push(frame(type, data, crc));
    };
    for (let count = 0; count < 20; count++) {
      const index = prng.chance(0.2) ? Number.MAX_SAFE_INTEGER - count : prng.below(1_000_000);
      const term = prng.between(1, 300);
      const entry = Entry.create({ type: prng.below(3), term, index, data: prng.bytes(prng.below(300)) });
      const state = HardState.create({ term, vote: 'fedcba9876543210', commit: index });
      const snapshot = WalSnapshot.create({ index, term });
      encoder.entry(batch, entry);
      expect(RecordType.entry, Entry.encode(entry));
      encoder.hardState(batch, state);
      expect(RecordType.hardState, HardState.encode(state));
      encoder.snapshot(batch, snapshot);
      expect(RecordType.snapshot, WalSnapshot.encode(snapshot));
      encoder.metadata(batch, entry.data);
      expect(RecordType.metadata, entry.data);
      encoder.checksum(batch);
      expected.push(frame(RecordType.crc, Buffer.alloc(0), crc));
    }
    assert.deepEqual(batch.bytes.subarray(0, batch.length), Buffer.concat(expected));
    assert.equal(encoder.crc, crc);
  });
  assert.ok(shortChecksums > 10, 'checksums of fewer than five bytes occurred');
});

test('frame heads are read as they are written, and impossible ones are not', () => {
  const head = (high: number, low: number): ReturnType<typeof readFrameHead> => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(low, 0);
    bytes.writeUInt32LE(high, 4);
    return readFrameHead(bytes, 0);
  };
  assert.deepEqual(head(0, 16), { recordBytes: 16, padding: 0 });
  assert.deepEqual(head(0x8400_0000, 20), { recordBytes: 20, padding: 4 });
  assert.deepEqual(head(0, 0), { recordBytes: 0, padding: 0 });
  assert.equal(head(0, 20), null, 'a record of 20 bytes is padded');
  assert.equal(head(0x8300_0000, 20), null, 'with four bytes, not three');
  assert.equal(head(0x0400_0000, 20), null, 'and says so in the top bit');
  assert.equal(head(0x80ff_ffff, 0xffff_fff8), null, 'no file is that long');
});

test('a batch buffer grows with its content and gives back what was out of the ordinary', () => {
  const batch = new BatchBuffer(16, 1024);
  batch.reserve(500);
  assert.ok(batch.bytes.length >= 500);
  batch.length = 500;
  const kept = batch.bytes;
  batch.reset();
  assert.equal(batch.bytes, kept);
  batch.reserve(5000);
  batch.reset();
  assert.equal(batch.bytes.length, 16);
  assert.equal(batch.length, 0);
});

test('entries made and entries read have one shape', () => {
  const made = Entry.create({ term: 1, index: 1, data: Buffer.from('x') });
  assertSameShape(new Entry(), made, Entry.decode(Entry.encode(made)));
});
