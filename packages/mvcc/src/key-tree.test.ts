// Goal: the tree is a sorted map with order statistics, whatever is added and removed, also where keys share long
// prefixes, end early, or differ only behind the heads. Method: against a sorted array, invariants verified on the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Key, Prng } from '@etsd/base';
import { KeyPool } from './key-pool.ts';
import { KeyTree, type SlotKeys } from './key-tree.ts';

class Harness implements SlotKeys {
  readonly pool = new KeyPool();
  readonly tree = new KeyTree(this);
  readonly addresses: number[] = [];
  readonly live: boolean[] = [];
  readonly slots = new Map<Key, number>();
  readonly isLive = (slot: number): boolean => this.live[slot] === true;

  private address(slot: number): number {
    return this.addresses[slot] as number;
  }

  keyOf(slot: number): Key {
    return this.pool.get(this.address(slot));
  }

  compareKey(slot: number, key: Key, skip: number): number {
    return this.pool.compare(this.address(slot), key, skip);
  }

  headOf(slot: number, skip: number): number {
    return this.pool.head(this.address(slot), skip);
  }

  countLive(slots: Int32Array, start: number, end: number): number {
    return slots.subarray(start, end).filter(this.isLive).length;
  }

  add(key: Key, live: boolean): void {
    const slot = this.live.length;
    this.live.push(live);
    this.addresses.push(this.pool.add(key));
    this.slots.set(key, slot);
    this.tree.insert(key, slot, live);
  }

  toggle(key: Key): void {
    const slot = this.slots.get(key) as number;
    assert.equal(this.tree.locate(key), slot);
    this.live[slot] = !this.live[slot];
    this.tree.addLive(this.live[slot] ? 1 : -1);
  }

  remove(key: Key): void {
    const slot = this.slots.get(key) as number;
    if (this.live[slot]) this.toggle(key);
    assert.equal(this.tree.locate(key), slot);
    this.tree.remove();
    this.pool.remove(this.address(slot));
    this.slots.delete(key);
  }

  compare(random: Prng, draw: () => Key): void {
    const { tree, isLive } = this;
    tree.verify(isLive);
    const keys = [...this.slots.keys()].sort();
    const living = keys.filter((key) => isLive(this.slots.get(key) as number));
    assert.equal(tree.size, keys.length);
    assert.equal(tree.live, living.length);
    for (let i = 0; i < 50; i++) {
      const key = draw();
      assert.equal(tree.locate(key), this.slots.get(key) ?? -1);
      assert.equal(tree.rank(key, isLive), living.filter((other) => other < key).length);
      if (living.length === 0) continue;
      const rank = random.below(living.length);
      tree.select(rank, isLive);
      assert.equal(this.keyOf(tree.leaf.slot(tree.index)), living[rank]);
    }
    tree.locate('');
    const walked: Key[] = [];
    const bound = draw();
    let below = 0;
    for (let leaf: typeof tree.leaf | null = tree.leaf; leaf !== null; leaf = leaf.next) {
      for (let i = 0; i < leaf.length; i++) walked.push(this.keyOf(leaf.slot(i)));
      below += tree.countBelow(leaf, bound);
    }
    assert.deepEqual(walked, keys);
    assert.equal(below, keys.filter((key) => key < bound).length);
    tree.locate(bound);
    assert.deepEqual(this.walkBack(), keys.filter((key) => key < bound).reverse());
    tree.locateEnd();
    assert.deepEqual(this.walkBack(), keys.toReversed());
  }

  private walkBack(): Key[] {
    const { tree } = this;
    const walked: Key[] = [];
    do {
      for (let i = tree.index - 1; i >= 0; i--) walked.push(this.keyOf(tree.leaf.slot(i)));
    } while (tree.previousLeaf());
    return walked;
  }
}

const SHAPES: Record<string, (random: Prng) => Key> = {
  'long shared prefixes': (random) =>
    `/registry/${['pods', 'nodes', 'pod'][random.below(3)]}/namespace/${random.below(5000)}`,
  'binary and short': (random) => random.bytes(random.below(4)).toString('latin1'),
  'differing far behind': (random) => `same${'\xff'.repeat(random.below(40))}${random.below(200)}`,
  'zero bytes': (random) => '\0'.repeat(random.below(60)) + (random.chance(0.5) ? 'a' : ''),
};

for (const [shape, make] of Object.entries(SHAPES)) {
  test(`key tree: keys that are ${shape}`, (context) => {
    const seed = Number(process.env['SEED'] ?? 42);
    context.diagnostic(`seed ${seed}`);
    const random = new Prng(seed);
    const harness = new Harness();
    const draw = (): Key => make(random);
    for (const bias of [0.9, 0.3, 0.8, 0.02]) {
      for (let step = 0; step < 4000; step++) {
        const key = draw();
        const there = harness.slots.has(key);
        if (random.chance(bias)) {
          if (there) harness.toggle(key);
          else harness.add(key, random.chance(0.8));
        } else if (there) harness.remove(key);
        if (step % 800 === 0) harness.compare(random, draw);
      }
    }
    for (const key of [...harness.slots.keys()]) harness.remove(key);
    harness.compare(random, draw);
  });
}

// Goal: keys in ascending order, the commonest case, leave full leaves behind.
test('key tree: ascending keys fill the leaves', () => {
  const harness = new Harness();
  for (let i = 0; i < 20_000; i++) harness.add(`/key/${String(i).padStart(8, '0')}`, true);
  harness.tree.verify(harness.isLive);
  harness.tree.locate('');
  let leaves = 0;
  for (let leaf: typeof harness.tree.leaf | null = harness.tree.leaf; leaf !== null; leaf = leaf.next) leaves++;
  assert.ok(leaves <= 20_000 / 63, `${leaves} leaves`);
});
