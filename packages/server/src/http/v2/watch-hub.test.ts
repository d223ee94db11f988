import assert from 'node:assert/strict';
import { test } from 'node:test';
import { V2Event, V2Failure, V2History, V2Shown } from '@etsd/state';
import { type V2Watcher, V2WatchHub } from './watch-hub.ts';

class Listener implements V2Watcher {
  readonly key: string;
  readonly isRecursive: boolean;
  readonly isStream: boolean;
  since: number;
  readonly heard: string[] = [];
  hasEnded = false;
  takes = Number.POSITIVE_INFINITY;

  constructor(key: string, { isRecursive = false, isStream = true, since = 1 } = {}) {
    this.key = key;
    this.isRecursive = isRecursive;
    this.isStream = isStream;
    this.since = since;
  }

  tell(json: string): boolean {
    if (this.heard.length >= this.takes) return false;
    const { action, node } = JSON.parse(json);
    this.heard.push(`${action} ${node.key}`);
    return true;
  }

  end(): void {
    this.hasEnded = true;
  }
}

/** A history and a hub, to which changes happen. */
class Scene {
  readonly history = new V2History();
  readonly hub = new V2WatchHub(this.history);
  private index = 0;

  happen(action: 'set' | 'delete', key: string, removed: string[] = [], isRefresh = false): void {
    const node = new V2Shown(key, ++this.index, 1);
    const event = new V2Event(action, node);
    event.isRefresh = isRefresh;
    if (removed.length > 1) {
      event.previous = new V2Shown(key, 1, 1);
      event.previous.isDir = true;
    }
    this.history.add(this.index, event);
    this.hub.happened(event, removed);
  }

  watch(key: string, options: { isRecursive?: boolean; isStream?: boolean; since?: number } = {}): Listener {
    const listener = new Listener(key, options);
    assert.equal(this.hub.add(listener), null);
    return listener;
  }
}

// Goal: each is told of what it waits for and of nothing else, hidden names only where they are asked for.
test('who is told of what', () => {
  const scene = new Scene();
  const everything = scene.watch('/', { isRecursive: true });
  const onlyRoot = scene.watch('/');
  const below = scene.watch('/a', { isRecursive: true });
  const exact = scene.watch('/a');
  const near = scene.watch('/ab', { isRecursive: true });
  const hidden = scene.watch('/a/_h', { isRecursive: true });
  const later = scene.watch('/a', { isRecursive: true, since: 4 });
  scene.happen('set', '/a/x');
  scene.happen('set', '/a');
  scene.happen('set', '/a/_h/y');
  scene.happen('set', '/a/x', [], true);
  scene.happen('set', '/b');
  scene.happen('set', '/a/z');
  assert.deepEqual(everything.heard, ['set /a/x', 'set /a', 'set /b', 'set /a/z']);
  assert.deepEqual(onlyRoot.heard, []);
  assert.deepEqual(below.heard, ['set /a/x', 'set /a', 'set /a/z']);
  assert.deepEqual(exact.heard, ['set /a']);
  assert.deepEqual(near.heard, []);
  assert.deepEqual(hidden.heard, ['set /a/_h/y']);
  assert.deepEqual(later.heard, ['set /a/z']);
});

// Goal: whoever waits for something in a directory hears once that the directory went.
test('a directory takes with it what lies in it', () => {
  const scene = new Scene();
  const inside = scene.watch('/d/e/f');
  const itself = scene.watch('/d');
  const above = scene.watch('/', { isRecursive: true });
  const elsewhere = scene.watch('/d2');
  scene.happen('delete', '/d', ['/d/e/f', '/d/e', '/d']);
  for (const listener of [inside, itself, above]) assert.deepEqual(listener.heard, ['delete /d']);
  assert.deepEqual(elsewhere.heard, []);
});

// Goal: one answer ends a wait and leaves nothing behind; one that cannot be told any more goes; others stay.
test('the end of a wait', () => {
  const scene = new Scene();
  const once = scene.watch('/a', { isStream: false });
  const slow = scene.watch('/a');
  slow.takes = 1;
  const gone = scene.watch('/a');
  scene.hub.remove(gone);
  scene.hub.remove(gone);
  assert.equal(scene.hub.size, 2);
  scene.happen('set', '/a');
  assert.ok(once.hasEnded);
  assert.equal(scene.hub.size, 1);
  scene.happen('set', '/a');
  assert.ok(slow.hasEnded);
  assert.equal(scene.hub.size, 0);
  assert.deepEqual([once.heard, slow.heard, gone.heard], [['set /a'], ['set /a'], []]);
  const past = scene.watch('/a', { isStream: false, since: 2 });
  assert.deepEqual([past.heard, past.hasEnded, scene.hub.size], [['set /a'], true, 0]);
  const stream = scene.watch('/a', { since: 1 });
  assert.equal(stream.heard.length, 2, 'all of the past');
  scene.hub.close();
  assert.ok(stream.hasEnded);
});

// Goal: after a snapshot those who wait are told what they missed, or end where nobody can tell.
test('a member that took a snapshot', () => {
  const scene = new Scene();
  for (let i = 0; i < 10; i++) scene.happen('set', `/k${i}`);
  const missed = scene.watch('/late', { since: 11 });
  const forgotten = scene.watch('/other', { since: 11 });
  const still = scene.watch('/none', { since: 5000 });
  scene.history.reset(4000, 4000);
  missed.since = 4001;
  const event = new V2Event('set', new V2Shown('/late', 4001, 4001));
  scene.history.add(4001, event);
  scene.hub.replaced();
  assert.deepEqual(missed.heard, ['set /late']);
  assert.ok(forgotten.hasEnded);
  assert.deepEqual(forgotten.heard, []);
  assert.ok(!still.hasEnded);
  const failure = scene.hub.add(new Listener('/x', { since: 3 }));
  assert.ok(failure instanceof V2Failure && failure.code === 401);
});
