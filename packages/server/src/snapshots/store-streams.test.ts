// Goal: a client is sent the store of one moment, whole and checked, while it is written, by a thread that writes no file;
// whoever is slow, or leaves, does not keep the store held. Method: stores of LMDB and real threads.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { LmdbBackend } from '@etsd/backend/lmdb';
import { silentLogger } from '@etsd/base';
import { BoltFile, checkBoltFile } from '@etsd/boltfile';
import { revisionKey } from '@etsd/mvcc';
import { nodeWorld } from '@etsd/runtime/node';
import type { SentFile } from '../api/snapshot.ts';
import { MetricRegistry } from '../metrics.ts';
import { pacer } from './pace.ts';
import { SnapshotMetrics } from './snapshot-metrics.ts';
import { StoreStreams, type StoreStreamsParts } from './store-streams.ts';

const world = nodeWorld();
test.after(() => world.workers.close());
const pause = (): Promise<void> => Promise.resolve();

/** Another way to send, which must not be needed. */
const noFiles = {
  take(): Promise<SentFile | null> {
    return Promise.reject(new Error('the other way was taken'));
  },
};

class Kept {
  readonly directory = mkdtempSync(join(tmpdir(), 'store-streams-'));
  readonly backend = new LmdbBackend(join(this.directory, 'store.mdb'), (error) => assert.fail(error));
  private revision = 1;

  streams(parts: Partial<StoreStreamsParts> = {}): StoreStreams {
    return new StoreStreams({
      world,
      logger: silentLogger,
      directory: this.directory,
      backend: this.backend,
      metrics: new SnapshotMetrics(new MetricRegistry()),
      saveProgress: () => {},
      isBusy: () => false,
      newPace: () => pacer(world, () => false),
      files: noFiles,
      ...parts,
    });
  }

  /** Writes one record and counts the writes beside it, so that both are of one moment. */
  put(bytes: number): void {
    this.backend.put('key', revisionKey(++this.revision, 0), Buffer.alloc(bytes, this.revision));
    this.backend.put('meta', Buffer.from('count'), Buffer.from(String(this.revision - 1)));
  }

  async fill(records: number, bytes: number): Promise<void> {
    for (let i = 0; i < records; i++) this.put(i === 7 ? 700_000 : bytes);
    await this.backend.flush();
  }

  async read(sent: SentFile): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let piece = await sent.read(null); piece !== null; piece = await sent.read(null)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** Checks the file and gives its number of records, which is what the store counted beside them. */
  async records(sent: SentFile, bytes: Buffer): Promise<number> {
    assert.equal(bytes.length, sent.size);
    assert.deepEqual(sent.digest?.(), createHash('sha256').update(bytes).digest());
    const path = join(this.directory, 'received.db');
    writeFileSync(path, bytes);
    const file = await BoltFile.open(world.disk, path);
    let records = 0;
    let counted = -1;
    await checkBoltFile(file, pause, (bucket, leaf) => {
      const name = bucket.name.toString();
      if (name === 'key') records += leaf.count;
      if (name === 'meta') counted = Number(leaf.value(0).toString());
    });
    await file.close();
    assert.equal(records, counted, 'of one moment');
    return records;
  }

  leftovers(): string[] {
    return readdirSync(this.directory).filter((name) => name.endsWith('.tmp'));
  }

  async close(): Promise<void> {
    await this.backend.close();
    rmSync(this.directory, { recursive: true });
  }
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('the store of one moment is sent while it goes on being written', async () => {
  const kept = new Kept();
  await kept.fill(3000, 700);
  const streams = kept.streams();
  kept.put(10);
  const taking = streams.take(() => true);
  let isRead = false;
  const writing = (async () => {
    while (!isRead) {
      for (let i = 0; i < 50; i++) kept.put(300);
      kept.backend.commit();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  const sent = await taking;
  assert.ok(sent !== null);
  const bytes = await kept.read(sent);
  isRead = true;
  await writing;
  assert.ok((await kept.records(sent, bytes)) >= 3001, 'with what was written before it was asked for');
  assert.deepEqual(kept.leftovers(), []);
  sent.close();
  await kept.close();
});

test('whoever leaves early lets the store go, and others have their turn', async () => {
  const kept = new Kept();
  await kept.fill(3000, 700);
  const streams = kept.streams();
  const [first, second] = [await streams.take(() => true), await streams.take(() => true)];
  let isWanted = true;
  const unwanted = streams.take(() => isWanted);
  const third = streams.take(() => true);
  isWanted = false;
  assert.ok((await first?.read(null)) !== null);
  first?.close();
  first?.close();
  assert.equal(await unwanted, null);
  const last = await third;
  assert.ok(last !== null && second !== null);
  assert.equal(await first?.read(null), null, 'what is closed gives nothing more');
  assert.equal(await kept.records(last, await kept.read(last)), 3000);
  second.close();
  last.close();
  await kept.close();
});

test('for a slow client the rest waits on the disk, and the store is let go', async () => {
  const kept = new Kept();
  await kept.fill(6000, 700);
  let held = 0;
  const { backend } = kept;
  const holding = new Proxy(backend, {
    get(target, name) {
      if (name !== 'freezeFile') return Reflect.get(target, name) as unknown;
      return async () => {
        const frozen = await target.freezeFile();
        held++;
        const close = (): void => {
          held--;
          frozen.close();
        };
        return { ...frozen, close };
      };
    },
  });
  const streams = kept.streams({ backend: holding, heldMs: -1_000_000 });
  const sent = await streams.take(() => true);
  assert.ok(sent !== null);
  await until(() => held === 0);
  assert.equal(kept.leftovers().length, 1);
  assert.equal(await kept.records(sent, await kept.read(sent)), 6000);
  sent.close();
  await until(() => kept.leftovers().length === 0);
  await kept.close();
});

test('damage in the file fails what is sent', async () => {
  const kept = new Kept();
  await kept.fill(10, 10);
  const damaged = join(kept.directory, 'store.mdb');
  const { backend } = kept;
  const frozen = { path: damaged, fd: -1, close: () => {} };
  const broken = new Proxy(backend, {
    get: (target, name) =>
      name === 'freezeFile'
        ? () => Promise.resolve({ ...frozen, fd: 1_000_000 })
        : (Reflect.get(target, name) as unknown),
  });
  await assert.rejects(
    kept.streams({ backend: broken }).take(() => true),
    /EBADF/,
  );
  await kept.close();
});

test('a store in memory goes the other way', async () => {
  const kept = new Kept();
  const streams = kept.streams({ backend: new MemoryBackend() });
  await assert.rejects(
    streams.take(() => true),
    /the other way/,
  );
  await assert.rejects(
    streams.take(() => true),
    /the other way/,
  );
  await kept.close();
});
