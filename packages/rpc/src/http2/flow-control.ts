import { RingQueue } from '@etsd/base';
import type { ConnectionLife } from './connection-life.ts';
import { ErrorCode } from './errors.ts';
import { DEFAULT_WINDOW } from './frame.ts';
import type { Stream } from './stream.ts';

/**
 * What the other side may send us: the connection's window, the credits of the streams, and the memory that half-received
 * messages take. (The windows towards the other side are numbers at the connection and its streams.)
 */
export class ReceiveFlow {
  private readonly connection: ConnectionLife;
  private window: number;
  private credit = 0;
  /** Bytes of half-received messages. */
  heldBytes = 0;
  /** Bytes granted to streams beyond their first window, and the streams that wait for a grant. */
  private grantedBytes = 0;
  private readonly waiting = new RingQueue<Stream>();
  /** How many of the waiting have ended meanwhile and are only still in the queue. */
  private gone = 0;

  constructor(connection: ConnectionLife) {
    this.connection = connection;
    this.window = Math.max(connection.limits.connectionWindowBytes, DEFAULT_WINDOW);
  }

  /** Opens the connection's window from its initial size to the configured one. */
  open(): void {
    const extra = this.window - DEFAULT_WINDOW;
    if (extra > 0) this.connection.writeWindowUpdate(0, extra);
  }

  /** A DATA frame of so many bytes came. False: more than the connection's window allowed. */
  take(bytes: number): boolean {
    this.window -= bytes;
    if (this.window < 0) return false;
    this.credit += bytes;
    if (this.credit >= Math.max(this.connection.limits.connectionWindowBytes, DEFAULT_WINDOW) >> 1) {
      this.connection.writeWindowUpdate(0, this.credit);
      this.window += this.credit;
      this.credit = 0;
    }
    return true;
  }

  /** Lets the other side send so many bytes more on the stream. */
  creditStream(stream: Stream, bytes: number): void {
    stream.receiveWindow += bytes;
    this.connection.writeWindowUpdate(stream.id, bytes);
  }

  /** The stream now holds so many bytes of an unfinished message. False: too much is held, the stream was reset. */
  hold(stream: Stream, bytes: number): boolean {
    const change = bytes - stream.heldBytes;
    stream.heldBytes = bytes;
    this.heldBytes += change;
    this.connection.host.heldBytes += change;
    if (change <= 0) return true;
    if (
      this.heldBytes <= this.connection.limits.heldBytes &&
      this.connection.host.heldBytes <= this.connection.limits.heldBytesOfAll
    )
      return true;
    this.connection.resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM);
    return false;
  }

  /**
   * The stream needs `bytes` more than its first window for the message it has begun. It gets them all at once, or waits
   * until others have finished theirs: that way what is granted is always enough for those who have it to finish, and
   * memory stays bounded without a deadlock.
   */
  grant(stream: Stream, bytes: number): void {
    if (stream.waitsForGrant > 0) return;
    if (stream.grantedBytes > 0) {
      this.creditStream(stream, bytes); // padding used up some of the grant
      return;
    }
    if (this.grantedBytes > 0 && this.grantedBytes + bytes > this.connection.limits.assemblyBytes) {
      stream.waitsForGrant = bytes;
      this.waiting.push(stream);
      return;
    }
    stream.grantedBytes = bytes;
    this.grantedBytes += bytes;
    this.creditStream(stream, bytes);
  }

  /** A stream that waits for a grant has ended. */
  stopWaiting(stream: Stream): void {
    stream.waitsForGrant = 0;
    this.gone++;
    if (this.gone < 64 || this.gone * 2 < this.waiting.length) return;
    // More ended than not: clear them out, so that streams opened and reset over and over do not pile up here.
    for (let left = this.waiting.length; left > 0; left--) {
      const next = this.waiting.take() as Stream;
      if (next.waitsForGrant > 0) this.waiting.push(next);
    }
    this.gone = 0;
  }

  /** The message that needed the grant is complete, or will never be. */
  endGrant(stream: Stream): void {
    this.grantedBytes -= stream.grantedBytes;
    stream.grantedBytes = 0;
    while (this.waiting.length > 0 && this.grantedBytes < this.connection.limits.assemblyBytes) {
      const next = this.waiting.take() as Stream;
      const bytes = next.waitsForGrant;
      next.waitsForGrant = 0;
      if (bytes > 0) this.grant(next, bytes);
      else this.gone--;
    }
  }
}
