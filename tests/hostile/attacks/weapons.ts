/** What attackers connect with: sockets over TLS or not, from an address of their own, and the bytes they send. */
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** The address the attack comes from, so that it can be told from other clients. */
  readonly from: string;
}

/** What was sent at whoever is attacked. */
export interface Shots {
  readonly connections: number;
  readonly bytes: number;
}

let connections = 0;
let bytesOfClosed = 0;
const armed = new Set<Socket>();

/** Since this process began. Bytes are those handed to the sockets, before TLS. */
export function shotsFired(): Shots {
  let bytes = bytesOfClosed;
  for (const socket of armed) bytes += socket.bytesWritten;
  return { connections, bytes };
}

function count(socket: Socket): void {
  armed.add(socket);
  socket.once('close', () => {
    armed.delete(socket);
    bytesOfClosed += socket.bytesWritten;
  });
}

/** A socket that swallows its errors: an attacker expects to be thrown out. */
export function openTcp(target: Target): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.host, port: target.port, localAddress: target.from });
    socket.on('error', () => {});
    socket.once('connect', () => {
      connections++;
      count(socket);
      resolve(socket);
    });
    socket.once('close', () => resolve(null));
  });
}

/** A connection as the server wants it, for attacks that begin behind the handshake. */
export async function open(target: Target, protocol: 'h2' | 'http/1.1'): Promise<Socket | null> {
  const socket = await openTcp(target);
  if (socket === null || !target.tls) return socket;
  return new Promise((resolve) => {
    const secure = connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: [protocol] }, () => {
      count(secure);
      resolve(secure);
    });
    secure.on('error', () => {});
    secure.once('close', () => resolve(null));
  });
}

/** Hears and forgets what the server says. */
export function ignoreAnswers(socket: Socket): Socket {
  return socket.on('data', () => {});
}

/** Writes as much as the socket takes; resolves when it takes more, or is closed. */
export function push(socket: Socket, bytes: Buffer): Promise<boolean> {
  if (socket.destroyed || !socket.writable) return Promise.resolve(false);
  if (socket.write(bytes)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const settle = (isOpen: boolean) => (): void => {
      socket.off('drain', drained);
      socket.off('close', closed);
      resolve(isOpen);
    };
    const drained = settle(true);
    const closed = settle(false);
    socket.on('drain', drained);
    socket.on('close', closed);
  });
}

export function whenClosed(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The bytes of a hello that the server answers with all it has, calculated once and sent any number of times. */
export function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(Buffer.from(chunk));
        done();
      },
    });
    connectTls({ socket: wire, rejectUnauthorized: false, ALPNProtocols: ['h2'] }).on('error', () => {});
  });
}

/** Begun in one go: an attacker who opens ten thousand sockets before he looks at the first has sent nothing for seconds. */
const BEGUN_AT_ONCE = 100;

/** So many at once, each again and again until it is over. A round that fails is followed by a short rest. */
export async function swarm(
  width: number,
  isOver: () => boolean,
  round: (index: number) => Promise<boolean>,
): Promise<void> {
  const one = async (index: number): Promise<void> => {
    while (!isOver()) if (!(await round(index))) await pause(20);
  };
  const all: Promise<void>[] = [];
  while (all.length < width && !isOver()) {
    all.push(one(all.length));
    if (all.length % BEGUN_AT_ONCE === 0) await pause(1);
  }
  await Promise.all(all);
}
