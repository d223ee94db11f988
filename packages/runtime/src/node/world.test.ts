/** Goal: the real world keeps the promises of the interfaces. Method: each is used once, and made to fail once. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { enableCompileCache, getCompileCacheDir } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { joinPath, parentPath } from '../index.ts';
import { nodeWorld } from './index.ts';

const world = nodeWorld();
after(() => world.workers.close());

test('time goes on, and the wall clock is near that of the system', () => {
  const before = world.clock.nowMs();
  assert.ok(world.clock.nowMs() >= before);
  assert.ok(Math.abs(world.clock.wallMs() - Date.now()) < 1000);
});

test('soon before end of turn before later; cancelled is never', async () => {
  const order: string[] = [];
  const { timers } = world;
  await new Promise<void>((resolve) => {
    const never = timers.after(50, () => order.push('never'));
    timers.endOfTurn(() => {
      order.push('end of turn');
      timers.after(100, resolve);
    });
    timers.soon(() => order.push('soon'));
    never.cancel();
    never.cancel();
  });
  assert.deepEqual(order, ['soon', 'end of turn']);
});

test('a repeated timer can end itself', async () => {
  let count = 0;
  await new Promise<void>((resolve) => {
    const timer = world.timers.every(1, () => {
      if (++count < 3) return;
      timer.cancel();
      resolve();
    });
  });
  assert.equal(count, 3);
});

test('random numbers stay in their bounds, across more than one block', () => {
  let low = 0;
  for (let round = 0; round < 5000; round++) {
    const float = world.random.float();
    assert.ok(float >= 0 && float < 1);
    assert.ok(Number.isInteger(world.random.u32()));
    if (float < 0.5) low++;
  }
  assert.ok(low > 2200 && low < 2800, `${low} of 5000 below one half`);
  assert.equal(world.random.bytes(33).length, 33);
  const drawn = new Set<string>();
  for (let i = 0; i < 1000; i++) drawn.add(world.random.bytes(16).toString('hex'));
  assert.equal(drawn.size, 1000, 'no bytes are given out twice');
});

test('workers give results and errors, more at a time than there are threads, and take buffers over', async () => {
  const url = new URL('./testing/work.ts', import.meta.url).href;
  const sums = [1, 2, 3, 4, 5].map((value) => world.workers.run(url, 'double', [value]));
  assert.deepEqual(await Promise.all(sums), [2, 4, 6, 8, 10]);
  await assert.rejects(world.workers.run(url, 'fail', ['on purpose']), /on purpose/);
  await assert.rejects(world.workers.run(url, 'nothing', []), /exports no function nothing/);
  await assert.rejects(world.workers.run(url, 'double', [() => 1]), /could not be cloned/);
  const buffer = new ArrayBuffer(8);
  assert.equal(await world.workers.run(url, 'lengthOf', [buffer], [buffer]), 8);
  assert.equal(buffer.byteLength, 0, 'the buffer has changed owner');
});

test('threads take compiled code from where their program does', async () => {
  const root = mkdtempSync(join(tmpdir(), 'etsd-compiled-'));
  try {
    enableCompileCache(root);
    const url = new URL('./testing/work.ts', import.meta.url).href;
    const { workers } = nodeWorld();
    assert.equal(await workers.run(url, 'cacheDirectory', []), getCompileCacheDir());
    assert.equal(typeof getCompileCacheDir(), 'string');
    await workers.close();
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('closed workers refuse, and what was under way fails', async () => {
  const { workers } = nodeWorld();
  const url = new URL('./testing/work.ts', import.meta.url).href;
  const first = assert.rejects(workers.run(url, 'never', []), /has ended/);
  await workers.close();
  await first;
  await assert.rejects(workers.run(url, 'double', [1]), /closed/);
});

test('without the flock tool a lock is a file that names its holder, and follows a rename', async () => {
  const root = mkdtempSync(join(tmpdir(), 'etsd-lock-'));
  const path = process.env['PATH'];
  process.env['PATH'] = root;
  try {
    // Another copy of the module, which has not found the tool before.
    const copy: string = './file-lock.ts?without-tool';
    const { lockFile, followRename } = (await import(copy)) as typeof import('./file-lock.ts');
    const lock = await lockFile(join(root, 'a'), 0o600);
    assert.equal(readFileSync(join(root, 'a.lock'), 'utf8'), String(process.pid));
    await assert.rejects(lockFile(join(root, 'a'), 0o600), /ELOCKED/);
    await followRename(join(root, 'a'), join(root, 'b'));
    await assert.rejects(lockFile(join(root, 'b'), 0o600), /ELOCKED/);
    await lock.release();
    writeFileSync(join(root, 'b.lock'), '999999999');
    await (await lockFile(join(root, 'b'), 0o600)).release();
  } finally {
    process.env['PATH'] = path;
    rmSync(root, { recursive: true, force: true });
  }
});

test('paths', () => {
  assert.equal(joinPath('/a/', 'b', 'c'), '/a/b/c');
  assert.equal(joinPath('a', 'b'), 'a/b');
  assert.equal(parentPath('/a/b/'), '/a');
  assert.equal(parentPath('/a'), '/');
  assert.equal(parentPath('a'), '.');
});
