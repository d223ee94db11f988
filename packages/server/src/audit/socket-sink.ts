/** The audit log as a stream of lines to another program, by TCP or a unix socket; connects again when it is lost. */
import type { Network, Socket, SocketAddress, SocketReceiver } from '@etsd/runtime';
import type { AuditSink } from './audit-buffer.ts';

/** How long a connection may take to stand, in milliseconds. */
const CONNECT_MS = 5000;

export class SocketSink implements AuditSink, SocketReceiver {
  private readonly network: Network;
  private readonly address: SocketAddress;
  private socket: Socket | null = null;
  private isOpen = false;
  private pending: { bytes: Buffer; length: number; done: (error: Error | null) => void } | null = null;

  constructor(network: Network, address: SocketAddress) {
    this.network = network;
    this.address = address;
  }

  write(bytes: Buffer, length: number, done: (error: Error | null) => void): void {
    this.pending = { bytes, length, done };
    if (this.isOpen) this.send();
    else this.connect();
  }

  async close(): Promise<void> {
    this.socket?.end();
    this.socket = null;
  }

  opened(): void {
    this.isOpen = true;
    if (this.pending !== null) this.send();
  }

  /** What the other side says is of no interest. */
  data(): void {}

  written(): void {
    this.settle(null);
  }

  ended(): void {
    this.socket?.destroy();
  }

  closed(error: Error | null): void {
    this.isOpen = false;
    this.socket = null;
    this.settle(error ?? new Error('the connection was closed'));
  }

  private connect(): void {
    if (this.socket !== null) return;
    this.socket = this.network.dial(this.address, { connectTimeoutMs: CONNECT_MS });
    this.socket.start(this);
  }

  private send(): void {
    const { bytes, length } = this.pending as { bytes: Buffer; length: number };
    if (length === 0 || (this.socket as Socket).write(bytes, 0, length)) this.settle(null);
  }

  private settle(error: Error | null): void {
    const pending = this.pending;
    this.pending = null;
    pending?.done(error);
  }
}
