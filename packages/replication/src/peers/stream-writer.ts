import { RingQueue } from '@etsd/base';
import type { Message } from '@etsd/proto';
import type { FrameEncoder } from './codec.ts';
import { HEARTBEAT_MS, STREAM_QUEUE_BYTES_MAX, STREAM_SILENCE_MS, STREAM_WINDOW_BYTES } from './limits.ts';
import type { LinkCounters } from './link-counters.ts';

/** What is written to: a socket whose answer head is sent and whose body, in chunks, is ours to write. */
export interface StreamSink {
  write(bytes: Buffer): unknown;
  cork(): void;
  uncork(): void;
  /** Bytes given to `write` that the kernel has not taken yet. */
  readonly writableLength: number;
  destroy(): void;
}

/**
 * The end of a stream on which this member sends: the peer has dialled, and messages go out as frames. What the
 * connection does not take waits here, up to a bound; the connection itself is given little at a time, so that one that
 * makes no progress is told from one that is slow.
 */
export class StreamWriter {
  private readonly counters: LinkCounters;
  private sink: StreamSink | null = null;
  private encoder: FrameEncoder | null = null;
  private readonly queue: RingQueue<Buffer> = new RingQueue();
  private queuedBytes = 0;
  private lastWriteMs = 0;
  /** When the connection last took something, or had nothing to take. */
  private progressMs = 0;
  private unsentBytes = 0;
  /** Is on the transport's list of writers to flush. */
  isDirty = false;

  constructor(counters: LinkCounters) {
    this.counters = counters;
  }

  get isAttached(): boolean {
    return this.sink !== null;
  }

  /** Bytes waiting here and in the connection. */
  get pendingBytes(): number {
    return this.queuedBytes + (this.sink?.writableLength ?? 0);
  }

  /** Sends over this connection from now on; an older one is given up. */
  attach(sink: StreamSink, encoder: FrameEncoder, nowMs: number): void {
    this.close();
    this.sink = sink;
    this.encoder = encoder;
    this.lastWriteMs = nowMs;
    this.progressMs = nowMs;
    this.unsentBytes = 0;
  }

  /** The connection is gone. Returns false if it was not this writer's any more. */
  detach(sink: StreamSink): boolean {
    if (this.sink !== sink) return false;
    this.sink = null;
    this.encoder = null;
    this.queue.clear();
    this.queuedBytes = 0;
    return true;
  }

  /** Takes a message for the next `flush`; false: too much is waiting already, and it is dropped. */
  send(message: Message): boolean {
    const { encoder } = this;
    if (encoder === null || this.queuedBytes >= STREAM_QUEUE_BYTES_MAX) return false;
    const frame = encoder.encode(message);
    this.queue.push(frame);
    this.queuedBytes += frame.length;
    return true;
  }

  /** Gives the connection what waits, as far as it takes it: one write for everything. */
  flush(nowMs: number): void {
    const { sink, queue } = this;
    this.isDirty = false;
    if (sink === null || queue.length === 0) return;
    let room = STREAM_WINDOW_BYTES - sink.writableLength;
    if (room <= 0) return;
    this.lastWriteMs = nowMs;
    const isSeveral = queue.length > 1;
    if (isSeveral) sink.cork();
    for (let frame = queue.take(); frame !== undefined; frame = room > 0 ? queue.take() : undefined) {
      room -= frame.length;
      this.queuedBytes -= frame.length;
      this.counters.sentBytes += frame.length;
      sink.write(frame);
    }
    if (isSeveral) sink.uncork();
  }

  /**
   * Now and then: a sign of life where nothing was said for long, and an end to a connection that takes nothing. Returns
   * whether it came to that end.
   */
  sweep(nowMs: number): boolean {
    const { sink, encoder } = this;
    if (sink === null || encoder === null) return false;
    const unsent = sink.writableLength;
    if (unsent === 0 || unsent !== this.unsentBytes) {
      this.unsentBytes = unsent;
      this.progressMs = nowMs;
    } else if (nowMs - this.progressMs > STREAM_SILENCE_MS) {
      this.close();
      return true;
    }
    if (unsent === 0 && nowMs - this.lastWriteMs >= HEARTBEAT_MS) {
      this.lastWriteMs = nowMs;
      this.counters.sentBytes += encoder.signOfLife.length;
      sink.write(encoder.signOfLife);
    }
    return false;
  }

  close(): void {
    const { sink } = this;
    if (sink === null) return;
    this.detach(sink);
    sink.destroy();
  }
}
