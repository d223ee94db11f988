/** Queue, heap, pool, checksum and generator, each against something simple that is surely right. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { setChecked } from './assert.ts';
import { crc32c, crc32cJoined } from './crc32c.ts';
import { errorChain, OperatorError } from './errors.ts';
import { Heap, type HeapNode } from './heap.ts';
import { BufferPool } from './pool.ts';
import { Prng } from './prng.ts';
import { RingQueue } from './queue.ts';
import { ShardedMap } from './sharded-map.ts';

describe('RingQueue', () => {
  it('behaves as an array that is pushed and shifted (seed 11)', () => {
    const prng = new Prng(11);
    const queue = new RingQueue<number>(2);
    const model: number[] = [];
    for (let step = 0; step < 5000; step++) {
      if (prng.chance(0.55)) {
        queue.push(step);
        model.push(step);
      } else assert.equal(queue.take(), model.shift());
      assert.equal(queue.length, model.length);
      assert.equal(queue.peek(), model[0]);
      const index = prng.below(8);
      assert.equal(queue.at(index), model[index]);
    }
    queue.clear();
    assert.equal(queue.take(), undefined);
  });
});

describe('Heap', () => {
  it('gives nodes in order through pushes, removals and changed keys (seed 5)', () => {
    const prng = new Prng(5);
    const heap = new Heap<HeapNode>();
    const model = new Set<HeapNode>();
    for (let step = 0; step < 5000; step++) {
      const choice = prng.float();
      const some = [...model][prng.below(model.size)];
      if (choice < 0.5 || some === undefined) {
        const node = { heapKey: prng.below(500), heapIndex: -1 };
        heap.push(node);
        model.add(node);
      } else if (choice < 0.65) {
        heap.remove(some);
        model.delete(some);
        assert.equal(some.heapIndex, -1);
      } else if (choice < 0.8) {
        some.heapKey = prng.below(500);
        heap.update(some);
      } else {
        const least = Math.min(...[...model].map((node) => node.heapKey));
        const popped = heap.pop() as HeapNode;
        assert.equal(popped.heapKey, least);
        model.delete(popped);
      }
      assert.equal(heap.size, model.size);
    }
  });

  it('ignores a node that is outside', () => {
    const heap = new Heap<HeapNode>();
    heap.remove({ heapKey: 1, heapIndex: -1 });
    assert.equal(heap.pop(), undefined);
  });
});

describe('ShardedMap', () => {
  it('behaves as a map through everything that can be done to one (seed 13)', () => {
    const prng = new Prng(13);
    const sharded = new ShardedMap<number>();
    const model = new Map<string, number>();
    for (let step = 0; step < 20_000; step++) {
      const key = prng.below(3000).toString(36);
      if (prng.chance(0.6)) {
        sharded.set(key, step);
        model.set(key, step);
      } else assert.equal(sharded.delete(key), model.delete(key));
      assert.equal(sharded.get(key), model.get(key));
      assert.equal(sharded.has(key), model.has(key));
      assert.equal(sharded.size, model.size);
    }
    assert.deepEqual([...sharded.keys()].sort(), [...model.keys()].sort());
    assert.deepEqual([...sharded.values()].sort(), [...model.values()].sort());
    sharded.clear();
    assert.equal(sharded.size, 0);
    assert.equal(sharded.get(''), undefined);
  });

  it('spreads ids that count up evenly', () => {
    const sharded = new ShardedMap<number>();
    for (let id = 0; id < 65_536; id++) sharded.set(`694da1fe1a93${id.toString(16).padStart(4, '0')}`, id);
    const fullest = Math.max(...sharded['shards'].map((shard) => shard.size));
    assert.ok(fullest < 1000, `${fullest} of 65536 in one table`);
  });
});

describe('crc32c', () => {
  it('of two things together is made of those of each', () => {
    const bytes = Buffer.from(Array.from({ length: 5000 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24));
    for (const cut of [0, 1, 7, 255, 256, 2500, 4999, 5000]) {
      const joined = crc32cJoined(crc32c(bytes, 0, cut), crc32c(bytes, cut), bytes.length - cut);
      assert.equal(joined, crc32c(bytes), `cut at ${cut}`);
    }
  });
  it('gives the same however short, and wherever in memory the bytes lie', () => {
    const other = Buffer.from('something else');
    const bytes = Buffer.from(Array.from({ length: 300 }, (_, at) => (at * 37) & 255));
    for (let length = 0; length <= bytes.length; length += 7) {
      const whole = crc32c(bytes, 0, length);
      const copy = new Uint8Array(length + 3);
      copy.set(bytes.subarray(0, length), 3);
      crc32c(other);
      assert.equal(crc32c(copy, 3, length + 3), whole, `${length} bytes`);
      assert.equal(crc32c(bytes, length >> 1, length, crc32c(bytes, 0, length >> 1)), whole, `${length} in two`);
    }
  });
  it('gives the check value of the polynomial', () => assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283));

  it('can be continued at any cut, and equals the bitwise definition (seed 9)', () => {
    const slow = (bytes: Buffer): number => {
      let crc = 0xffffffff;
      for (const byte of bytes) {
        crc ^= byte;
        for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
      }
      return ~crc >>> 0;
    };
    const prng = new Prng(9);
    for (let length = 0; length < 64; length++) {
      const bytes = prng.bytes(length);
      const cut = prng.below(length + 1);
      assert.equal(crc32c(bytes), slow(bytes));
      assert.equal(crc32c(bytes, cut, length, crc32c(bytes, 0, cut)), slow(bytes));
    }
  });
});

describe('BufferPool', () => {
  afterEach(() => setChecked(false));

  it('gives a released buffer again, and one that is large enough', () => {
    const pool = new BufferPool(64, 1024, 2);
    const first = pool.take(100);
    assert.ok(first.length >= 100);
    pool.release(first);
    assert.equal(pool.take(65), first);
    assert.ok(pool.take(5000).length >= 5000);
  });

  it('overwrites what is released and notices a double release in checked mode', () => {
    setChecked(true);
    const pool = new BufferPool(64, 1024, 2);
    const buffer = pool.take(64).fill(1);
    pool.release(buffer);
    assert.equal(buffer[0], 0xcc);
    assert.throws(() => pool.release(buffer), /released twice/);
  });
});

describe('Prng', () => {
  it('repeats itself from the same seed and not from another', () => {
    const draw = (seed: number): number[] => {
      const prng = new Prng(seed);
      return Array.from({ length: 8 }, () => prng.u32());
    };
    assert.deepEqual(draw(1), draw(1));
    assert.notDeepEqual(draw(1), draw(2));
  });

  it('spreads over its bounds', () => {
    const prng = new Prng(2);
    const seen = new Set(Array.from({ length: 1000 }, () => prng.between(3, 6)));
    assert.deepEqual([...seen].sort(), [3, 4, 5, 6]);
  });
});

describe('errors', () => {
  it('show their causes in one line', () => {
    const error = new OperatorError('cannot open', '', { cause: new Error('no such file') });
    assert.equal(errorChain(error), 'cannot open: no such file');
  });
});
