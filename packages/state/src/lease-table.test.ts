// Goal: the table is a map from ids to leases, whatever is added and removed, also while somebody goes through it. Method:
// against a Map; the seed is printed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, type U64, u64FromHalves } from '@etsd/base';
import { type Lease, LeaseTable } from './lease-table.ts';

test('lease table: the same as a map', (context) => {
  const seed = Number(process.env['SEED'] ?? 42);
  context.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  const table = new LeaseTable();
  const model = new Map<U64, { ttl: number; deadline: number }>();
  // Ids that differ in one half only, and others.
  const draw = (): U64 => u64FromHalves(random.below(3) * 0x4000_0001, random.below(4000) * 0x10_0003);
  for (let step = 0; step < 60_000; step++) {
    const id = draw();
    const known = model.get(id);
    const lease = table.get(id);
    assert.equal(lease?.ttl, known?.ttl);
    assert.equal(lease?.deadline, known?.deadline);
    assert.equal(lease?.id ?? id, id);
    if (lease === undefined) {
      const made = table.add(id, step, 0);
      assert.deepEqual([made.deadline, made.heapKey, made.heapIndex], [0, 0, -1]);
      made.deadline = step + 0.5;
      model.set(id, { ttl: step, deadline: step + 0.5 });
    } else if (random.chance(0.6)) {
      table.delete(lease);
      model.delete(id);
    }
    assert.equal(table.size, model.size);
  }
  assert.deepEqual([...table.keys()].sort(), [...model.keys()].sort());
  const other = new LeaseTable();
  other.add(u64FromHalves(1, 1), 7, 0);
  table.become(other);
  assert.deepEqual(
    [...table.values()].map((lease) => lease.ttl),
    [7],
  );
  table.clear();
  assert.deepEqual([table.size, [...table.values()].length], [0, 0]);
});

test('lease table: going through it meets every lease that stays, once, and none that is gone', (context) => {
  const seed = Number(process.env['SEED'] ?? 42);
  context.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  const table = new LeaseTable();
  const staying = new Set<U64>();
  const leaving: Lease[] = [];
  for (let i = 0; i < 5000; i++) {
    const lease = table.add(u64FromHalves(random.u32(), random.u32()), i, 0);
    if (i % 3 === 0) leaving.push(lease);
    else staying.add(lease.id);
  }
  const met = new Set<U64>();
  for (const lease of table.values()) {
    assert.equal(table.get(lease.id), lease, 'it is there');
    assert.ok(!met.has(lease.id), 'it comes once');
    met.add(lease.id);
    // Enough is added for tables to be made anew under way.
    for (let i = 0; i < 3; i++) if (table.size < 60_000) table.add(u64FromHalves(random.u32(), random.u32()), 0, 0);
    const gone = leaving.pop();
    if (gone !== undefined) table.delete(gone);
  }
  for (const id of staying) assert.ok(met.has(id), id);
});
