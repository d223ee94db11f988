import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Prng } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { PutRequest, RaftRequestField, writeRaftRequest } from '@etsd/proto';
import { Lessor, State, WINDOW_ENTRIES } from '@etsd/state';
import { WindowDigests } from './window-digests.ts';

/** A state and its windows; entries are applied as the log would. */
class Side {
  readonly backend: MemoryBackend;
  readonly store: Store;
  readonly state: State;
  readonly windows: WindowDigests;

  constructor(backend = new MemoryBackend()) {
    this.backend = backend;
    this.store = new Store(backend);
    this.store.open();
    const { store } = this;
    this.state = new State({ backend, store, lessor: new Lessor({ store, backend, ttlMinSeconds: 2 }) });
    this.windows = new WindowDigests({ store, auth: this.state.auth });
    this.state.onWindow = (index) => this.windows.ended(index);
  }

  /** Up to an index, as the seed says. */
  apply(upTo: number, change: (index: number) => number = () => 0): this {
    for (let index = this.state.appliedIndex + 1; index <= upTo; index++) {
      const prng = new Prng(index + change(index));
      const key = Buffer.from(`k${prng.below(30)}`);
      const body = PutRequest.encode(
        PutRequest.create({ key, value: Buffer.alloc(prng.below(2000), prng.below(255)) }),
      );
      this.state.apply(index, 1, writeRaftRequest(RaftRequestField.Put, body, 0, body.length, 0, index, '', 0), null);
    }
    return this;
  }

  get digests(): [end: number, digest: number][] {
    return this.windows.after(0).map(({ end, digest }) => [end, digest]);
  }
}

test('who applies the same has the same digests, and other ones in every window', () => {
  const one = new Side().apply(5 * WINDOW_ENTRIES + 1);
  const other = new Side().apply(5 * WINDOW_ENTRIES + 1);
  assert.deepEqual(one.digests, other.digests);
  assert.deepEqual(
    one.digests.map(([end]) => end),
    [256, 512, 768, 1024, 1280],
  );
  assert.equal(new Set(one.digests.map(([, digest]) => digest)).size, 5);
  const [first] = one.windows.after(0);
  assert.deepEqual([first?.fromRevision, first?.toRevision], [1, 257]);
  assert.deepEqual(
    one.windows.after(1000).map(({ end }) => end),
    [1024, 1280],
  );
});

// Goal: one change of anything shows in its window. Method: each entry of a window in turn is another one.
test('one other entry makes another digest, in its window and from then on', () => {
  const right = new Side().apply(3 * WINDOW_ENTRIES + 1).digests;
  for (let index = WINDOW_ENTRIES + 1; index <= 2 * WINDOW_ENTRIES; index += 17) {
    const wrong = new Side().apply(3 * WINDOW_ENTRIES + 1, (at) => (at === index ? 1_000_000 : 0)).digests;
    assert.deepEqual(wrong[0], right[0]);
    assert.notDeepEqual(wrong[1], right[1], `entry ${index}`);
  }
});

test('a window that began elsewhere is not told; the next one is, and it is that of the others', () => {
  const whole = new Side().apply(4 * WINDOW_ENTRIES + 1);
  const first = new Side().apply(WINDOW_ENTRIES + 40);
  first.backend.commit();
  const restarted = new Side(first.backend).apply(4 * WINDOW_ENTRIES + 1);
  assert.deepEqual(restarted.digests, whole.digests.slice(2));
  whole.windows.reset();
  assert.equal(whole.digests.length, 0);
  whole.apply(6 * WINDOW_ENTRIES + 1);
  assert.deepEqual(
    whole.digests.map(([end]) => end),
    [6 * WINDOW_ENTRIES],
  );
});
