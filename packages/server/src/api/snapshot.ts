/** `Maintenance.Snapshot`: the store of one moment as a bbolt file, in pieces, and the file's SHA-256 as the last piece. */
import { createHash } from 'node:crypto';
import { errorFrom } from '@etsd/base';
import { EtcdError, GrpcCode, SnapshotResponse, varintSize, writeVarint } from '@etsd/proto';
import type { ApiCall, ApiHandler, MemberContext } from '../context.ts';
import { failCall, refusal } from './guards.ts';

/** Of one message, as etcd's. */
const MESSAGE_BYTES = 32 * 1024;
/** Sent ahead of what the client has taken. */
const WINDOW_BYTES = 1024 * 1024;
/** Read at once, at most. */
export const PIECE_BYTES = 256 * 1024;
/** Memory that is gone through in a circle: the window, the piece that is read, and what is left at the end. */
const CIRCLE_BYTES = WINDOW_BYTES + 3 * PIECE_BYTES;

/** A file of the store (`SnapshotFile`). */
export interface SentFile {
  readonly size: number;
  /** The next piece, in this memory or in some of its own; null at the end. */
  read(memory: Buffer | null): Promise<Buffer | null>;
  /** SHA-256 of all pieces, once they were read; without it, it is taken here. */
  digest?(): Buffer;
  close(): void;
}

/** Where the files come from (`SnapshotFiles`). */
export interface SnapshotFileSource {
  take(isWanted: () => boolean): Promise<SentFile | null>;
}

export function registerSnapshot(context: MemberContext, files: SnapshotFileSource): void {
  context.rpc.handle('/etcdserverpb.Maintenance/Snapshot', new SnapshotHandler(context, files));
}

class SnapshotHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly context: MemberContext;
  private readonly files: SnapshotFileSource;

  constructor(context: MemberContext, files: SnapshotFileSource) {
    this.context = context;
    this.files = files;
  }

  /** The request has no fields. */
  message(call: ApiCall): void {
    const refused = refusal(this.context, call, true);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    const stream = new SnapshotStream(call, this.context);
    call.context = stream;
    void stream.run(this.files);
  }

  closed(call: ApiCall): void {
    if (call.context instanceof SnapshotStream) call.context.cancel();
  }

  drained(call: ApiCall): void {
    if (call.context instanceof SnapshotStream) call.context.drained();
  }
}

const TAG_REMAINING = 2 << 3;
const TAG_BLOB = (3 << 3) | 2;

/** A `SnapshotResponse` up to its blob, which is sent from where it lies. */
function messageHead(remaining: number, blobBytes: number): Buffer {
  const remainingBytes = remaining === 0 ? 0 : 1 + varintSize(remaining);
  const head = Buffer.allocUnsafe(remainingBytes + 1 + varintSize(blobBytes));
  let at = 0;
  if (remaining > 0) {
    head[at++] = TAG_REMAINING;
    at = writeVarint(head, at, remaining);
  }
  head[at++] = TAG_BLOB;
  writeVarint(head, at, blobBytes);
  return head;
}

/** One snapshot on its way to a client, never further ahead of it than the window. */
class SnapshotStream {
  private readonly call: ApiCall;
  private readonly context: MemberContext;
  private isOver = false;
  private wake: (() => void) | null = null;

  constructor(call: ApiCall, context: MemberContext) {
    this.call = call;
    this.context = context;
  }

  async run(files: SnapshotFileSource): Promise<void> {
    const { logger } = this.context;
    try {
      const file = await files.take(() => !this.isOver);
      if (file === null) return;
      try {
        await this.send(file);
      } finally {
        file.close();
      }
    } catch (error) {
      const reason = errorFrom(error);
      logger.log('warn', 'failed to send a database snapshot to a client', { error: reason.message });
      if (!this.isOver) failCall(this.call, new EtcdError(GrpcCode.Unknown, reason.message));
    }
  }

  private async send(file: SentFile): Promise<void> {
    const { call } = this;
    const hash = file.digest === undefined ? createHash('sha256') : null;
    let left = file.size;
    this.context.logger.log('info', 'sending database snapshot to client', { 'total-bytes': file.size });
    // New memory for each piece would have to be collected again every few dozen, at the cost of those who are served.
    const circle = call.isCopying ? Buffer.allocUnsafeSlow(CIRCLE_BYTES) : null;
    let next = 0;
    for (;;) {
      if (next + PIECE_BYTES > CIRCLE_BYTES) next = 0;
      // What was read to this place before is further back than the window.
      const piece = await file.read(circle?.subarray(next, next + PIECE_BYTES) ?? null);
      if (piece === null) break;
      if (this.isOver) return;
      next += piece.length;
      hash?.update(piece);
      for (let at = 0; at < piece.length; at += MESSAGE_BYTES) {
        const blob = piece.subarray(at, at + MESSAGE_BYTES);
        left -= blob.length;
        const head = messageHead(left, blob.length);
        call.sendChunks([head, blob], head.length + blob.length);
        if (this.isOver) return;
      }
      while (call.queuedBytes > WINDOW_BYTES) {
        await this.taken();
        if (this.isOver) return;
      }
    }
    const blob = hash?.digest() ?? (file.digest?.() as Buffer);
    call.send(SnapshotResponse.encode(SnapshotResponse.create({ remainingBytes: 0, blob })));
    call.end();
    this.context.logger.log('info', 'sent database snapshot to client', { 'total-bytes': file.size });
  }

  private taken(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  drained(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }

  cancel(): void {
    this.isOver = true;
    this.drained();
  }
}
