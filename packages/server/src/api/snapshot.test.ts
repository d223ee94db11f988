// Goal: the stream is etcd's to the message, waits for a slow client, and leaves nothing behind when that goes away.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { SnapshotRequest, SnapshotResponse } from '@etsd/proto';
import type { ApiHandler } from '../context.ts';
import { TestMember } from './member.fixture.ts';
import { PIECE_BYTES, registerSnapshot, type SnapshotFileSource } from './snapshot.ts';
import { FakeCall } from './surroundings.fixture.ts';

const PATH = '/etcdserverpb.Maintenance/Snapshot';
/** Files in memory; counts what is open and what was read. */
class Files implements SnapshotFileSource {
  readonly bytes: Buffer;
  open = 0;
  taken = 0;
  readBytes = 0;
  pieceBytes = (): number => PIECE_BYTES;
  failure: Error | null = null;
  /** Takers wait while this is set. */
  gate: Promise<void> | null = null;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  async take(isWanted: () => boolean) {
    await this.gate;
    if (this.failure !== null) throw this.failure;
    if (!isWanted()) return null;
    this.open++;
    this.taken++;
    let at = 0;
    return {
      size: this.bytes.length,
      read: async (memory: Buffer | null) => {
        if (at === this.bytes.length) return null;
        const end = Math.min(this.bytes.length, at + this.pieceBytes());
        const piece = memory === null ? Buffer.from(this.bytes.subarray(at, end)) : memory.subarray(0, end - at);
        this.bytes.copy(piece, 0, at, end);
        at = end;
        this.readBytes = at;
        return piece;
      },
      close: () => {
        this.open--;
      },
    };
  }
}

function setUp(bytes: Buffer) {
  const member = new TestMember();
  const files = new Files(bytes);
  registerSnapshot(member.context, files);
  return { member, files, call: () => member.call(PATH, SnapshotRequest.encode(new SnapshotRequest())) };
}

async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('messages of 32 KiB with what remains, then the checksum', async () => {
  const bytes = new Prng(1).bytes(32 * 1024 * 5 + 4096);
  const { call, files } = setUp(bytes);
  const made = call();
  await turns();
  assert.deepEqual(made.status, { code: 0, message: '' });
  const responses = made.messages.map((message) => SnapshotResponse.decode(message));
  const sizes = responses.map(({ blob }) => blob.length);
  assert.deepEqual(sizes, [32_768, 32_768, 32_768, 32_768, 32_768, 4096, 32]);
  const remaining = responses.map(({ remainingBytes }) => remainingBytes);
  assert.deepEqual(remaining, [135_168, 102_400, 69_632, 36_864, 4096, 0, 0]);
  assert.ok(
    responses.every(({ header, version }) => header === null && version === ''),
    'as 3.5 leaves them',
  );
  const blobs = responses.map(({ blob }) => blob);
  assert.deepEqual(Buffer.concat(blobs.slice(0, -1)), bytes);
  assert.deepEqual(blobs.at(-1), createHash('sha256').update(bytes).digest());
  assert.equal(files.open, 0);
});

test('a client that does not read is not sent more than the window, however large the file', async () => {
  const bytes = Buffer.alloc(16 * 1024 * 1024, 7);
  const { call, files } = setUp(bytes);
  const made = call();
  await turns();
  assert.ok(made.queuedBytes < 2 * 1024 * 1024, `${made.queuedBytes} bytes are queued`);
  assert.ok(files.readBytes < 3 * 1024 * 1024, `${files.readBytes} bytes were read ahead`);
  for (let i = 0; i < 100 && made.status === null; i++) {
    made.drain();
    await turns();
  }
  assert.deepEqual(made.status, { code: 0, message: '' });
  assert.equal(made.messages.length, bytes.length / 32_768 + 1);
  assert.equal(files.open, 0);
});

test('a client that goes away in the middle leaves no file open', async () => {
  const { call, files } = setUp(Buffer.alloc(16 * 1024 * 1024));
  const made = call();
  await turns();
  assert.equal(files.open, 1);
  made.hangUp();
  await turns();
  assert.equal(files.open, 0);
});

test('nothing is made for a client that went away while it waited', async () => {
  const { call, files } = setUp(Buffer.alloc(4096));
  let open = (): void => {};
  files.gate = new Promise((resolve) => {
    open = resolve;
  });
  const made = call();
  made.hangUp();
  open();
  await turns();
  assert.equal(files.taken, 0);
});

test('a file that cannot be made is an error of the call', async () => {
  const { call, files } = setUp(Buffer.alloc(4096));
  files.failure = new Error('no room on the disk');
  const made = call();
  await turns();
  assert.deepEqual(made.status, { code: 2, message: 'no room on the disk' });
});

/** Copies what it is given only when the client takes it, as the transport does. */
class LateCall extends FakeCall {
  readonly taken: Buffer[] = [];
  private readonly waiting: Buffer[] = [];
  private readonly wake: () => void;

  constructor(handler: ApiHandler) {
    super(handler);
    this.wake = () => handler.drained?.(this);
  }

  override sendChunks(chunks: Buffer[], totalBytes: number): void {
    this.waiting.push(...chunks);
    this.queuedBytes += totalBytes;
  }

  override send(message: Buffer): void {
    this.sendChunks([message], message.length);
  }

  takeBytes(bytes: number): void {
    const goal = this.queuedBytes - bytes;
    for (let chunk = this.waiting[0]; chunk !== undefined && this.queuedBytes > goal; chunk = this.waiting[0]) {
      this.taken.push(Buffer.from(chunk));
      this.waiting.splice(0, 1);
      this.queuedBytes -= chunk.length;
    }
    this.wake();
  }
}

test('memory is used again only for what the client has taken, whatever the pieces and its pace', async () => {
  const seed = 11;
  const prng = new Prng(seed);
  for (let round = 0; round < 6; round++) {
    const bytes = prng.bytes(4 * 1024 * 1024 + prng.below(100_000));
    const { member, files } = setUp(bytes);
    files.pieceBytes = () => (round % 2 === 0 ? 64 * 1024 : 1 + prng.below(PIECE_BYTES));
    const call = new LateCall(member.server.handler(PATH));
    call.receive(SnapshotRequest.encode(new SnapshotRequest()));
    for (let i = 0; i < 2000 && (call.status === null || call.queuedBytes > 0); i++) {
      await turns();
      call.takeBytes(prng.below(900_000));
    }
    assert.deepEqual(call.status, { code: 0, message: '' }, `seed ${seed}, round ${round}`);
    const blobs: Buffer[] = [];
    // Heads and blobs take turns; the last message is the checksum.
    for (let at = 0; at < call.taken.length - 1; at += 2) blobs.push(call.taken[at + 1] as Buffer);
    assert.ok(Buffer.concat(blobs).equals(bytes), `seed ${seed}, round ${round}: the bytes are others`);
  }
});
