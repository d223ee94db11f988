import assert from 'node:assert/strict';
import { nodeWorld } from '@etsd/runtime/node';
import { Peer, type Target } from '../conformance/peer.ts';
import { Bit, data, type Field, frame, literal, Type } from '../conformance/wire.ts';
import { type RpcLimits, RpcServer, type ServerCall } from '../src/index.ts';

const PROMPT_MS = 2_000;

/**
 * A server to attack, with methods that answer, never answer, and answer at length, and with counts of what its handlers
 * saw. `serves` is the question that matters: another client still gets its answer.
 */
export class Victim {
  readonly server: RpcServer;
  target: Target;
  /** Calls begun, by handler, and those told that they are over. */
  opened = 0;
  closed = 0;
  /** Kinds of misuse that the server told of. */
  readonly misuse: string[] = [];
  /** Calls of the method that answers when it is told to. */
  readonly waiting: ServerCall[] = [];
  private bystander: Peer | null = null;
  private nextStream = 1;

  private constructor(limits: Partial<RpcLimits>) {
    this.server = new RpcServer(nodeWorld(), { limits, onMisuse: (kind) => this.misuse.push(kind) });
    const body = Buffer.from('0000000003616263', 'hex');
    this.target = { host: '127.0.0.1', port: 0, tls: false, path: '/attack.Test/Echo', body, patienceMs: 10_000 };
  }

  static async start(limits: Partial<RpcLimits> = {}): Promise<Victim> {
    const victim = new Victim(limits);
    victim.register();
    const { address } = await victim.server.listen({ host: '127.0.0.1', port: 0 });
    victim.target = { ...victim.target, port: 'port' in address ? address.port : 0 };
    return victim;
  }

  private register(): void {
    const { server } = this;
    server.handle('/attack.Test/Echo', {
      kind: 'unary',
      message(call, bytes, start, end) {
        call.send(Buffer.from(bytes.subarray(start, end)));
        call.end();
      },
    });
    // Streams that stay: nothing is answered, everything is counted.
    server.handle('/attack.Test/Silent', {
      kind: 'stream',
      opened: () => {
        this.opened++;
      },
      message: () => {},
      closed: () => {
        this.closed++;
      },
    });
    server.handle('/attack.Test/Later', {
      kind: 'unary',
      message: (call) => {
        this.waiting.push(call);
      },
    });
    const chunk = Buffer.alloc(65_536, 7);
    server.handle('/attack.Test/Big', {
      kind: 'unary',
      message(call: ServerCall) {
        call.sendChunks(new Array<Buffer>(160).fill(chunk), 160 * chunk.length);
        call.end();
      },
      closed: () => {
        this.closed++;
      },
    });
  }

  /** A connection for the attacker. */
  attack(...settings: (readonly [number, number])[]): Promise<Peer> {
    return Peer.open(this.target, ...settings);
  }

  fields(path = this.target.path, more: readonly Field[] = []): Field[] {
    return [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', 'localhost'],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
      ...more,
    ];
  }

  /** HEADERS of a call. */
  headers(stream: number, path = this.target.path, more: readonly Field[] = []): Buffer {
    return frame(Type.HEADERS, Bit.END_HEADERS, stream, literal(this.fields(path, more)));
  }

  /** A whole call of Echo. */
  request(stream: number): Buffer {
    return Buffer.concat([this.headers(stream), data(stream, this.target.body)]);
  }

  /** Another client, which was connected before, and a new one are answered promptly. */
  async serves(): Promise<void> {
    const started = Date.now();
    this.bystander ??= await Peer.open(this.target);
    const fresh = await Peer.open(this.target);
    for (const [peer, stream] of [
      [this.bystander, this.nextStream],
      [fresh, 1],
    ] as const) {
      peer.send(this.request(stream));
      await peer.expect('the answer to somebody else', () => peer.hasEnded(stream), PROMPT_MS);
    }
    this.nextStream += 2;
    fresh.close();
    const took = Date.now() - started;
    assert.ok(took < PROMPT_MS, `somebody else waited for ${took} ms`);
  }

  /** The attacker was sent away with one of these codes, and its connection is closed. */
  async expelled(peer: Peer, ...codes: number[]): Promise<void> {
    await peer.expect('the end of the connection', () => peer.isClosed, 15_000);
    const goaway = peer.goaway();
    // A peer that still wrote when the socket closed may have lost the last frames to the reset of TCP.
    if (goaway !== null) assert.ok(codes.includes(goaway.code), `GOAWAY ${goaway.code} ${goaway.debug}`);
  }

  /** Nothing of the attackers is left on the server. */
  async forgets(connections = 1): Promise<void> {
    const end = Date.now() + 10_000;
    while (this.server.connectionCount > connections) {
      if (Date.now() > end) throw new Error(`${this.server.connectionCount} connections are left`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async stop(): Promise<void> {
    this.bystander?.close();
    await this.server.close();
  }
}

/** Writes the same bytes again and again until the server closes the connection; gives how often. */
export async function flood(peer: Peer, make: (round: number) => Buffer, most: number): Promise<number> {
  let round = 0;
  for (; round < most && !peer.isClosed && peer.goaway() === null; round++) {
    if (!peer.socket.write(make(round))) await Promise.race([drained(peer), peer.until(() => peer.isClosed, 5_000)]);
    if (round % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return round;
}

function drained(peer: Peer): Promise<boolean> {
  return new Promise((resolve) => peer.socket.once('drain', () => resolve(true)));
}
