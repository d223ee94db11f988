import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { nodeWorld } from '@etsd/runtime/node';
import * as grpc from '@grpc/grpc-js';
import { type CallReceiver, type ClientCall, GrpcChannel, Metadata, type RpcError, RpcServer } from './index.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const world = nodeWorld();

/** A service with the same behaviour on a server of ours and on one of grpc-js. */
interface Subject {
  readonly name: string;
  start(): Promise<number>;
  stop(): Promise<void>;
}

function ours(): Subject {
  const server = new RpcServer(world);
  server.handle('/test.Echo/Unary', {
    kind: 'unary',
    message(call, bytes, start, end) {
      call.send(Buffer.from(bytes.subarray(start, end)));
      call.end();
    },
  });
  server.handle('/test.Echo/Fail', { kind: 'unary', message: (call) => call.fail(9, 'nicht möglich') });
  server.handle('/test.Echo/Never', { kind: 'unary', message: () => {} });
  server.handle('/test.Echo/Header', {
    kind: 'unary',
    message(call) {
      call.send(Buffer.from(call.header('token') ?? ''));
      call.end();
    },
  });
  server.handle('/test.Echo/Bidi', {
    kind: 'stream',
    message: (call, bytes, start, end) => call.send(Buffer.from(bytes.subarray(start, end))),
    halfClosed: (call) => call.end(),
  });
  return {
    name: 'a server of ours',
    async start() {
      const listener = await server.listen({ host: '127.0.0.1', port: 0 });
      return 'port' in listener.address ? listener.address.port : 0;
    },
    stop: () => server.close(),
  };
}

function grpcJs(): Subject {
  const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 });
  const unary = (path: string, handle: grpc.handleUnaryCall<Buffer, Buffer>) =>
    server.register(path, handle, identity, identity, 'unary');
  unary('/test.Echo/Unary', (call, done) => done(null, call.request));
  unary('/test.Echo/Fail', (_call, done) => done({ code: 9, details: 'nicht möglich' }));
  unary('/test.Echo/Never', () => {});
  unary('/test.Echo/Header', (call, done) => done(null, Buffer.from(String(call.metadata.get('token')[0] ?? ''))));
  const bidi: grpc.handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    call.on('data', (message: Buffer) => call.write(message));
    call.on('end', () => call.end());
  };
  server.register('/test.Echo/Bidi', bidi, identity, identity, 'bidi');
  return {
    name: 'a server of grpc-js',
    start: () =>
      new Promise((resolve, reject) => {
        server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
          error === null ? resolve(port) : reject(error),
        );
      }),
    stop: async () => server.forceShutdown(),
  };
}

/** Gathers what a call brings; `done` resolves when it is over. */
class Gatherer implements CallReceiver {
  readonly messages: Buffer[] = [];
  readonly done: Promise<{ code: number; message: string }>;
  private finish: (outcome: { code: number; message: string }) => void = () => {};

  constructor() {
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  message(_call: ClientCall, bytes: Buffer, start: number, end: number): void {
    this.messages.push(Buffer.from(bytes.subarray(start, end)));
  }

  closed(_call: ClientCall, code: number, message: string): void {
    this.finish({ code, message });
  }
}

for (const subject of [ours(), grpcJs()]) {
  describe(`a client of ours and ${subject.name}`, () => {
    let channel: GrpcChannel;

    before(async () => {
      channel = new GrpcChannel(world, { host: '127.0.0.1', port: await subject.start() });
    });

    after(async () => {
      channel.close();
      await subject.stop();
    });

    it('makes unary calls of every size, many at a time', async () => {
      const sizes = [0, 1, 100, 16_379, 16_380, 65_535, 65_536, 300_000, 2_000_000];
      await Promise.all(
        sizes.map(async (size) => {
          const request = Buffer.alloc(size, size & 255);
          assert.ok((await channel.unary('/test.Echo/Unary', request)).equals(request));
        }),
      );
    });

    it('keeps to the number of streams the server allows', async () => {
      const calls = Array.from({ length: 2000 }, (_, i) => channel.unary('/test.Echo/Unary', Buffer.from(`call ${i}`)));
      const responses = await Promise.all(calls);
      assert.deepEqual(
        responses.map((response) => response.toString()),
        responses.map((_, i) => `call ${i}`),
      );
    });

    it('rejects with the code and text of the server', async () => {
      const failed = channel.unary('/test.Echo/Fail', Buffer.alloc(1));
      await assert.rejects(failed, { name: 'RpcError', code: 9, message: 'nicht möglich' });
    });

    it('ends a call at its deadline and when it is aborted', async () => {
      await assert.rejects(channel.unary('/test.Echo/Never', Buffer.alloc(1), { timeoutMs: 30 }), { code: 4 });
      const abort = new AbortController();
      const call = channel.unary('/test.Echo/Never', Buffer.alloc(1), { signal: abort.signal });
      await channel.unary('/test.Echo/Unary', Buffer.alloc(1));
      abort.abort();
      await assert.rejects(call, (error: RpcError) => error.code === 1);
    });

    it('sends metadata', async () => {
      const metadata = Metadata.of({ token: 'abc.123' }).add('trace-bin', Buffer.from([1, 2, 255]));
      for (let round = 0; round < 4; round++) {
        const response = await channel.unary('/test.Echo/Header', Buffer.alloc(0), { metadata });
        assert.equal(response.toString(), 'abc.123');
        assert.equal((await channel.unary('/test.Echo/Header', Buffer.alloc(0))).toString(), '');
      }
    });

    it('streams in both directions', async () => {
      const receiver = new Gatherer();
      const call = channel.start('/test.Echo/Bidi', receiver);
      const sent = Array.from({ length: 500 }, (_, index) => Buffer.alloc((index * 977) % 40_000, index & 255));
      for (const message of sent) call.send(message);
      call.halfClose();
      assert.equal((await receiver.done).code, 0);
      assert.equal(receiver.messages.length, sent.length);
      for (let i = 0; i < sent.length; i++) assert.ok((sent[i] as Buffer).equals(receiver.messages[i] as Buffer));
    });
  });
}

describe('a channel without a server', () => {
  it('fails calls with UNAVAILABLE and says why', async () => {
    const channel = new GrpcChannel(world, { host: '127.0.0.1', port: 1 });
    await assert.rejects(channel.unary('/a.B/C', Buffer.alloc(0)), { code: 14, message: /ECONNREFUSED/ });
    await assert.rejects(channel.unary('/a.B/C', Buffer.alloc(0)), { code: 14, message: /ECONNREFUSED/ });
    channel.close();
  });

  it('keeps a call that wants to wait, and connects again', async () => {
    const subject = ours();
    const port = await subject.start();
    await subject.stop();
    const channel = new GrpcChannel(world, { host: '127.0.0.1', port }, { backoffMs: 10 });
    const call = channel.unary('/test.Echo/Unary', Buffer.from('late'), { waitForReady: true });
    const failed = channel.unary('/test.Echo/Unary', Buffer.from('now'));
    await assert.rejects(failed, { code: 14 });
    const server = new RpcServer(world);
    server.handle('/test.Echo/Unary', {
      kind: 'unary',
      message(serverCall, bytes, start, end) {
        serverCall.send(Buffer.from(bytes.subarray(start, end)));
        serverCall.end();
      },
    });
    await server.listen({ host: '127.0.0.1', port });
    assert.equal((await call).toString(), 'late');
    channel.close();
    await server.close();
  });
});
