import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inRange, isEmptyRange, OPEN_END, Prng } from '@etsd/base';
import { type Placed, type WatchedRange, WatcherIndex } from './watcher-group.ts';

const seed = Number(process.env['SEED'] ?? 20261121);

function names(index: WatcherIndex<Placed>, key: string): string[] {
  const found: WatchedRange<Placed>[] = [];
  const count = index.collect(key, found);
  return found
    .slice(0, count)
    .map((range) => `${range.key}|${range.rangeEnd}`)
    .sort();
}

describe('index of watched ranges', () => {
  it('finds exactly the ranges that cover a key, after any order of additions and removals', () => {
    // Method: random ranges over a small alphabet, so that many overlap, compared with a scan over all of them.
    console.log(`seed ${seed}`);
    const random = new Prng(seed);
    const alphabet = ['\0', 'a', 'b', 'c', 'ÿ'];
    const word = (max: number): string => {
      let text = '';
      for (let left = random.below(max + 1); left > 0; left--) text += alphabet[random.below(alphabet.length)];
      return text;
    };
    const index = new WatcherIndex<Placed>();
    const held: WatchedRange<Placed>[] = [];
    for (let round = 0; round < 6000; round++) {
      if (held.length > 0 && random.below(100) < 45) {
        const [range] = held.splice(random.below(held.length), 1);
        index.release(range as WatchedRange<Placed>);
      } else {
        const key = word(3) || '\0';
        const rangeEnd = [() => '', () => OPEN_END, () => word(3)][random.below(3)]!();
        if (isEmptyRange(key, rangeEnd)) continue;
        held.push(index.acquire(key, rangeEnd));
      }
      const probe = word(4) || '\0';
      const expected = new Set<string>();
      for (const range of held) {
        if (inRange(probe, range.key, range.rangeEnd)) expected.add(`${range.key}|${range.rangeEnd}`);
      }
      assert.deepEqual(names(index, probe), [...expected].sort());
    }
    while (held.length > 0) index.release(held.pop() as WatchedRange<Placed>);
    assert.equal(index.size, 0);
    assert.deepEqual(names(index, 'a'), []);
  });

  it('stays shallow when ranges come in order, and shares ranges of the same name', () => {
    const index = new WatcherIndex<Placed>();
    const first = index.acquire('a', 'b');
    assert.equal(index.acquire('a', 'b'), first);
    let highest = 0;
    for (let number = 0; number < 4096; number++) {
      const range = index.acquire(`k${String(number).padStart(6, '0')}`, `k${String(number + 1).padStart(6, '0')}`);
      highest = Math.max(highest, range.height);
    }
    index.forEach((range) => {
      highest = Math.max(highest, range.height);
    });
    assert.ok(highest <= 18, `height ${highest} of 4097 ranges`);
    assert.deepEqual(names(index, 'k000077x'), ['k000077|k000078']);
    index.release(first);
    assert.deepEqual(names(index, 'a'), ['a|b']);
    index.release(first);
    assert.deepEqual(names(index, 'a'), []);
  });
});
