import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { OperatorError } from '@etsd/base';
import { open } from 'lmdb';
import type { Backend } from './backend.ts';
import { LmdbBackend } from './lmdb.ts';
import { backendSuite } from './suite.ts';

const directory = mkdtempSync(join(tmpdir(), 'etsd-backend-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(directory, String(count++), 'member', 'snap', 'store.mdb');
const fail = (error: Error): void => {
  throw error;
};

const paths = new WeakMap<Backend, string>();
function openAt(path: string): Backend {
  const backend = new LmdbBackend(path, fail);
  paths.set(backend, path);
  return backend;
}

backendSuite({
  name: 'lmdb',
  create: async () => openAt(fresh()),
  reopen: async (backend) => {
    await backend.close();
    return openAt(paths.get(backend) as string);
  },
});

test('lmdb: files are for their owner alone, also after a defragmentation', async () => {
  const path = fresh();
  const backend = openAt(path);
  backend.put('key', Buffer.from('a'), Buffer.from('b'));
  await backend.defragment();
  for (const name of [path, `${path}-lock`]) assert.equal(statSync(name).mode & 0o777, 0o600, name);
  await backend.close();
  assert.deepEqual(readdirSync(join(path, '..')).sort(), ['store.mdb', 'store.mdb-lock']);
});

test('lmdb: a file of another format or kind is refused with advice', async () => {
  const other = fresh();
  await openAt(other).close();
  const raw = open({ path: other, noSubdir: true, maxDbs: 20 });
  const system = raw.openDB({ name: 'etsd', encoding: 'binary', keyEncoding: 'binary' });
  await system.put(Buffer.from('format'), Buffer.from('77'));
  await raw.close();
  assert.throws(
    () => new LmdbBackend(other, fail),
    (error) => error instanceof OperatorError && /format 77/.test(error.message),
  );

  const foreign = fresh();
  await openAt(foreign).close();
  rmSync(foreign);
  const someone = open({ path: foreign, noSubdir: true, maxDbs: 20 });
  await someone.openDB({ name: 'x' }).put('a', 'b');
  await someone.openDB({ name: 'y' }).put('a', 'b');
  await someone.close();
  assert.throws(() => new LmdbBackend(foreign, fail), OperatorError);

  const garbage = fresh();
  await openAt(garbage).close();
  writeFileSync(garbage, Buffer.alloc(100_000, 'garbage'));
  assert.throws(() => new LmdbBackend(garbage, fail), OperatorError);
});

// Goal: of what the quota counts, what the file holds and what is on its way to it, nothing counts twice. The writer's
// thread may be done with a batch before the event loop hears of it.
test('lmdb: a batch that the file shows already, and that is still in flight, is counted once', async () => {
  const backend = openAt(fresh());
  const halted = new Int32Array(new SharedArrayBuffer(4));
  const value = Buffer.alloc(200_000, 1);
  let bytes = 0;
  for (let round = 0; round < 5; round++) {
    for (let index = 0; index < 5; index++) backend.put('key', Buffer.from(`key/${round}/${index}`), value);
    bytes += 5 * value.length;
    backend.commit();
    do {
      // The loop stands still while the writer works.
      await new Promise((resolve) => setImmediate(resolve));
      Atomics.wait(halted, 0, 0, 20);
      const used = backend.inUseBytes() + backend.pendingBytes;
      assert.ok(used >= bytes && used < 1.1 * bytes + 100_000, `${used} bytes instead of ${bytes}`);
    } while (backend.pendingBytes > 0);
  }
  await backend.close();
});

// Goal: a defragmentation that begins while large batches are on their way to the file. LMDB's copy beside a transaction
// of the writer thread ended the process in two of three runs.
test('lmdb: defragmenting right behind a large deletion frees the space, every time', async () => {
  const key = (index: number): Buffer => Buffer.from(`key/${String(index).padStart(8, '0')}`);
  const value = Buffer.alloc(200_000, 1);
  for (let round = 0; round < 5; round++) {
    const backend = openAt(fresh());
    for (let index = 0; index < 40; index++) backend.put('lease', key(index), value);
    await new Promise((resolve) => backend.commit(resolve));
    for (let index = 1; index < 40; index++) backend.delete('lease', key(index));
    backend.commit();
    const done = backend.defragment();
    backend.put('lease', key(40), value);
    assert.deepEqual(backend.get('lease', key(40)), value);
    await done;
    await backend.flush();
    assert.ok(backend.sizeBytes() < 10 * value.length, `${backend.sizeBytes()} bytes left`);
    assert.deepEqual(backend.get('lease', key(0)), value);
    assert.equal(backend.get('lease', key(1)), null);
    assert.deepEqual(backend.get('lease', key(40)), value);
    await backend.close();
  }
});

test('lmdb: what a defragmentation left behind is cleared away', async () => {
  const path = fresh();
  const first = openAt(path);
  first.put('key', Buffer.from('a'), Buffer.from('b'));
  await first.close();
  writeFileSync(`${path}.new`, 'half a copy');
  const backend = openAt(path);
  assert.ok(!existsSync(`${path}.new`));
  assert.equal(backend.get('key', Buffer.from('a'))?.toString(), 'b');
  await backend.close();
});

/** The batches the child wrote are whole, and none of those it was told of is missing. */
function checkBatches(backend: Backend, acknowledged: number): void {
  const index = Number(backend.get('meta', Buffer.from('consistent_index'))?.toString());
  assert.ok(index >= acknowledged, `batch ${acknowledged} was acknowledged, ${index} is there`);
  const perBatch = new Map<string, number>();
  backend.scan('key', null, null, (_key, value) => {
    const batch = value.toString('latin1', 0, 10);
    perBatch.set(batch, (perBatch.get(batch) ?? 0) + 1);
    return true;
  });
  assert.ok(index > 0);
  for (let batch = 1; batch <= index; batch++) assert.equal(perBatch.get(String(batch).padStart(10, '0')), 400);
  assert.equal(perBatch.size, index);
}

const MODES = ['plain', 'plain', 'plain', 'flush', 'defragment'];

// Goal: kill -9 at any moment leaves whole batches, in order. Method: a child writes batches of many records that all
// carry the batch's number, and is killed at a moment that differs from round to round.
test('lmdb: a killed process leaves no half batch', async () => {
  const child = join(import.meta.dirname, 'testdata', 'batch-writer.ts');
  for (let round = 0; round < MODES.length; round++) {
    const path = fresh();
    const writer: ChildProcess = spawn(process.execPath, [child, path, MODES[round] as string], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = 0;
    let text = '';
    const enough = 20 + round * 13;
    writer.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split('\n');
      text = lines.pop() as string;
      for (const line of lines) acknowledged = Number(line);
      if (acknowledged >= enough) writer.kill('SIGKILL');
    });
    await once(writer, 'close');
    assert.ok(acknowledged >= enough);
    // After flushes LMDB is told not to trust what it had not yet synced, as after a crash of the machine.
    if (MODES[round] === 'flush') process.env['LMDB_RESTORE'] = 'safe';
    const backend = openAt(path);
    delete process.env['LMDB_RESTORE'];
    checkBatches(backend, acknowledged);
    await backend.close();
  }
});

// Goal: where the disk refuses a batch, the owner hears of it, nothing is written behind it, and the file stays whole.
// Method: a child whose files may not grow beyond 8 MB.
test('lmdb: a refused write stops the store and harms nothing', { skip: process.platform === 'win32' }, async () => {
  const child = join(import.meta.dirname, 'testdata', 'batch-writer.ts');
  const path = fresh();
  const script = `trap '' XFSZ; ulimit -f 16384; exec "$0" "$1" "$2" limited`;
  const writer = spawn('sh', ['-c', script, process.execPath, child, path], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  writer.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = (await once(writer, 'close')) as [number];
  assert.match(text, /failed: writing to .*store\.mdb failed/);
  assert.equal(code, 0, 'the batch after the failure is refused');
  const acknowledged = text
    .split('\n')
    .map(Number)
    .filter((number) => number > 0);
  assert.ok(acknowledged.length > 5, 'some batches fitted');
  const backend = openAt(path);
  checkBatches(backend, Math.max(...acknowledged));
  assert.equal(backend.get('meta', Buffer.from('after')), null);
  await backend.close();
});
