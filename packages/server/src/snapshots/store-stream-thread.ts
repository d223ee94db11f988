/**
 * What sends a store while it goes on being written, in a thread of its own: it reads the store's file, which is held in a
 * state, and makes of it the bytes of a bbolt file, twice. The first time only its size and its first pages are kept, which
 * say where everything lies, the second time the bytes go out in their order. No file is written, and the event loop only
 * hands pieces on. What it says and hears is described at `StoreStreams`.
 */
import { createHash } from 'node:crypto';
import { LmdbReader } from '@etsd/backend/lmdb';
import { assert } from '@etsd/base';
import type { BoltPlace } from '@etsd/boltfile';
import type { DiskCallback, DiskFile, ReadCallback, ThreadParts } from '@etsd/runtime';
import { writeStoreToBolt } from './store-file.ts';
import { pauser } from './turns.ts';

/** Of a slot. */
export const SLOT_BYTES: number = 256 * 1024;
/** Read between two pauses: a millisecond or two. */
const SLICE_BYTES = 512 * 1024;
/** Said in the place of the number of a slot: the store is not to be held any longer. */
export const LEAVE = -1;

export interface StreamTask {
  /** The store's file, and where it is open. */
  readonly path: string;
  readonly fd: number;
  /** Memory that both sides see, a slot after the other. */
  readonly slots: SharedArrayBuffer;
  /** Not zero while others are busy. */
  readonly busy: Int32Array;
  /** Where bytes are put that nobody has taken when the store must not be held any longer. */
  readonly asidePath: string;
}

/** What the thread says. */
export type Said =
  /** Once, before everything else. */
  | { readonly size: number }
  /** Bytes in a slot, in their order. */
  | { readonly slot: number; readonly length: number }
  /** The store need not be held any longer. */
  | { readonly isReleased: true }
  /** At the end: the SHA-256 of all bytes. */
  | { readonly digest: Uint8Array };

export async function streamStore(thread: ThreadParts, task: StreamTask): Promise<void> {
  const { clock, timers } = thread;
  const reader = new LmdbReader(task.path, task.fd);
  const pause = pauser({ clock, timers }, { isBusy: () => Atomics.load(task.busy, 0) !== 0 });
  const counted = new CountedFile(task.path);
  const options = { pause, isDurable: false, sliceBytes: SLICE_BYTES };
  const size = await writeStoreToBolt(reader, placeOf(counted), task.path, { ...options, onlyMeasures: true });
  thread.say({ size } satisfies Said);
  const sent = new SentFile(thread, task, counted.metas);
  await sent.begin();
  await writeStoreToBolt(reader, placeOf(sent), task.path, options);
  await sent.end();
}

function placeOf(file: DiskFile): BoltPlace {
  return {
    open: () => Promise.resolve(file),
    remove: () => Promise.resolve(),
    syncDirectory: () => Promise.resolve(),
  };
}

/** A file that is only written, once, its first pages last. */
abstract class WrittenFile implements DiskFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  abstract write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void;

  read(_target: Buffer, _start: number, _end: number, _position: number, done: ReadCallback): void {
    done(new Error('nothing is kept that could be read'), 0);
  }

  dataSync(done: DiskCallback): void {
    done(null);
  }

  sync(done: DiskCallback): void {
    done(null);
  }

  truncate(): Promise<void> {
    return Promise.resolve();
  }

  size(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Keeps the first pages alone. */
class CountedFile extends WrittenFile {
  metas: Buffer = Buffer.alloc(0);

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    if (position === 0) this.metas = Buffer.from(bytes.subarray(start, end));
    done(null);
  }
}

/** Hands on what is written, in slots. */
class SentFile extends WrittenFile {
  private readonly thread: ThreadParts;
  private readonly task: StreamTask;
  private readonly metas: Buffer;
  private readonly slots: Buffer;
  private readonly hash = createHash('sha256');
  private position = 0;
  /** Bytes that wait on the disk, once the store must not be held any longer. */
  private aside: DiskFile | null = null;
  private asideBytes = 0;

  constructor(thread: ThreadParts, task: StreamTask, metas: Buffer) {
    super(task.path);
    this.thread = thread;
    this.task = task;
    this.metas = metas;
    this.slots = Buffer.from(task.slots);
  }

  begin(): Promise<void> {
    return this.send(this.metas, 0, this.metas.length);
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    if (position === 0) {
      // The first pages were sent before the others.
      assert(this.metas.equals(bytes.subarray(start, end)), 'a store that is held stays as it is');
      done(null);
      return;
    }
    assert(position === this.position, 'pages are written in their order');
    this.send(bytes, start, end).then(() => done(null), done);
  }

  private async send(bytes: Buffer, start: number, end: number): Promise<void> {
    this.position += end - start;
    this.hash.update(bytes.subarray(start, end));
    for (let at = start; at < end; ) {
      const slot = this.aside === null ? await this.freeSlot() : LEAVE;
      if (slot === LEAVE) {
        await this.putAside(bytes, at, end);
        return;
      }
      const length = Math.min(SLOT_BYTES, end - at);
      bytes.copy(this.slots, slot * SLOT_BYTES, at, at + length);
      this.thread.say({ slot, length } satisfies Said);
      at += length;
    }
  }

  private async freeSlot(): Promise<number> {
    return (await this.thread.hear()) as number;
  }

  private async putAside(bytes: Buffer, start: number, end: number): Promise<void> {
    this.aside ??= await this.thread.disk.open(this.task.asidePath, 'create');
    const { aside, asideBytes } = this;
    this.asideBytes += end - start;
    await new Promise<void>((resolve, reject) => {
      aside.write(bytes, start, end, asideBytes, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  async end(): Promise<void> {
    this.thread.say({ isReleased: true } satisfies Said);
    if (this.aside !== null) await this.sendAside(this.aside);
    this.thread.say({ digest: new Uint8Array(this.hash.digest()) } satisfies Said);
  }

  private async sendAside(aside: DiskFile): Promise<void> {
    for (let at = 0; at < this.asideBytes; ) {
      const slot = await this.freeSlot();
      if (slot === LEAVE) continue;
      const length = Math.min(SLOT_BYTES, this.asideBytes - at);
      await new Promise<void>((resolve, reject) => {
        const start = slot * SLOT_BYTES;
        aside.read(this.slots, start, start + length, at, (error) => (error === null ? resolve() : reject(error)));
      });
      this.thread.say({ slot, length } satisfies Said);
      at += length;
    }
    await aside.close();
  }
}
