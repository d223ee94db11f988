import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { silentLogger } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { StateCheck } from './state-check.ts';

class Bench {
  readonly backend = new MemoryBackend();
  readonly store = new Store(this.backend);
  readonly files = new Map<string, Buffer>();
  readonly damaged: number[] = [];
  private now: (() => void)[] = [];
  check: StateCheck;

  constructor() {
    this.store.open();
    this.check = this.begin();
  }

  begin(): StateCheck {
    const disk = {
      stat: async (path: string) => (this.files.has(path) ? { size: 1, isDirectory: false, modifiedMs: 0 } : null),
      readFile: async (path: string) => this.files.get(path) as Buffer,
      writeFileAtomic: async (path: string, bytes: Buffer) => void this.files.set(path, bytes),
    };
    const after = (_ms: number, callback: () => void) => {
      this.now.push(callback);
      return { cancel: () => {} };
    };
    const timers = { after } as unknown as ConstructorParameters<typeof StateCheck>[0]['world']['timers'];
    this.check = new StateCheck({
      store: this.store,
      world: { disk, timers },
      path: '/m/hash',
      logger: silentLogger,
      damaged: ({ revision }) => this.damaged.push(revision),
    });
    return this.check;
  }

  put(key: string, value: string): void {
    this.store.begin();
    this.store.put(key, Buffer.from(value), 0, value.length, '0000000000000000');
    this.store.end();
  }

  /** One whole reading, as of now. */
  async run(revision = this.store.revision): Promise<void> {
    this.check.check(revision);
    for (let turn = 0; turn < 200; turn++) {
      await null;
      for (const callback of this.now.splice(0)) callback();
    }
  }

  flip(): void {
    let found: [Buffer, Buffer] | null = null;
    this.backend.scan('key', null, null, (key, record) => {
      found = [Buffer.from(key), Buffer.from(record)];
      return false;
    });
    const [key, record] = found as unknown as [Buffer, Buffer];
    record[record.length - 1] = (record.at(-1) as number) ^ 4;
    this.backend.put('key', key, record);
  }
}

test('what is stored and does not change is found as it was, also by the next life', async () => {
  const bench = new Bench();
  bench.put('a', '1');
  await bench.run();
  for (let at = 0; at < 500; at++) bench.put(`k${at}`, 'x'.repeat(1000));
  await bench.run();
  await bench.begin().open();
  await bench.run();
  assert.deepEqual(bench.damaged, []);
  assert.ok(bench.check.checks >= 1);
  const [state] = bench.check.known();
  assert.equal(state?.revision, bench.store.revision);
});

test('a bit that changed in the store is found by the next reading, in the same life or the next', async () => {
  for (const isNextLife of [false, true]) {
    const bench = new Bench();
    bench.put('a', 'some value');
    bench.put('b', 'another');
    await bench.run();
    bench.put('c', 'later');
    bench.flip();
    if (isNextLife) await bench.begin().open();
    await bench.run();
    assert.deepEqual(bench.damaged, [3]);
    await bench.run();
    assert.deepEqual(bench.damaged, [3], 'told once');
  }
});

test('a compaction makes it another question', async () => {
  const bench = new Bench();
  bench.put('a', '1');
  bench.put('a', '2');
  await bench.run();
  assert.equal(bench.store.compact(3), null);
  while (!bench.store.compactSlice(1000));
  bench.put('a', '3');
  await bench.run();
  assert.deepEqual(bench.damaged, []);
  assert.equal(bench.check.failures, 0);
});

test('a revision that is yet to come is waited for', async () => {
  const bench = new Bench();
  bench.put('a', '1');
  bench.check.check(3);
  await null;
  assert.equal(bench.check.known().length, 0);
  bench.put('a', '2');
  await bench.run(3);
  assert.equal(bench.check.known()[0]?.revision, 3);
});
