import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Prng } from '@etsd/base';
import { GrpcChannel } from './client.ts';
import type { CallReceiver } from './client-call.ts';
import { Flag, FrameType } from './http2/frame.ts';
import { frame, grpcMessage, ManualWorld, MemorySocket, TestPeer, u32 } from './peer.fixture.ts';
import { RpcServer } from './server.ts';
import type { ServerCall } from './server-call.ts';

const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 400);

function seedOf(test: TestContext): number {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  test.diagnostic(`SEED=${seed}`);
  return seed;
}

function bytesOf(random: Prng, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.u32() & 255));
}

/** The stream numbers one side has used. */
interface Ids {
  next: number;
}

/** A frame that is likely to mean something, or nearly: seldom one that ends the connection by itself. */
function someFrame(random: Prng, peer: TestPeer, ids: Ids): Buffer {
  const wild = random.u32() % 100 === 0;
  const id = wild ? random.u32() % 100 : Math.max(1, ids.next - 2 - 2 * (random.u32() % 6));
  const next = wild ? 2 * (random.u32() % 40) + 1 : ids.next;
  const kind = ids.next === 1 ? 1 : random.u32() % (wild ? 14 : 11);
  if (kind < 3) ids.next = next + 2;
  switch (kind) {
    case 0:
      return peer.headers(next, '/t.S/Unary', (wild ? [0, 1, 4, 5] : [4, 5, 4, 4])[random.u32() % 4] as number);
    case 1:
      return peer.call(next, '/t.S/Unary', bytesOf(random, random.u32() % 50));
    case 2:
      return peer.call(next, '/t.S/Stream', bytesOf(random, random.u32() % 50));
    case 3:
      return peer.data(id, grpcMessage(bytesOf(random, random.u32() % 300)), random.u32() % 2 === 0);
    case 4:
      return peer.data(id, bytesOf(random, random.u32() % 30), random.u32() % 4 === 0);
    case 5:
      return frame(
        FrameType.DATA,
        Flag.PADDED,
        id,
        Buffer.concat([Buffer.from([3]), bytesOf(random, 3 + (random.u32() % 30))]),
      );
    case 6:
      return frame(FrameType.RST_STREAM, 0, id, u32(random.u32() % 14));
    case 7:
      return frame(FrameType.WINDOW_UPDATE, 0, id, u32(random.u32() % 100_000));
    case 8:
      return frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(random.u32() % 100_000)]));
    case 9:
      return frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 1]), u32(random.u32() % 8192)]));
    case 10:
      return frame(FrameType.PING, 0, 0, bytesOf(random, 8));
    case 11:
      return frame(FrameType.CONTINUATION, random.u32() % 8, id, bytesOf(random, random.u32() % 20));
    case 12:
      return peer.answer(id, [':status', '200', 'content-type', 'application/grpc'], random.u32() % 2 === 0);
    default:
      return frame(random.u32() % 12, random.u32() % 64, id, bytesOf(random, random.u32() % 40));
  }
}

/** The same from a server, for streams that the client may have opened. */
function clientFrame(random: Prng, peer: TestPeer, opened: number): Buffer {
  const id = Math.max(1, opened - 2 * (random.u32() % 6));
  const last = random.u32() % 2 === 0;
  switch (random.u32() % 8) {
    case 0:
    case 1:
      return peer.answer(id, [':status', '200', 'content-type', 'application/grpc']);
    case 2:
      return peer.answer(id, ['grpc-status', '0'], true);
    case 3:
      return peer.data(id, grpcMessage(bytesOf(random, random.u32() % 300)), last);
    case 4:
      return peer.answer(id, [':status', '200', 'content-type', 'application/grpc', 'grpc-status', '3'], last);
    case 5:
      return frame(FrameType.RST_STREAM, 0, id, u32(random.u32() % 14));
    case 6:
      return random.u32() % 10 === 0
        ? frame(FrameType.GOAWAY, 0, 0, Buffer.concat([u32(id), u32(0)]))
        : Buffer.alloc(0);
    default:
      return random.u32() % 10 === 0
        ? someFrame(random, peer, { next: opened })
        : frame(FrameType.PING, 0, 0, Buffer.alloc(8));
  }
}

/** Hands the bytes over in random pieces, sometimes with a byte changed. */
function feed(random: Prng, peer: TestPeer, bytes: Buffer): void {
  if (random.u32() % 100 === 0 && bytes.length > 0) bytes[random.u32() % bytes.length] = random.u32() & 255;
  let at = 0;
  while (at < bytes.length) {
    const size = random.u32() % 3 === 0 ? 1 + (random.u32() % 20) : bytes.length - at;
    peer.send(bytes.subarray(at, at + size));
    at += size;
  }
}

describe('whatever a client sends', () => {
  it('the server neither fails nor leaks, and writes whole frames only', (test) => {
    const seed = seedOf(test);
    for (let round = 0; round < ROUNDS; round++) serverRound(new Prng(seed + round));
    test.diagnostic(`${steps} frames`);
    assert.ok(steps > 20 * ROUNDS, 'the frames are not so wild that connections end at once');
  });

  let steps = 0;

  function serverRound(random: Prng): void {
    const manual = new ManualWorld();
    const server = new RpcServer(manual.world, {
      limits: { streamWindowBytes: 2000, outboxBytes: 3000, pingStrikes: 1000 },
    });
    let open = 0;
    const calls: ServerCall[] = [];
    server.handle('/t.S/Unary', {
      kind: 'unary',
      message(call, bytes, start, end) {
        open++;
        calls.push(call);
        if (random.u32() % 2 === 0) call.send(Buffer.from(bytes.subarray(start, end)));
        if (random.u32() % 2 === 0) call.end();
      },
      closed: (call) => void (calls.includes(call) && open--),
    });
    server.handle('/t.S/Stream', {
      kind: 'stream',
      opened(call) {
        open++;
        calls.push(call);
      },
      message: (call) => call.send(Buffer.alloc(random.u32() % 5000)),
      halfClosed: (call) => call.end(),
      closed: () => void open--,
    });
    const socket = new MemorySocket();
    const peer = new TestPeer(socket, manual);
    server.accept(socket);
    peer.open();
    const ids = { next: 1 };
    for (let step = 0; step < 60 && !socket.ended; step++) {
      feed(random, peer, someFrame(random, peer, ids));
      steps++;
      socket.accepts = random.u32() % 4 !== 0;
      socket.drain();
      const call = calls[random.u32() % (calls.length + 1)];
      if (call !== undefined && random.u32() % 3 === 0) call.fail(random.u32() % 17, 'fuzz');
      manual.advance(random.u32() % 50);
    }
    socket.accepts = true;
    while (socket.isPending) socket.drain();
    peer.take();
    socket.destroy();
    assert.equal(open, 0, 'every call was closed once');
    assert.equal(server.connectionCount, 0);
  }
});

describe('whatever a server sends', () => {
  it('the client neither fails nor leaves a call without an end', (test) => {
    const seed = seedOf(test);
    for (let round = 0; round < ROUNDS; round++) clientRound(new Prng(seed + round));
    test.diagnostic(`${steps} frames`);
    assert.ok(steps > 10 * ROUNDS, 'the frames are not so wild that connections end at once');
  });

  let steps = 0;

  function clientRound(random: Prng): void {
    const manual = new ManualWorld();
    const channel = new GrpcChannel(manual.world, { host: 'h', port: 1 });
    let open = 0;
    let opened = 0;
    const receiver: CallReceiver = { message: () => {}, closed: () => void open-- };
    channel.connect();
    const socket = manual.dialled[0] as MemorySocket;
    const peer = new TestPeer(socket, manual);
    peer.openAsServer();
    for (let step = 0; step < 60 && !socket.ended; step++) {
      if (open < 5) {
        open++;
        const call = channel.start('/t.S/M', receiver, { timeoutMs: 5000 });
        opened = Math.max(opened, call.id);
        if (random.u32() % 3 === 0) call.send(bytesOf(random, random.u32() % 100));
        else call.sendLast(bytesOf(random, random.u32() % 100));
        if (random.u32() % 10 === 0) call.cancel();
      }
      feed(random, peer, clientFrame(random, peer, opened));
      manual.advance(random.u32() % 50);
      steps++;
    }
    peer.take();
    channel.close();
    for (const dialled of manual.dialled) dialled.destroy();
    manual.turn();
    assert.equal(open, 0, 'every call was told its end once');
  }
});
