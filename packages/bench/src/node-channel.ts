/**
 * The same calls over node:http2, for comparison and for a second opinion: it costs several times as much CPU a call as
 * our own client (`--transport node`).
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { CallReceiver, LoadCall, LoadChannel } from './channel.ts';

const CANCEL = constants.NGHTTP2_CANCEL;

class NodeCall implements LoadCall {
  private readonly stream: ClientHttp2Stream;
  private readonly receiver: CallReceiver;
  private pending: Buffer | null = null;
  private code = 2;
  private text = 'no status';

  constructor(session: ClientHttp2Session, path: string, receiver: CallReceiver) {
    this.receiver = receiver;
    this.stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.stream.on('response', (headers) => this.status(headers));
    this.stream.on('trailers', (headers) => this.status(headers));
    this.stream.on('data', (chunk: Buffer) => this.data(chunk));
    this.stream.on('error', (error) => {
      this.text = error.message;
    });
    this.stream.on('close', () => this.receiver.closed(this, this.code, this.text));
  }

  private status(headers: Record<string, unknown>): void {
    if (headers['grpc-status'] === undefined) return;
    this.code = Number(headers['grpc-status']);
    this.text = decodeURIComponent(String(headers['grpc-message'] ?? ''));
  }

  private data(chunk: Buffer): void {
    let bytes = this.pending === null ? chunk : Buffer.concat([this.pending, chunk]);
    while (bytes.length >= 5) {
      const length = bytes.readUInt32BE(1);
      if (bytes.length < 5 + length) break;
      this.receiver.message(this, bytes, 5, 5 + length);
      bytes = bytes.subarray(5 + length);
    }
    this.pending = bytes.length === 0 ? null : bytes;
  }

  send(message: Buffer): void {
    const frame = Buffer.allocUnsafe(5 + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    message.copy(frame, 5);
    this.stream.write(frame);
  }

  sendLast(message: Buffer): void {
    this.send(message);
    this.halfClose();
  }

  halfClose(): void {
    this.stream.end();
  }

  cancel(): void {
    this.stream.close(CANCEL);
  }
}

/** Connects over node:http2. */
export function dialNode(endpoint: string): Promise<LoadChannel> {
  return new Promise((resolve, reject) => {
    const address = /^https?:/.test(endpoint) ? endpoint : `http://${endpoint}`;
    const session = connect(address, { settings: { initialWindowSize: 1 << 20 } });
    session.once('error', reject);
    session.once('remoteSettings', () => {
      session.removeListener('error', reject);
      session.on('error', (error) => console.error(`connection lost: ${error.message}`));
      resolve({
        start: (path, receiver) => new NodeCall(session, path, receiver),
        close: () => session.close(),
      });
    });
  });
}
