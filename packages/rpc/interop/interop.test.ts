import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { nodeWorld } from '@etsd/runtime/node';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Peer, type Target } from '../conformance/peer.ts';
import { Bit, data, frame, literal, Type } from '../conformance/wire.ts';
import { RpcServer } from '../src/index.ts';
import { registerTestService } from './test-service.ts';

/** The public cases of gRPC's interop tests, with grpc-js as the client that knows nothing of us. */

interface Payload {
  body: Buffer;
}
interface Response {
  payload?: Payload;
  aggregated_payload_size?: number;
}
type Request = Record<string, unknown>;
type Callback = (error: grpc.ServiceError | null, response?: Response) => void;
type Unary = (
  request: Request,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  done: Callback,
) => grpc.ClientUnaryCall;

interface TestClient extends grpc.Client {
  EmptyCall: Unary;
  UnaryCall: Unary;
  CacheableUnaryCall: Unary;
  UnimplementedCall: Unary;
  StreamingOutputCall(request: Request): grpc.ClientReadableStream<Response>;
  StreamingInputCall(done: Callback): grpc.ClientWritableStream<Request>;
  FullDuplexCall(metadata?: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<Request, Response>;
  HalfDuplexCall(): grpc.ClientDuplexStream<Request, Response>;
}

const loaded = grpc.loadPackageDefinition(
  loadSync(join(import.meta.dirname, 'test.proto'), { keepCase: true, bytes: Buffer, defaults: true }),
) as unknown as {
  grpc: {
    testing: { TestService: grpc.ServiceClientConstructor; UnimplementedService: grpc.ServiceClientConstructor };
  };
};
const { TestService, UnimplementedService } = loaded.grpc.testing;

const zeros = (size: number): Payload => ({ body: Buffer.alloc(size) });

interface Answer {
  code: number;
  message: string;
  response: Response | undefined;
  initial: grpc.Metadata | null;
  trailing: grpc.Metadata | null;
}

describe('the public interop cases', () => {
  const world = nodeWorld();
  const server = new RpcServer(world, { limits: { receiveMessageBytes: 16 * 1024 * 1024 } });
  let port = 0;
  let client: TestClient;
  let compressing: TestClient;

  before(async () => {
    registerTestService(server, world.timers);
    const { address } = await server.listen({ host: '127.0.0.1', port: 0 });
    port = 'port' in address ? address.port : 0;
    const open = (options: grpc.ClientOptions): TestClient =>
      new TestService(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
        'grpc.max_receive_message_length': -1,
        'grpc.use_local_subchannel_pool': 1,
        ...options,
      }) as unknown as TestClient;
    client = open({});
    compressing = open({ 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip });
  });

  after(async () => {
    client.close();
    compressing.close();
    await server.close();
  });

  /** One unary call, whatever its outcome. */
  function unary(
    method: Unary,
    request: Request,
    metadata = new grpc.Metadata(),
    on: grpc.Client = client,
  ): Promise<Answer> {
    return new Promise((resolve) => {
      const answer: Answer = { code: 0, message: '', response: undefined, initial: null, trailing: null };
      const call = method.call(on, request, metadata, { deadline: Date.now() + 10_000 }, (error, response) => {
        answer.code = error?.code ?? 0;
        answer.message = error?.details ?? '';
        answer.response = response;
      });
      call.on('metadata', (initial: grpc.Metadata) => {
        answer.initial = initial;
      });
      call.on('status', (status: grpc.StatusObject) => {
        answer.trailing = status.metadata;
        // The callback above runs in the same turn.
        setImmediate(() => resolve(answer));
      });
    });
  }

  /** All responses of a stream, and how it ended. */
  function collect(
    call: grpc.ClientReadableStream<Response>,
  ): Promise<{ sizes: number[]; code: number; message: string }> {
    return new Promise((resolve) => {
      const sizes: number[] = [];
      call.on('data', (response: Response) => sizes.push(response.payload?.body.length ?? -1));
      call.on('error', () => {});
      call.on('status', ({ code, details }: grpc.StatusObject) => {
        setImmediate(() => resolve({ sizes, code, message: details }));
      });
    });
  }

  it('empty_unary', async () => {
    const { code, response } = await unary(client.EmptyCall, {});
    assert.equal(code, 0);
    assert.deepEqual({ ...response }, {});
  });

  it('cacheable_unary', async () => {
    assert.equal((await unary(client.CacheableUnaryCall, { response_size: 5 })).response?.payload?.body.length, 5);
  });

  it('large_unary', async () => {
    const { code, response } = await unary(client.UnaryCall, { response_size: 314_159, payload: zeros(271_828) });
    assert.equal(code, 0);
    assert.deepEqual(response?.payload?.body, Buffer.alloc(314_159));
  });

  it('a unary call of 10 MB both ways', async () => {
    const { response } = await unary(client.UnaryCall, { response_size: 10_000_000, payload: zeros(10_000_000) });
    assert.equal(response?.payload?.body.length, 10_000_000);
  });

  it('client_streaming', async () => {
    const response = await new Promise<Response | undefined>((resolve, reject) => {
      const call = client.StreamingInputCall((error, value) => (error === null ? resolve(value) : reject(error)));
      for (const size of [27_182, 8, 1_828, 45_904]) call.write({ payload: zeros(size) });
      call.end();
    });
    assert.equal(response?.aggregated_payload_size, 74_922);
  });

  it('server_streaming', async () => {
    const sizes = [31_415, 9, 2_653, 58_979];
    const request = { response_parameters: sizes.map((size) => ({ size })) };
    assert.deepEqual(await collect(client.StreamingOutputCall(request)), { sizes, code: 0, message: '' });
  });

  it('ping_pong', async () => {
    const call = client.FullDuplexCall();
    const pairs = [
      [27_182, 31_415],
      [8, 9],
      [1_828, 2_653],
      [45_904, 58_979],
    ] as const;
    let next = 0;
    const send = (): void => {
      const pair = pairs[next++];
      if (pair === undefined) call.end();
      else call.write({ response_parameters: [{ size: pair[1] }], payload: zeros(pair[0]) });
    };
    call.on('data', send);
    send();
    const { sizes, code } = await collect(call);
    assert.deepEqual(sizes, [31_415, 9, 2_653, 58_979]);
    assert.equal(code, 0);
  });

  it('empty_stream', async () => {
    const call = client.FullDuplexCall();
    call.end();
    assert.deepEqual(await collect(call), { sizes: [], code: 0, message: '' });
  });

  it('half_duplex: answers come when the client has finished', async () => {
    const call = client.HalfDuplexCall();
    for (const size of [5, 6]) call.write({ response_parameters: [{ size }] });
    call.end();
    assert.deepEqual((await collect(call)).sizes, [5, 6]);
  });

  it('timeout_on_sleeping_server', async () => {
    const call = client.FullDuplexCall(new grpc.Metadata(), { deadline: Date.now() + 20 });
    call.write({ response_parameters: [{ size: 31_415, interval_us: 10_000_000 }], payload: zeros(27_182) });
    assert.equal((await collect(call)).code, grpc.status.DEADLINE_EXCEEDED);
  });

  it('cancel_after_begin', async () => {
    const code = await new Promise<number>((resolve) => {
      const call = client.StreamingInputCall((error) => resolve(error?.code ?? 0));
      call.cancel();
    });
    assert.equal(code, grpc.status.CANCELLED);
  });

  it('cancel_after_first_response', async () => {
    const call = client.FullDuplexCall();
    call.once('data', () => call.cancel());
    call.write({ response_parameters: [{ size: 31_415 }], payload: zeros(27_182) });
    const { sizes, code } = await collect(call);
    assert.deepEqual([sizes.length, code], [1, grpc.status.CANCELLED]);
  });

  it('status_code_and_message', async () => {
    const response_status = { code: 2, message: 'test status message' };
    const { code, message } = await unary(client.UnaryCall, { response_status });
    assert.deepEqual([code, message], [2, 'test status message']);
    const call = client.FullDuplexCall();
    call.write({ response_status });
    call.end();
    const ended = await collect(call);
    assert.deepEqual([ended.code, ended.message], [2, 'test status message']);
  });

  it('special_status_message', async () => {
    const text = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
    const { code, message } = await unary(client.UnaryCall, { response_status: { code: 2, message: text } });
    assert.deepEqual([code, message], [2, text]);
  });

  it('custom_metadata', async () => {
    const metadata = new grpc.Metadata();
    metadata.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from('ababab', 'hex'));
    const { initial, trailing } = await unary(
      client.UnaryCall,
      { response_size: 314_159, payload: zeros(271_828) },
      metadata,
    );
    assert.deepEqual(initial?.get('x-grpc-test-echo-initial'), ['test_initial_metadata_value']);
    assert.deepEqual(trailing?.get('x-grpc-test-echo-trailing-bin'), [Buffer.from('ababab', 'hex')]);

    const call = client.FullDuplexCall(metadata);
    const seen: { initial: grpc.Metadata | null; trailing: grpc.Metadata | null } = { initial: null, trailing: null };
    call.on('metadata', (value: grpc.Metadata) => {
      seen.initial = value;
    });
    call.on('status', (status: grpc.StatusObject) => {
      seen.trailing = status.metadata;
    });
    call.write({ response_parameters: [{ size: 314_159 }], payload: zeros(271_828) });
    call.end();
    assert.equal((await collect(call)).code, 0);
    assert.deepEqual(seen.initial?.get('x-grpc-test-echo-initial'), ['test_initial_metadata_value']);
    assert.deepEqual(seen.trailing?.get('x-grpc-test-echo-trailing-bin'), [Buffer.from('ababab', 'hex')]);
  });

  it('unimplemented_method', async () => {
    assert.equal((await unary(client.UnimplementedCall, {})).code, grpc.status.UNIMPLEMENTED);
  });

  it('unimplemented_service', async () => {
    const other = new UnimplementedService(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const method = (other as unknown as TestClient).UnimplementedCall;
    assert.equal((await unary(method, {}, new grpc.Metadata(), other)).code, grpc.status.UNIMPLEMENTED);
    other.close();
  });

  it('client_compressed_unary', async () => {
    const request = (value: boolean): Request => ({
      expect_compressed: { value },
      response_size: 314_159,
      payload: zeros(271_828),
    });
    // A message that says it is compressed and is not has to be refused: else the next answer would prove nothing.
    assert.equal((await unary(client.UnaryCall, request(true))).code, grpc.status.INVALID_ARGUMENT);
    const compressed = await unary(compressing.UnaryCall, request(true), new grpc.Metadata(), compressing);
    assert.equal(compressed.response?.payload?.body.length, 314_159);
    assert.equal((await unary(client.UnaryCall, request(false))).response?.payload?.body.length, 314_159);
  });

  it('client_compressed_streaming', async () => {
    const outcome = await new Promise<Response | grpc.ServiceError | undefined>((resolve) => {
      const call = compressing.StreamingInputCall((error, value) => resolve(error ?? value));
      call.write({ expect_compressed: { value: true }, payload: zeros(27_182) });
      call.write({ expect_compressed: { value: true }, payload: zeros(45_904) });
      call.end();
    });
    assert.equal((outcome as Response).aggregated_payload_size, 73_086);
  });

  it('server_compressed_unary and server_compressed_streaming, as grpc-js reads them', async () => {
    const one = await unary(client.UnaryCall, { response_compressed: { value: true }, response_size: 314_159 });
    assert.equal(one.response?.payload?.body.length, 314_159);
    const response_parameters = [
      { compressed: { value: true }, size: 31_415 },
      { compressed: { value: false }, size: 92_653 },
    ];
    assert.deepEqual((await collect(client.StreamingOutputCall({ response_parameters }))).sizes, [31_415, 92_653]);
  });

  it('server_compressed_unary: the flag and the bytes say so', async () => {
    const body = Buffer.from('0000000000', 'hex');
    const target: Target = { host: '127.0.0.1', port, tls: false, path: '', body, patienceMs: 5_000 };
    const peer = await Peer.open(target);
    const ask = (stream: number, accept: string): void => {
      const headers = [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/grpc.testing.TestService/UnaryCall'],
        [':authority', 'localhost'],
        ['content-type', 'application/grpc'],
        ['te', 'trailers'],
        ['grpc-accept-encoding', accept],
      ] as const;
      // response_size 60,000, response_compressed true
      const request = Buffer.from('10e0d40332020801', 'hex');
      const message = Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]);
      peer.send(frame(Type.HEADERS, Bit.END_HEADERS, stream, literal(headers)), data(stream, message));
    };
    ask(1, 'identity,gzip');
    await peer.expect('a compressed answer', () => peer.hasEnded(1));
    assert.equal(peer.find(Type.DATA, 1)?.payload[0], 1);
    assert.ok(peer.dataBytes(1) < 1_000, `${peer.dataBytes(1)} bytes`);
    // A client that does not know gzip gets the plain bytes.
    ask(3, 'identity');
    await peer.expect('a plain answer', () => peer.hasEnded(3));
    assert.equal(peer.find(Type.DATA, 3)?.payload[0], 0);
    assert.ok(peer.dataBytes(3) > 60_000);
    peer.close();
  });
});
