import { errorFrom, type U64, u64ToHex } from '@etsd/base';
import { Message, MessageType } from '@etsd/proto';
import type { Timers } from '@etsd/runtime';
import { ByteFeed } from './byte-feed.ts';
import { FrameError } from './codec.ts';
import { identityHeaders } from './headers.ts';
import type { AnswerHeaders, AnswerReceiver, Exchange } from './http-client.ts';
import { FRAME_BYTES_MAX, SNAPSHOT_ANSWER_MS, SNAPSHOT_SILENCE_MS } from './limits.ts';
import type { PeerLink } from './peer-link.ts';
import { postFailure, saysRemoved } from './pipeline.ts';

/** A snapshot on its way out: what raft is told, and the database file that belongs to it. */
export interface OutgoingSnapshot {
  /** The MsgSnap, with `snapshot.data` filled. */
  readonly message: Message;
  /** Bytes of the database file. */
  readonly size: number;
  /** The next piece of the file, null at its end. */
  read(): Promise<Buffer | null>;
  close(): void;
}

/** Makes snapshots that are sent to other members. */
export interface SnapshotSource {
  open(message: Message): Promise<OutgoingSnapshot>;
}

/** Keeps snapshots that other members send. */
export interface SnapshotSink {
  /** Resolves when the file is durable; the message is given to raft then. */
  receive(message: Message, body: AsyncIterable<Buffer>): Promise<void>;
}

/** The head of a snapshot post: the length of the message, and the message. */
export function snapshotHead(message: Message): Buffer {
  const size = Message.size(message);
  const head = Buffer.allocUnsafe(8 + size);
  head.writeUInt32BE(Math.floor(size / 0x1_0000_0000), 0);
  head.writeUInt32BE(size % 0x1_0000_0000, 4);
  Message.write(message, head, 8);
  return head;
}

/**
 * Sends one snapshot, piece by piece: the next piece is read when the connection has taken the last, so no more of it is
 * in memory than that. Resolves to '' when the peer's raft has it, to the reason of the failure otherwise.
 */
export async function sendSnapshot(link: PeerLink, source: SnapshotSource, message: Message): Promise<string> {
  let snapshot: OutgoingSnapshot;
  try {
    snapshot = await source.open(message);
  } catch (error) {
    return errorFrom(error).message;
  }
  const { counters, world } = link;
  const startMs = world.clock.nowMs();
  counters.snapshotsSending++;
  link.logger.log('info', 'sending database snapshot', {
    'snapshot-index': snapshot.message.snapshot?.metadata?.index ?? 0,
    'remote-peer-id': u64ToHex(link.id),
    bytes: snapshot.size,
  });
  let failure = '';
  try {
    failure = await post(link, snapshot);
  } catch (error) {
    failure = errorFrom(error).message;
  }
  snapshot.close();
  counters.snapshotsSending--;
  if (failure === '') {
    counters.snapshotsSent++;
    counters.snapshotSendTimes.observe((world.clock.nowMs() - startMs) / 1000);
  } else {
    counters.snapshotSendFailures++;
  }
  return failure;
}

async function post(link: PeerLink, snapshot: OutgoingSnapshot): Promise<string> {
  const address = link.urls.pick();
  if (address === null) return 'no peer URL';
  const transfer = new Transfer(link.world.timers);
  const head = snapshotHead(snapshot.message);
  const exchange = link.client.start(
    address,
    {
      method: 'POST',
      path: '/raft/snapshot',
      headers: {
        ...identityHeaders(link.identity),
        'Content-Type': 'application/octet-stream',
        'Content-Length': String(head.length + snapshot.size),
      },
      body: null,
      isStreaming: true,
      isAlone: true,
    },
    transfer,
  );
  transfer.exchange = exchange;
  try {
    await transfer.write(head);
    let left = snapshot.size;
    while (!transfer.isOver) {
      const piece = await snapshot.read();
      if (piece === null) break;
      left -= piece.length;
      if (left < 0) return 'the snapshot is larger than it said';
      link.counters.sentBytes += piece.length;
      await transfer.write(piece);
    }
    if (!transfer.isOver && left > 0) return 'the snapshot is shorter than it said';
    if (!transfer.isOver) exchange.end();
    await transfer.settled();
  } finally {
    transfer.abandon();
  }
  if (transfer.status === 0) link.urls.unreachable(address);
  return transfer.verdict(link);
}

/** The connection a snapshot goes over, as something to wait for. */
class Transfer implements AnswerReceiver {
  exchange: Exchange | null = null;
  status = 0;
  /** An answer has begun or the connection is gone: nothing more needs to be sent. */
  isOver = false;
  private isClosed = false;
  private error = '';
  private readonly parts: Buffer[] = [];
  private length = 0;
  private wake: (() => void) | null = null;
  private readonly timers: Timers;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  answered(status: number, _headers: AnswerHeaders): void {
    this.status = status;
    this.isOver = true;
    this.wake?.();
  }

  data(bytes: Buffer): void {
    this.length += bytes.length;
    if (this.length <= 4096) this.parts.push(bytes);
  }

  drained(): void {
    this.wake?.();
  }

  closed(error: Error | null): void {
    this.isOver = true;
    this.isClosed = true;
    if (error !== null) this.error = error.message;
    this.wake?.();
  }

  /** Writes and waits until more may be written, or nothing more need be. */
  async write(bytes: Buffer): Promise<void> {
    if (this.isOver || this.exchange === null || this.exchange.write(bytes)) return;
    await this.something(SNAPSHOT_SILENCE_MS);
  }

  /** Waits for the end of the answer, which comes when the other side has the file on its disk. */
  async settled(): Promise<void> {
    while (!this.isClosed) await this.something(SNAPSHOT_ANSWER_MS);
  }

  /** The next event; a connection on which none comes for too long is given up. */
  private async something(patienceMs: number): Promise<void> {
    const timer = this.timers.after(
      patienceMs,
      () => {
        this.error = 'no progress';
        this.abandon();
      },
      { ref: false },
    );
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    this.wake = null;
    timer.cancel();
  }

  abandon(): void {
    if (!this.isClosed) this.exchange?.destroy();
  }

  verdict(link: PeerLink): string {
    const body = Buffer.concat(this.parts);
    if (this.status === 0) return this.error === '' ? 'connection lost' : this.error;
    if (saysRemoved(this.status, body)) link.removedByPeer();
    return postFailure(this.status, body);
  }
}

/** The message at the head of a snapshot post, and the rest of its bytes. */
export class IncomingSnapshot {
  readonly message: Message;
  private readonly first: Buffer;
  private readonly rest: AsyncIterator<Buffer>;
  /** Bytes of the file that were handed out. */
  bytes = 0;

  private constructor(message: Message, first: Buffer, rest: AsyncIterator<Buffer>) {
    this.message = message;
    this.first = first;
    this.rest = rest;
  }

  /** Reads the head. Throws `FrameError` or `ProtoError` where it is none, and whatever the body throws. */
  static async open(body: AsyncIterator<Buffer>): Promise<IncomingSnapshot> {
    const feed = new ByteFeed();
    let length = -1;
    let isEmpty = true;
    for (;;) {
      const next = await body.next();
      if (next.done === true) throw new FrameError(isEmpty ? 'EOF' : 'unexpected EOF');
      isEmpty = false;
      feed.push(next.value);
      if (length < 0) {
        if (!feed.take(8)) continue;
        length = feed.bytes.readUInt32BE(feed.start) * 0x1_0000_0000 + feed.bytes.readUInt32BE(feed.start + 4);
        if (length > FRAME_BYTES_MAX) throw new FrameError('rafthttp: error limit exceeded');
      }
      if (!feed.take(length)) continue;
      const message = Message.decode(feed.bytes, feed.start, feed.start + length);
      if (message.type !== MessageType.MsgSnap || message.snapshot === null) {
        throw new FrameError('wrong raft message type');
      }
      return new IncomingSnapshot(message, feed.rest(), body);
    }
  }

  get from(): U64 {
    return this.message.from;
  }

  /** The file's bytes, once. */
  async *body(): AsyncGenerator<Buffer> {
    if (this.first.length > 0) {
      this.bytes += this.first.length;
      yield this.first;
    }
    for (;;) {
      const next = await this.rest.next();
      if (next.done === true) return;
      this.bytes += next.value.length;
      yield next.value;
    }
  }
}
