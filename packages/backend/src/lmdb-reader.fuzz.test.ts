// Goal: no bytes make the reader of the store's file crash, hang or grow: it reads the file or says what is wrong. Method: a
// file of LMDB with a few things wrong, anywhere or in the numbers of its pages.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CorruptionError, type Prng } from '@etsd/base';
import { forSeeds, mutate } from '@etsd/testkit';
import { type Bucket, STORED_BUCKETS } from './buckets.ts';
import { LmdbBackend } from './lmdb.ts';
import { HEAD_BYTES, META_LAST_PAGE } from './lmdb-layout.ts';
import { LmdbReader } from './lmdb-reader.ts';

const PAGE = 4096;
const NO_PAUSE = (): Promise<void> => Promise.resolve();

/** A store with leaves, branches, large values and pages that are free again. */
async function someStore(path: string): Promise<Buffer> {
  mkdirSync(join(path, '..'), { recursive: true });
  const backend = new LmdbBackend(path, (error) => {
    throw error;
  });
  const numbered = (index: number): Buffer => Buffer.from(String(index).padStart(8, '0'));
  for (let index = 0; index < 600; index++) backend.put('key', numbered(index), Buffer.alloc(40 + (index % 7), index));
  for (let index = 0; index < 3; index++) backend.put('lease', numbered(index), Buffer.alloc(9000, index));
  await backend.flush();
  for (let index = 0; index < 300; index++) backend.delete('key', numbered(index));
  backend.delete('lease', numbered(1));
  await backend.flush();
  backend.put('meta', Buffer.from('a'), Buffer.from('b'));
  await backend.flush();
  await backend.close();
  return readFileSync(path);
}

/** Damage in the heads of pages, the places of records, and the numbers of the first two pages. */
function aimed(prng: Prng, whole: Buffer): Buffer {
  const bytes = Buffer.from(whole);
  const pages = bytes.length / PAGE;
  const number = (): number =>
    prng.pick([0, 1, 2, 3, prng.below(pages), pages - 1, pages, 0xffff, 0x7fff_ffff, 0xffff_ffff]);
  for (let change = prng.between(1, 3); change > 0; change--) {
    const page = prng.below(pages) * PAGE;
    switch (prng.below(5)) {
      case 0:
        bytes.writeUInt16LE(prng.pick([1, 2, 4, 8, 0x10, 0xffff]), page + 18);
        break;
      case 1:
        bytes.writeUInt16LE(number() & 0xffff, page + 20 + 2 * prng.below(2));
        break;
      case 2:
        bytes.writeUInt32LE(number(), page + HEAD_BYTES + 2 * prng.below(60));
        break;
      case 3:
        bytes.writeUInt32LE(number(), prng.below(2) * PAGE + META_LAST_PAGE + 4 * prng.below(2));
        break;
      default:
        bytes.writeUInt32LE(number(), prng.below(2) * PAGE + HEAD_BYTES + 4 * prng.below(36));
    }
  }
  return bytes;
}

/** What a store of `someStore` holds is less. */
const RECORDS_MAX = 2000;

/** The records of a bucket as a cursor goes over them, in hexadecimal. */
function byCursor(reader: LmdbReader, bucket: Bucket): string[] {
  const found: string[] = [];
  const at = reader.cursor(bucket);
  while (found.length < RECORDS_MAX && at.next()) {
    const key = at.bytes.toString('hex', at.keyStart, at.keyEnd);
    found.push(`${key} ${at.value.toString('hex', at.valueStart, at.valueEnd)}`);
  }
  return found;
}

function byScan(reader: LmdbReader, bucket: Bucket): string[] {
  const found: string[] = [];
  reader.scan(bucket, null, null, (key, value) => found.push(`${key.toString('hex')} ${value.toString('hex')}`) > 0);
  return found;
}

test('a damaged file of the store is read, or refused with its place; never anything else', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsd-store-fuzz-'));
  try {
    const whole = await someStore(join(directory, 'whole', 'store.mdb'));
    const path = join(directory, 'damaged.mdb');
    writeFileSync(path, whole);
    const sound = new LmdbReader(path);
    assert.equal((await sound.check(NO_PAUSE)).hasChecksum, true);
    assert.equal(byCursor(sound, 'key').length, 300);
    assert.equal(byCursor(sound, 'lease').length, 2);
    sound.close();
    let refused = 0;
    await forSeeds(300, async (prng) => {
      writeFileSync(path, prng.chance(0.3) ? mutate(prng, whole) : aimed(prng, whole));
      let reader: LmdbReader | null = null;
      try {
        reader = new LmdbReader(path);
        reader.get('key', Buffer.from('00000400'));
        reader.scan('lease', null, null, () => true);
        for (const bucket of STORED_BUCKETS) byCursor(reader, bucket);
        await reader.check(NO_PAUSE);
        for (const bucket of STORED_BUCKETS) assert.deepEqual(byCursor(reader, bucket), byScan(reader, bucket));
      } catch (error) {
        assert.ok(error instanceof CorruptionError, `${error instanceof Error ? error.stack : error}`);
        refused++;
      } finally {
        reader?.close();
      }
    });
    assert.ok(refused > 60, `${refused} were refused`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
