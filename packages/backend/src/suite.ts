import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import type { Backend, BackendReader } from './backend.ts';
import { type Bucket, STORED_BUCKETS } from './buckets.ts';
import { Slab } from './slab.ts';

/** What the suite needs of an implementation. */
export interface BackendFactory {
  name: string;
  /** A store in a place of its own. */
  create(): Promise<Backend>;
  /** Closes it and opens the same place again. Null where nothing outlives the object. */
  reopen: ((backend: Backend) => Promise<Backend>) | null;
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

function dump(
  reader: BackendReader,
  bucket: Bucket,
  from: string | null = null,
  to: string | null = null,
  limit = Number.POSITIVE_INFINITY,
): string[] {
  const found: string[] = [];
  if (limit === 0) return found;
  reader.scan(bucket, from === null ? null : bytes(from), to === null ? null : bytes(to), (key, value) => {
    found.push(`${key.toString('latin1')}=${value.toString('latin1')}`);
    return found.length < limit;
  });
  return found;
}

function committed(backend: Backend): Promise<void> {
  return new Promise((resolve, reject) => {
    backend.commit((error) => (error === null ? resolve() : reject(error)));
  });
}

/** The naive store everything is compared with. */
class Model {
  readonly buckets = new Map<Bucket, Map<string, string>>(STORED_BUCKETS.map((bucket) => [bucket, new Map()]));

  dump(bucket: Bucket, from: string | null, to: string | null, limit: number): string[] {
    return [...(this.buckets.get(bucket) as Map<string, string>)]
      .filter(([key]) => (from === null || key >= from) && (to === null || key < to))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([key, value]) => `${key}=${value}`);
  }

  clone(): Model {
    const copy = new Model();
    for (const [bucket, records] of this.buckets) copy.buckets.set(bucket, new Map(records));
    return copy;
  }
}

/** Registers the tests that every `Backend` must pass. */
export function backendSuite(factory: BackendFactory): void {
  const { name, create, reopen } = factory;

  test(`${name}: a write is seen at once, before and after its commit`, async () => {
    const backend = await create();
    assert.equal(backend.get('key', bytes('a')), null);
    backend.put('key', bytes('a'), bytes('1'));
    assert.equal(backend.get('key', bytes('a'))?.toString(), '1');
    assert.equal(backend.get('meta', bytes('a')), null);
    assert.equal(backend.pendingOperations, 1);
    await committed(backend);
    assert.equal(backend.pendingOperations, 0);
    assert.equal(backend.pendingBytes, 0);
    assert.equal(backend.get('key', bytes('a'))?.toString(), '1');
    backend.put('key', bytes('a'), bytes('2'));
    assert.equal(backend.get('key', bytes('a'))?.toString(), '2');
    backend.delete('key', bytes('a'));
    assert.equal(backend.get('key', bytes('a')), null);
    backend.delete('key', bytes('never there'));
    await committed(backend);
    assert.equal(backend.get('key', bytes('a')), null);
    await backend.close();
  });

  test(`${name}: bytes of every value, empty values, long values, keys up to 1900 bytes`, async () => {
    const backend = await create();
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const large = Buffer.alloc(3_000_000, 'abcdefg');
    const longKey = Buffer.alloc(1900, 0xfe);
    backend.put('key', all.subarray(0, 18), all);
    backend.put('key', bytes('empty'), Buffer.alloc(0));
    backend.put('key', bytes('large'), large);
    backend.put('authUsers', longKey, bytes('long'));
    for (let round = 0; round < 2; round++) {
      assert.ok(backend.get('key', all.subarray(0, 18))?.equals(all));
      assert.equal(backend.get('key', bytes('empty'))?.length, 0);
      assert.ok(backend.get('key', bytes('large'))?.equals(large));
      assert.equal(backend.get('authUsers', longKey)?.toString(), 'long');
      await committed(backend);
    }
    await backend.close();
  });

  test(`${name}: scans merge what is committed, in flight and open, in order, with bounds`, async () => {
    const backend = await create();
    for (const key of ['b', 'd', 'f', 'h']) backend.put('lease', bytes(key), bytes('1'));
    await committed(backend);
    backend.put('lease', bytes('c'), bytes('2'));
    backend.delete('lease', bytes('f'));
    backend.commit();
    backend.put('lease', bytes('d'), bytes('3'));
    backend.put('lease', bytes('z'), bytes('3'));
    backend.put('lease', bytes('a'), bytes('3'));
    assert.deepEqual(dump(backend, 'lease'), ['a=3', 'b=1', 'c=2', 'd=3', 'h=1', 'z=3']);
    assert.deepEqual(dump(backend, 'lease', 'b', 'h'), ['b=1', 'c=2', 'd=3']);
    assert.deepEqual(dump(backend, 'lease', 'bb', null, 2), ['c=2', 'd=3']);
    assert.deepEqual(dump(backend, 'lease', 'x', 'b'), []);
    assert.deepEqual(dump(backend, 'members'), []);
    await backend.close();
  });

  test(`${name}: the hook writes into the batch it precedes, and not into an empty one`, async () => {
    const backend = await create();
    let index = 0;
    backend.beforeCommit(() => {
      index++;
      backend.put('meta', bytes('consistent_index'), bytes(String(index)));
    });
    await committed(backend);
    assert.equal(index, 0);
    backend.put('key', bytes('a'), bytes('1'));
    await committed(backend);
    assert.equal(backend.get('meta', bytes('consistent_index'))?.toString(), '1');
    await backend.close();
  });

  test(`${name}: records of revisions are ordinary records of the bucket key`, async () => {
    const backend = await create();
    const slab = new Slab(10_000);
    const put = (main: number, sub: number, text: string, offset: number): void => {
      slab.bytes.write(text, offset, 'latin1');
      backend.putRecord(main, sub, slab, offset, offset + text.length);
    };
    const key = (main: string, sub: string): Buffer =>
      Buffer.from(`${main.padStart(16, '0')}5f${sub.padStart(16, '0')}`, 'hex');
    put(5, 0, 'five', 0);
    put(5, 1, 'five-one', 100);
    put(2 ** 40 + 7, 2, 'far', 200);
    const check = (reader: BackendReader): void => {
      assert.equal(reader.get('key', key('5', '0'))?.toString(), 'five');
      assert.equal(reader.get('key', key('5', '1'))?.toString(), 'five-one');
      assert.equal(reader.get('key', key('10000000007', '2'))?.toString(), 'far');
      assert.equal(reader.get('key', key('5', '2')), null);
      const deletion = Buffer.concat([key('10000000007', '3'), bytes('t')]);
      assert.equal(reader.get('key', deletion)?.toString(), 'deletion');
      assert.equal(reader.get('key', key('10000000007', '3')), null);
      assert.deepEqual(
        dump(reader, 'key').map((line) => line.slice(18)),
        ['five', 'five-one', 'far', '=deletion'],
      );
    };
    slab.bytes.write('deletion', 900, 'latin1');
    backend.putRecord(2 ** 40 + 7, 3, slab, 900, 908, true);
    assert.equal(backend.pendingOperations, 4);
    for (let round = 0; round < 2; round++) {
      check(backend);
      const snapshot = backend.snapshot();
      check(snapshot);
      snapshot.close();
      assert.equal(backend.getRecord(5, 1)?.toString(), 'five-one');
      assert.equal(backend.getRecord(2 ** 40 + 7, 2)?.toString(), 'far');
      assert.equal(backend.getRecord(2 ** 40 + 7, 1), null);
      assert.equal(backend.getRecord(2 ** 40 + 7, 3), null, 'a deletion is no record of a key');
      await committed(backend);
    }
    put(2 ** 40 + 8, 0, 'gone soon', 300);
    backend.delete('key', key('10000000008', '0'));
    backend.delete('key', key('5', '0'));
    for (let round = 0; round < 2; round++) {
      assert.equal(backend.getRecord(2 ** 40 + 8, 0), null);
      assert.equal(backend.getRecord(5, 0), null);
      assert.deepEqual(
        dump(backend, 'key').map((line) => line.slice(18)),
        ['five-one', 'far', '=deletion'],
      );
      await committed(backend);
    }
    await backend.close();
  });

  test(`${name}: a snapshot stays as it was`, async () => {
    const backend = await create();
    backend.put('key', bytes('a'), bytes('1'));
    await committed(backend);
    backend.put('key', bytes('b'), bytes('1'));
    backend.commit();
    backend.put('key', bytes('c'), bytes('1'));
    const snapshot = backend.snapshot();
    backend.put('key', bytes('a'), bytes('2'));
    backend.delete('key', bytes('b'));
    backend.put('key', bytes('d'), bytes('2'));
    for (let round = 0; round < 3; round++) {
      assert.deepEqual(dump(snapshot, 'key'), ['a=1', 'b=1', 'c=1']);
      assert.equal(snapshot.get('key', bytes('a'))?.toString(), '1');
      assert.equal(snapshot.get('key', bytes('d')), null);
      assert.deepEqual(dump(backend, 'key'), ['a=2', 'c=1', 'd=2']);
      await committed(backend);
      backend.put('key', bytes(`a${round}`), bytes('2'));
      backend.delete('key', bytes(`a${round}`));
    }
    snapshot.close();
    snapshot.close();
    await backend.close();
  });

  test(`${name}: random operations equal a naive model`, async (context) => {
    const seed = Number(process.env['SEED'] ?? 20261121);
    context.diagnostic(`seed ${seed}`);
    const random = new Prng(seed);
    let backend = await create();
    const model = new Model();
    const frozen: { reader: ReturnType<Backend['snapshot']>; model: Model }[] = [];
    const key = (): string =>
      String.fromCharCode(...Array.from({ length: random.between(1, 3) }, () => random.below(6) * 51));
    for (let step = 0; step < 3000; step++) {
      const bucket = STORED_BUCKETS[random.below(3)] as Bucket;
      const records = model.buckets.get(bucket) as Map<string, string>;
      const choice = random.below(100);
      if (choice < 50) {
        const k = key();
        backend.put(bucket, bytes(k), bytes(String(step)));
        records.set(k, String(step));
      } else if (choice < 70) {
        const k = key();
        backend.delete(bucket, bytes(k));
        records.delete(k);
      } else if (choice < 80) {
        const k = key();
        assert.equal(backend.get(bucket, bytes(k))?.toString() ?? null, records.get(k) ?? null);
      } else if (choice < 92) {
        const from = random.chance(0.3) ? null : key();
        const to = random.chance(0.3) ? null : key();
        const limit = random.between(1, 200);
        assert.deepEqual(dump(backend, bucket, from, to, limit), model.dump(bucket, from, to, limit));
      } else if (choice < 95) backend.commit();
      else if (choice < 97) await committed(backend);
      else if (choice < 98) {
        if (frozen.length < 3) frozen.push({ reader: backend.snapshot(), model: model.clone() });
      } else if (choice < 99) {
        const one = frozen.pop();
        if (one === undefined) continue;
        for (const b of STORED_BUCKETS) assert.deepEqual(dump(one.reader, b), one.model.dump(b, null, null, 1e9));
        one.reader.close();
      } else if (random.chance(0.3)) await backend.defragment();
      else if (reopen !== null && frozen.length === 0) backend = await reopen(backend);
    }
    for (const one of frozen) one.reader.close();
    if (reopen !== null) backend = await reopen(backend);
    for (const bucket of STORED_BUCKETS) assert.deepEqual(dump(backend, bucket), model.dump(bucket, null, null, 1e9));
    await backend.close();
  });

  test(`${name}: defragment keeps what is written meanwhile and gives space back`, async () => {
    let backend = await create();
    for (let i = 0; i < 20_000; i++)
      backend.put('key', bytes(`key${String(i).padStart(8, '0')}`), Buffer.alloc(300, 'v'));
    await backend.flush();
    for (let i = 0; i < 19_000; i++) backend.delete('key', bytes(`key${String(i).padStart(8, '0')}`));
    await backend.flush();
    const before = backend.sizeBytes();
    assert.ok(backend.inUseBytes() <= before);
    const done = backend.defragment();
    let written = 0;
    let finished = false;
    const watch = done.then(() => {
      finished = true;
    });
    while (!finished) {
      backend.put('key', bytes(`new${String(written).padStart(8, '0')}`), bytes(String(written)));
      backend.delete('key', bytes(`key${String(19_000 + (written % 900)).padStart(8, '0')}`));
      written++;
      await committed(backend);
      assert.equal(
        backend.get('key', bytes(`new${String(written - 1).padStart(8, '0')}`))?.toString(),
        String(written - 1),
      );
    }
    await watch;
    assert.ok(backend.sizeBytes() <= before);
    if (before > 1_000_000 && reopen !== null)
      assert.ok(backend.sizeBytes() < before / 4, `${backend.sizeBytes()} of ${before}`);
    if (reopen !== null) backend = await reopen(backend);
    assert.equal(dump(backend, 'key', 'new', 'nex').length, written);
    assert.equal(dump(backend, 'key', 'key', 'kez').length, 1000 - Math.min(written, 900));
    await backend.close();
  });

  test(`${name}: replace exchanges everything, or nothing where filling fails`, async () => {
    let backend = await create();
    backend.put('key', bytes('old'), bytes('1'));
    backend.put('lease', bytes('old'), bytes('1'));
    const half = backend.replace(async (fresh) => {
      fresh.put('key', bytes('half'), bytes('2'));
      throw new Error('the sender went away');
    });
    await assert.rejects(half, /the sender went away/);
    assert.deepEqual(dump(backend, 'key'), ['old=1']);
    const snapshot = backend.snapshot();
    await backend.replace(async (fresh) => {
      for (let i = 0; i < 3000; i++) fresh.put('key', bytes(`new${String(i).padStart(4, '0')}`), bytes('2'));
      await committed(fresh);
      fresh.put('meta', bytes('consistent_index'), bytes('77'));
      assert.deepEqual(dump(backend, 'key'), ['old=1']);
    });
    for (let round = 0; round < 2; round++) {
      assert.equal(dump(backend, 'key').length, 3000);
      assert.deepEqual(dump(backend, 'lease'), []);
      assert.equal(backend.get('meta', bytes('consistent_index'))?.toString(), '77');
      if (round === 0) {
        assert.deepEqual(dump(snapshot, 'key'), ['old=1']);
        snapshot.close();
      }
      if (reopen !== null) backend = await reopen(backend);
    }
    backend.put('key', bytes('new'), bytes('3'));
    await backend.flush();
    assert.equal(dump(backend, 'key', 'new', 'new0').length, 1);
    await backend.close();
  });

  test(`${name}: a defragmentation and a close that are asked for during a replacement come behind it`, async () => {
    let backend = await create();
    backend.put('key', bytes('old'), bytes('1'));
    let end = (): void => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const replacing = backend.replace(async (fresh) => {
      fresh.put('key', bytes('new'), bytes('2'));
      await ended;
    });
    const defragmenting = backend.defragment();
    assert.deepEqual(dump(backend, 'key'), ['old=1']);
    end();
    await Promise.all([replacing, defragmenting]);
    assert.deepEqual(dump(backend, 'key'), ['new=2']);
    if (reopen !== null) {
      let given = (): void => {};
      const gate = new Promise<void>((resolve) => {
        given = resolve;
      });
      const abandoned = backend.replace(() => gate.then(() => Promise.reject(new Error('given up'))));
      const closing = reopen(backend);
      given();
      await assert.rejects(abandoned, /given up/);
      backend = await closing;
      assert.deepEqual(dump(backend, 'key'), ['new=2']);
    }
    await backend.close();
  });

  // Goal: a defragmented store takes writes of every size. Method: values from a part of a page to many pages, deleted
  // and written after a defragmentation, which is when the pages of the new file are freed and used again.
  test(`${name}: a defragmented store goes on`, async () => {
    let backend = await create();
    const sizes = [10, 900, 3000, 20_000, 200_000];
    const put = (prefix: string): void => {
      for (let i = 0; i < 300; i++) {
        const value = Buffer.alloc(sizes[i % 5] as number, i);
        backend.put('key', bytes(`${prefix}${i}`), value);
      }
    };
    put('a');
    for (const round of [0, 1, 2]) {
      await backend.defragment();
      for (let i = 0; i < 290; i++) backend.delete('key', bytes(`a${i}`));
      await committed(backend);
      put('b');
      await committed(backend);
      put('a');
      for (let i = 0; i < 300; i++) {
        backend.put('meta', bytes('round'), bytes(`${round} ${i}`));
        await committed(backend);
      }
      if (reopen !== null) backend = await reopen(backend);
      assert.equal(dump(backend, 'key').length, 600);
    }
    await backend.close();
  });

  if (reopen === null) return;
  test(`${name}: what was flushed is there after a restart, and the file does not grow without end`, async () => {
    let backend = await create();
    const value = Buffer.alloc(1000, 'x');
    let size = 0;
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 2000; i++) backend.put('key', bytes(`${round}/${i}`), value);
      if (round > 1) for (let i = 0; i < 2000; i++) backend.delete('key', bytes(`${round - 2}/${i}`));
      await backend.flush();
      if (round === 3) size = backend.sizeBytes();
    }
    assert.ok(backend.sizeBytes() < size * 1.5, `freed pages are reused: ${size} then ${backend.sizeBytes()}`);
    backend = await reopen(backend);
    assert.equal(dump(backend, 'key').length, 4000);
    await backend.close();
  });
}
