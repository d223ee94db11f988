/**
 * Datagrams to a unix socket, for which Node has nothing: the C library's own calls by way of koffi, which brings prebuilt
 * binaries. It is loaded by those alone who have something to send, that is under a service manager.
 */
import { endianness } from 'node:os';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** Bytes that Linux has for the path, its end included (unix(7)). */
const PATH_BYTES_MAX = 108;

/** The C library as far as datagrams need it. File descriptors and counts as in C: -1 is failure. */
export interface SocketCalls {
  socket(family: number, type: number, protocol: number): number;
  sendto(fd: number, data: Buffer, size: number, flags: number, address: Buffer, addressSize: number): number;
  bind(fd: number, address: Buffer, addressSize: number): number;
  recv(fd: number, into: Buffer, size: number, flags: number): number;
  close(fd: number): number;
  errno(): number;
}

/** Rejects where there are no binaries for this platform. */
export async function loadSocketCalls(): Promise<SocketCalls> {
  const { default: koffi } = await import('koffi');
  const library = koffi.load(null);
  return {
    socket: library.func('int socket(int, int, int)'),
    sendto: library.func('int64_t sendto(int, const void *, size_t, int, const void *, uint32_t)'),
    bind: library.func('int bind(int, const void *, uint32_t)'),
    recv: library.func('int64_t recv(int, _Out_ void *, size_t, int)'),
    close: library.func('int close(int)'),
    errno: () => koffi.errno(),
  };
}

/** A `sockaddr_un`. A path that begins with `@` is one of the abstract kind, which no file system knows. */
export function socketAddress(path: string): Buffer {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  if (name.length === 0 || name.length >= PATH_BYTES_MAX) throw new RangeError(`no path of a unix socket: ${path}`);
  const family = Buffer.alloc(2);
  if (endianness() === 'LE') family.writeUInt16LE(AF_UNIX);
  else family.writeUInt16BE(AF_UNIX);
  return Buffer.concat([family, name]);
}

/** Sends to one address, and never waits. */
export class DatagramSender {
  private readonly calls: SocketCalls;
  private readonly address: Buffer;
  private readonly fd: number;

  constructor(calls: SocketCalls, path: string) {
    this.calls = calls;
    this.address = socketAddress(path);
    this.fd = calls.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.fd < 0) throw new Error(`no datagram socket: errno ${calls.errno()}`);
  }

  /** 0, or the number of the system's error, when nothing was sent. */
  send(text: string): number {
    const { calls, address } = this;
    const data = Buffer.from(text);
    const sent = calls.sendto(this.fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
    return sent < 0 ? calls.errno() : 0;
  }
}

/** What stands in for the service manager where its talk is tested. */
export class DatagramReceiver {
  private readonly calls: SocketCalls;
  private readonly fd: number;
  private readonly buffer = Buffer.alloc(4096);

  constructor(calls: SocketCalls, path: string) {
    this.calls = calls;
    this.fd = calls.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const address = socketAddress(path);
    if (calls.bind(this.fd, address, address.length) < 0)
      throw new Error(`cannot bind ${path}: errno ${calls.errno()}`);
  }

  /** The next message, or null where none has come. */
  receive(): string | null {
    const size = this.calls.recv(this.fd, this.buffer, this.buffer.length, MSG_DONTWAIT);
    return size < 0 ? null : this.buffer.toString('utf8', 0, size);
  }

  close(): void {
    this.calls.close(this.fd);
  }
}
