import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { nodeWorld } from '@etsd/runtime/node';
import * as grpc from '@grpc/grpc-js';
import { RpcServer, type ServerCall } from './index.ts';

/** Bytes as they are: the tests need no message types. */
const identity = (bytes: Buffer): Buffer => bytes;

const METHODS = {
  Unary: definition('/test.Echo/Unary', false, false),
  Fail: definition('/test.Echo/Fail', false, false),
  Big: definition('/test.Echo/Big', false, false),
  Never: definition('/test.Echo/Never', false, false),
  Bidi: definition('/test.Echo/Bidi', true, true),
  Unknown: definition('/test.Echo/Unknown', false, false),
};

function definition(
  path: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
}

function copy(bytes: Buffer, start: number, end: number): Buffer {
  return Buffer.from(bytes.subarray(start, end));
}

describe('a server of ours and a client of grpc-js', () => {
  const server = new RpcServer(nodeWorld());
  const closed: string[] = [];
  let client: grpc.Client;

  before(async () => {
    server.handle('/test.Echo/Unary', {
      kind: 'unary',
      message(call, bytes, start, end) {
        call.send(copy(bytes, start, end));
        call.end();
      },
    });
    server.handle('/test.Echo/Fail', {
      kind: 'unary',
      message: (call) => call.fail(9, 'nicht möglich: 100 %'),
    });
    server.handle('/test.Echo/Big', {
      kind: 'unary',
      message(call, bytes, start) {
        const chunk = Buffer.alloc(65_536, 7);
        const count = bytes.readUInt32BE(start);
        call.sendChunks(new Array<Buffer>(count).fill(chunk), count * chunk.length);
        call.end();
      },
    });
    server.handle('/test.Echo/Never', {
      kind: 'unary',
      message: () => {},
      closed: () => closed.push('never'),
    });
    server.handle('/test.Echo/Bidi', {
      kind: 'stream',
      opened: (call: ServerCall) => call.sendHeaders(),
      message: (call, bytes, start, end) => call.send(copy(bytes, start, end)),
      halfClosed: (call) => call.end(),
    });
    const listener = await server.listen({ host: '127.0.0.1', port: 0 });
    const port = 'port' in listener.address ? listener.address.port : 0;
    client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
    });
  });

  after(async () => {
    client.close();
    await server.close();
  });

  function call(method: grpc.MethodDefinition<Buffer, Buffer>, request: Buffer, options: grpc.CallOptions = {}) {
    return new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(method.path, identity, identity, request, options, (error, response) => {
        if (error !== null) reject(error);
        else resolve(response as Buffer);
      });
    });
  }

  it('answers unary calls of every size, many at a time', async () => {
    const sizes = [0, 1, 100, 16_379, 16_380, 65_535, 65_536, 300_000, 2_000_000];
    const calls = sizes.map(async (size) => {
      const request = Buffer.alloc(size, size & 255);
      assert.deepEqual(await call(METHODS.Unary, request), request);
    });
    await Promise.all(calls);
  });

  it('gives the code and the text of an error', async () => {
    await assert.rejects(call(METHODS.Fail, Buffer.alloc(3)), { code: 9, details: 'nicht möglich: 100 %' });
  });

  it('names what it does not know as grpc-go does', async () => {
    const details = 'unknown method Unknown for service test.Echo';
    await assert.rejects(call(METHODS.Unknown, Buffer.alloc(1)), { code: 12, details });
    const other = definition('/other.Service/Method', false, false);
    await assert.rejects(call(other, Buffer.alloc(1)), { code: 12, details: 'unknown service other.Service' });
  });

  it('refuses a message over the limit and keeps the connection', async () => {
    const details = 'grpc: received message larger than max (2097153 vs. 2097152)';
    await assert.rejects(call(METHODS.Unary, Buffer.alloc(2_097_153)), { code: 8, details });
    assert.equal((await call(METHODS.Unary, Buffer.alloc(2_097_152))).length, 2_097_152);
  });

  it('sends a large message in slices', async () => {
    const request = Buffer.alloc(4);
    request.writeUInt32BE(300);
    const response = await call(METHODS.Big, request);
    assert.equal(response.length, 300 * 65_536);
    assert.ok(response.every((byte) => byte === 7));
  });

  it('tells the handler when the client gives up', async () => {
    await assert.rejects(call(METHODS.Never, Buffer.alloc(1), { deadline: Date.now() + 50 }), { code: 4 });
    while (closed.length === 0) await call(METHODS.Unary, Buffer.alloc(1));
    assert.deepEqual(closed, ['never']);
  });

  it('echoes a stream in both directions', async () => {
    const stream = client.makeBidiStreamRequest(METHODS.Bidi.path, identity, identity);
    const sent = Array.from({ length: 500 }, (_, index) => Buffer.alloc((index * 977) % 40_000, index & 255));
    for (const message of sent) stream.write(message);
    stream.end();
    const received: Buffer[] = [];
    for await (const message of stream) received.push(message as Buffer);
    assert.equal(received.length, sent.length);
    for (let i = 0; i < sent.length; i++) assert.ok((sent[i] as Buffer).equals(received[i] as Buffer));
  });
});
