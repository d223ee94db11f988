import { connect, type Socket } from 'node:net';
import { within } from '../support/conditions.ts';

/** Bytes on a plain socket, for clients that do not keep to any protocol. */
export class RawConnection {
  readonly socket: Socket;
  received = 0;
  isClosed = false;
  private readonly closing: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closing = new Promise((resolve) => {
      socket.on('close', () => {
        this.isClosed = true;
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length;
    });
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Resolves when the server has closed the connection. */
  closed(ms: number): Promise<void> {
    return within(ms, 'closed by the server', this.closing);
  }

  close(): void {
    this.socket.destroy();
  }
}

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** One HTTP/2 frame (RFC 9113 section 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** SETTINGS with these identifiers and values. */
export function settings(pairs: [number, number][]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(4, 0, 0, payload);
}

export function windowUpdate(stream: number, increment: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frame(8, 0, stream, payload);
}

function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  return Buffer.concat([Buffer.from([127, bytes.length - 127]), bytes]);
}

/** HEADERS of a gRPC call, each field literal and unindexed (RFC 7541 section 6.2.2). */
export function grpcHeaders(stream: number, path: string): Buffer {
  const fields: [string, string][] = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'localhost'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ];
  const block = fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), hpackText(name), hpackText(value)]));
  return frame(1, 4, stream, Buffer.concat(block));
}

/** DATA with one gRPC message, which ends the request. */
export function grpcMessage(stream: number, message: Buffer, isLast = true): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return frame(0, isLast ? 1 : 0, stream, Buffer.concat([prefix, message]));
}
