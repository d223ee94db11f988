// Goal: the pool gives back every key as it was put in, short, long and binary, while others come and go, and compares as
// strings do. Method: against an array of strings; the seed is printed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Key, Prng } from '@etsd/base';
import { KeyPool } from './key-pool.ts';

test('key pool: keys come back, whatever was removed meanwhile', (context) => {
  const seed = Number(process.env['SEED'] ?? 42);
  context.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  const pool = new KeyPool();
  const held: { key: Key; address: number }[] = [];
  const draw = (): Key => {
    const length = random.chance(0.02) ? 4000 + random.below(300) : random.below(60);
    return random.bytes(length).toString('latin1');
  };
  for (let step = 0; step < 20_000; step++) {
    if (held.length === 0 || random.chance(0.55)) {
      const key = draw();
      held.push({ key, address: pool.add(key) });
    } else {
      const [gone] = held.splice(random.below(held.length), 1);
      pool.remove((gone as { address: number }).address);
    }
    if (step % 100 !== 0) continue;
    const other = draw();
    for (const { key, address } of held.slice(0, 200)) {
      assert.equal(pool.get(address), key);
      assert.ok(pool.equals(address, key));
      assert.equal(pool.equals(address, other), key === other);
      assert.equal(Math.sign(pool.compare(address, other, 0)), key < other ? -1 : key > other ? 1 : 0);
    }
  }
});

test('key pool: the place of a key that was removed is used again', () => {
  const pool = new KeyPool();
  const first = pool.add('/registry/pods/a');
  const second = pool.add('/registry/pods/b');
  pool.remove(first);
  assert.equal(pool.add('/registry/pods/c'), first);
  assert.equal(pool.get(second), '/registry/pods/b');
});
