// Goal: lists of any length keep their entries while they grow, lose their oldest and share a pool, and the pool gives
// back what nobody uses. Method: against plain arrays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { NO_LIST, RevisionLists } from './revision-lists.ts';

interface Entry {
  main: number;
  sub: number;
  dead: boolean;
}

test('revision lists: random growth and loss equal plain arrays', (context) => {
  const seed = Number(process.env['SEED'] ?? 7);
  context.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  const lists = new RevisionLists();
  const handles: number[] = new Array<number>(40).fill(NO_LIST);
  const models: Entry[][] = handles.map(() => []);
  let main = 2 ** 40;
  const drop = (list: number, count: number): void => {
    const model = models[list] as Entry[];
    handles[list] = lists.dropFirst(handles[list] as number, model.length, count);
    model.splice(0, count);
  };
  for (let step = 0; step < 60_000; step++) {
    const list = random.chance(0.4) ? 0 : random.below(handles.length);
    const model = models[list] as Entry[];
    if (random.chance(0.9) || model.length === 0) {
      // Halves of 32 bits: the lower one has every sign, and the upper one changes.
      main += random.chance(0.001) ? 2 ** 31 : random.below(3);
      const entry = { main, sub: random.below(1000), dead: random.chance(0.1) };
      handles[list] = lists.append(handles[list] as number, model.length, entry.main, entry.sub, entry.dead);
      model.push(entry);
    } else if (list !== 0) drop(list, random.between(1, model.length));
    else if (random.chance(0.1)) drop(list, random.between(1, Math.min(model.length, 100)));
    if (step % 97 !== 0) continue;
    const seen = models[list] as Entry[];
    const handle = handles[list] as number;
    for (let probe = 0; probe < 5 && seen.length > 0; probe++) {
      const at = random.below(seen.length);
      const entry = seen[at] as Entry;
      assert.equal(lists.main(handle, at), entry.main);
      assert.equal(lists.sub(handle, at), entry.sub);
      assert.equal(lists.isTombstone(handle, at), entry.dead);
      const sought = entry.main - random.below(2);
      assert.equal(
        lists.newestUpTo(handle, seen.length, sought),
        seen.findLastIndex((other) => other.main <= sought),
      );
    }
  }
  assert.ok((models[0] as Entry[]).length > 4096, 'a list longer than a chunk was among them');
  assert.equal(
    lists.entries,
    models.reduce((sum, model) => sum + model.length, 0),
  );
  for (let list = 0; list < handles.length; list++) {
    const model = models[list] as Entry[];
    // From arrays of its own back into the pool, and away.
    if (model.length > 4096) drop(list, model.length - 1000);
    if (model.length > 0) assert.equal(lists.main(handles[list] as number, 0), model[0]?.main);
    if (model.length > 0) drop(list, model.length);
  }
  assert.equal(lists.entries, 0);
  assert.equal(lists.bytes(), 0);
});

test('revision lists: many chunks, of which some are given back and used again', () => {
  const random = new Prng(11);
  const lists = new RevisionLists();
  const handles: number[] = [];
  const lengths: number[] = [];
  const main = (list: number, index: number): number => 2 ** 33 + list * 1000 + index;
  const fill = (list: number): void => {
    handles[list] ??= NO_LIST;
    lengths[list] ??= 0;
    for (const length = random.between(20, 60); (lengths[list] as number) < length; ) {
      const index = lengths[list] as number;
      handles[list] = lists.append(handles[list] as number, index, main(list, index), list % 7, index % 2 === 1);
      lengths[list] = index + 1;
    }
  };
  for (let round = 0; round < 3; round++) {
    for (let list = 0; list < 4000; list++) fill(list);
    assert.ok(lists.bytes() > 2 ** 21, 'they lie in several slabs');
    for (let list = 0; list < 4000; list++) {
      const [handle, length] = [handles[list] as number, lengths[list] as number];
      for (let index = 0; index < length; index++) {
        assert.equal(lists.main(handle, index), main(list, index));
        assert.equal(lists.sub(handle, index), list % 7);
        assert.equal(lists.isTombstone(handle, index), index % 2 === 1);
      }
      // Neighbours go together, so that chunks become empty.
      if (round < 2 && list % 1000 < 700) continue;
      handles[list] = lists.dropFirst(handle, length, length);
      lengths[list] = 0;
    }
  }
  assert.equal(lists.entries, 0);
  assert.equal(lists.bytes(), 0);
});
