import { assert } from '@etsd/base';
import type { Socket, SocketReceiver } from '@etsd/runtime';
import { CLIENT_PREFACE } from './frame.ts';

/** Told what a new connection turns out to speak. */
export interface PrefaceListener {
  /** HTTP/2; `rest` is what came behind the preface. */
  http2(sniffer: PrefaceSniffer, rest: Buffer): void;
  /** Anything else; `firstBytes` is all that came so far. */
  other(sniffer: PrefaceSniffer, firstBytes: Buffer): void;
  gone(sniffer: PrefaceSniffer): void;
}

/** Reads the first bytes of an accepted connection until they are the HTTP/2 preface or cannot be it any more. */
export class PrefaceSniffer implements SocketReceiver {
  readonly socket: Socket;
  readonly sinceMs: number;
  private readonly listener: PrefaceListener;
  private seen: Buffer = Buffer.alloc(0);
  /** Who gets the callbacks once the decision is taken; null before. */
  private successor: SocketReceiver | null = null;
  private decided = false;

  constructor(socket: Socket, nowMs: number, listener: PrefaceListener) {
    this.socket = socket;
    this.sinceMs = nowMs;
    this.listener = listener;
  }

  /** Passes the socket's callbacks on to its final owner. */
  handOver(successor: SocketReceiver): void {
    assert(this.successor === null, 'a socket is handed over once');
    this.successor = successor;
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.successor !== null) {
      this.successor.data(bytes, start, end);
      return;
    }
    if (this.decided) return;
    this.seen = Buffer.concat([this.seen, bytes.subarray(start, end)]);
    const compared = Math.min(this.seen.length, CLIENT_PREFACE.length);
    if (this.seen.compare(CLIENT_PREFACE, 0, compared, 0, compared) !== 0) {
      this.decided = true;
      this.listener.other(this, this.seen);
    } else if (this.seen.length >= CLIENT_PREFACE.length) {
      this.decided = true;
      const rest = this.seen.subarray(CLIENT_PREFACE.length);
      this.seen = rest;
      this.listener.http2(this, rest);
    }
  }

  written(): void {
    this.successor?.written();
  }

  ended(): void {
    if (this.successor !== null) this.successor.ended();
    else this.socket.destroy();
  }

  closed(error: Error | null): void {
    if (this.successor !== null) this.successor.closed(error);
    else this.listener.gone(this);
  }
}
