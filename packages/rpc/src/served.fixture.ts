import type { RpcLimits } from './limits.ts';
import { ManualWorld, MemorySocket, TestPeer } from './peer.fixture.ts';
import { RpcServer } from './server.ts';
import type { ServerCall } from './server-call.ts';

/** A server with three methods, and one client's connection to it that a test plays by hand. */
export interface Served {
  readonly manual: ManualWorld;
  readonly server: RpcServer;
  readonly socket: MemorySocket;
  readonly peer: TestPeer;
  /** Calls that stay open until a test ends them. */
  readonly held: ServerCall[];
  /** What happened to calls. */
  readonly events: string[];
}

/** Starts the server; the client has not said anything yet. `/t.S/Echo` answers, `/t.S/Hold` and `/t.S/Stream` wait. */
export function serve(limits: Partial<RpcLimits> = {}): Served {
  const manual = new ManualWorld();
  const server = new RpcServer(manual.world, { limits });
  const held: ServerCall[] = [];
  const events: string[] = [];
  server.handle('/t.S/Echo', {
    kind: 'unary',
    message(call, bytes, from, to) {
      call.send(Buffer.from(bytes.subarray(from, to)));
      call.end();
    },
  });
  server.handle('/t.S/Hold', {
    kind: 'unary',
    message: (call) => void held.push(call),
    closed: () => void events.push('closed'),
    drained: () => void events.push('drained'),
  });
  server.handle('/t.S/Stream', {
    kind: 'stream',
    opened: (call) => void held.push(call),
    message: (_call, _bytes, from, to) => void events.push(`message ${to - from}`),
    halfClosed: () => void events.push('half closed'),
    closed: () => void events.push('closed'),
    drained: () => void events.push('drained'),
  });
  const socket = new MemorySocket();
  const peer = new TestPeer(socket, manual);
  server.accept(socket);
  return { manual, server, socket, peer, held, events };
}
