import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, U64_ZERO } from '@etsd/base';
import { encodeKeyValue, KeyValue, SortOrder, SortTarget } from '@etsd/proto';
import { SlicedSort } from './sliced-sort.ts';

const FIELDS: [target: number, of: (kv: KeyValue) => number | string][] = [
  [SortTarget.KEY, (kv) => kv.key.toString('latin1')],
  [SortTarget.VERSION, (kv) => kv.version],
  [SortTarget.CREATE, (kv) => kv.createRevision],
  [SortTarget.MOD, (kv) => kv.modRevision],
  [SortTarget.VALUE, (kv) => kv.value.toString('latin1')],
];

// Goal: the order is that of a stable sort, whatever the sizes of runs, slices and input.
test('sorting in slices equals sorting in one go', () => {
  const random = new Prng(3);
  for (const count of [0, 1, 2, 1023, 1024, 1025, 2500]) {
    const records = Array.from({ length: count }, (_, at) => {
      const value = random.bytes(random.below(3));
      return encodeKeyValue(
        `k${at}`,
        random.below(50),
        random.below(5000),
        random.below(5),
        value,
        0,
        value.length,
        U64_ZERO,
      );
    });
    for (const [target, of] of FIELDS) {
      for (const order of [SortOrder.ASCEND, SortOrder.DESCEND]) {
        const sign = order === SortOrder.ASCEND ? 1 : -1;
        const keyed = records.map((record) => ({ record, key: of(KeyValue.decode(record)) }));
        keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0));
        const sort = new SlicedSort(target, order);
        sort.add(records.slice(0, count >> 1));
        sort.add(records.slice(count >> 1));
        let steps = 0;
        while (!sort.step(1 + random.below(700))) assert.ok(steps++ < 1_000_000, 'it must end');
        assert.ok(
          sort.records.every((record, at) => record === keyed[at]?.record),
          `${count} ${target} ${order}`,
        );
        assert.equal(sort.records.length, count);
      }
    }
  }
});
