import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { type ChannelOptions, ChannelState, GrpcChannel } from './client.ts';
import type { CallReceiver, ClientCall } from './client-call.ts';
import { Metadata } from './grpc/metadata.ts';
import type { Field } from './hpack/table.ts';
import { Flag, FrameType } from './http2/frame.ts';
import { frame, grpcMessage, ManualWorld, type MemorySocket, TestPeer, u32 } from './peer.fixture.ts';

const { GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE } = FrameType;

const RESPONSE = [':status', '200', 'content-type', 'application/grpc'];
const OK = ['grpc-status', '0'];

class Recorder implements CallReceiver {
  readonly events: string[] = [];

  headers(_call: ClientCall, fields: readonly Field[]): void {
    this.events.push(`headers ${fields.length}`);
  }

  message(_call: ClientCall, bytes: Buffer, start: number, end: number): void {
    this.events.push(`message ${bytes.toString('latin1', start, end)}`);
  }

  closed(_call: ClientCall, code: number, message: string, trailers: readonly Field[]): void {
    this.events.push(`closed ${code} ${message} +${trailers.length}`);
  }
}

let manual: ManualWorld;
let channel: GrpcChannel;
let peer: TestPeer;
let socket: MemorySocket;
let recorder: Recorder;
let states: ChannelState[];

function start(options: ChannelOptions = {}, settings?: Buffer): void {
  manual = new ManualWorld();
  states = [];
  channel = new GrpcChannel(
    manual.world,
    { host: 'server', port: 1 },
    { ...options, onState: (state) => states.push(state) },
  );
  recorder = new Recorder();
  channel.connect();
  accept(settings);
}

/** Plays the server on the socket dialled last. */
function accept(settings?: Buffer): void {
  socket = manual.dialled.at(-1) as MemorySocket;
  peer = new TestPeer(socket, manual);
  peer.openAsServer(settings);
  peer.take();
}

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), u32(value)]);
}

function call(body = 'x'): ClientCall {
  const result = channel.start('/t.S/M', recorder);
  result.sendLast(Buffer.from(body));
  manual.turn();
  return result;
}

describe('the client on the wire', () => {
  beforeEach(() => start());

  it('opens with preface, SETTINGS and a larger window', () => {
    start();
    assert.deepEqual(states, [ChannelState.CONNECTING, ChannelState.READY]);
    manual = new ManualWorld();
    channel = new GrpcChannel(manual.world, { host: 'h', port: 1 });
    channel.connect();
    const raw = manual.dialled[0] as MemorySocket;
    raw.receiver?.opened?.();
    manual.turn();
    const bytes = Buffer.concat(raw.sent);
    assert.equal(bytes.toString('latin1', 0, 24), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    assert.equal(bytes[27], SETTINGS);
  });

  it('sends a whole unary call in one write, and repeats its headers in one byte a field', () => {
    const writes = socket.writes;
    call('hello');
    assert.equal(socket.writes, writes + 1);
    const frames = peer.take();
    assert.deepEqual(peer.fields(frames[0]!.payload), {
      ':method': 'POST',
      ':scheme': 'http',
      ':path': '/t.S/M',
      ':authority': 'server:1',
      'content-type': 'application/grpc',
      'user-agent': 'etsd-grpc/0.1',
      te: 'trailers',
      'grpc-accept-encoding': 'gzip',
    });
    assert.deepEqual(peer.transcript(frames.slice(1)), ['DATA 1 10 end']);
    for (let round = 0; round < 3; round++) {
      call('again');
      const [headers, data] = peer.take();
      assert.equal(headers?.payload.length, 8);
      assert.equal(peer.fields(headers!.payload)[':path'], '/t.S/M');
      assert.equal(data?.flags, Flag.END_STREAM);
    }
  });

  it('sends metadata longer than a frame in CONTINUATION frames', () => {
    const metadata = Metadata.of({ long: 'v'.repeat(30_000) });
    channel.start('/t.S/M', recorder, { metadata, timeoutMs: 1000 });
    manual.turn();
    const frames = peer.take();
    assert.deepEqual(
      frames.map((seen) => [seen.type, seen.flags]),
      [
        [HEADERS, 0],
        [FrameType.CONTINUATION, Flag.END_HEADERS],
      ],
    );
  });

  it('reads a response, its trailers, and one that is trailers only', () => {
    call();
    peer.send(peer.answer(1, RESPONSE), peer.data(1, grpcMessage('one')), peer.answer(1, [...OK, 'x-t', 'v'], true));
    assert.deepEqual(recorder.events, ['headers 2', 'message one', 'closed 0  +2']);
    start();
    call();
    peer.send(peer.answer(1, [...RESPONSE, 'grpc-status', '5', 'grpc-message', 'no%20such%20%C3%A4'], true));
    assert.deepEqual(recorder.events, ['closed 5 no such ä +4']);
  });

  it('skips interim responses and puts messages together', () => {
    call();
    peer.send(peer.answer(1, [':status', '103']), peer.answer(1, RESPONSE));
    for (const byte of grpcMessage('pieces')) peer.send(peer.data(1, Buffer.from([byte])));
    peer.send(peer.answer(1, OK, true));
    assert.deepEqual(recorder.events, ['headers 2', 'message pieces', 'closed 0  +1']);
  });

  const endings: [string, () => Buffer, RegExp][] = [
    ['HTTP errors', () => peer.answer(1, [':status', '503'], true), /^closed 14 .*503/],
    [
      'a web page',
      () =>
        Buffer.concat([
          peer.answer(1, [':status', '200', 'content-type', 'text/html']),
          peer.data(1, Buffer.from('<p>'), true),
        ]),
      /^closed 2 .*text\/html/,
    ],
    ['no status', () => Buffer.concat([peer.answer(1, RESPONSE), peer.data(1, Buffer.alloc(0), true)]), /^closed 13 /],
    [
      'half a message',
      () =>
        Buffer.concat([peer.answer(1, RESPONSE), peer.data(1, Buffer.from([0, 0, 0, 0, 9])), peer.answer(1, OK, true)]),
      /^closed 13 unexpected EOF/,
    ],
    ['DATA before headers', () => peer.data(1, grpcMessage('x')), /^closed 13 /],
    ['two header blocks', () => Buffer.concat([peer.answer(1, RESPONSE), peer.answer(1, RESPONSE)]), /^closed 13 /],
    ['no :status', () => peer.answer(1, ['content-type', 'application/grpc']), /^closed 13 /],
    ['a reset', () => frame(RST_STREAM, 0, 1, u32(2)), /^closed 13 .*INTERNAL_ERROR/],
    ['a cancellation', () => frame(RST_STREAM, 0, 1, u32(8)), /^closed 1 .*CANCEL/],
    ['an unknown compression', () => peer.answer(1, [...RESPONSE, 'grpc-encoding', 'snappy']), /^closed 12 .*snappy/],
  ];
  for (const [what, bytes, outcome] of endings) {
    it(`tells of ${what}, and goes on`, () => {
      call();
      peer.send(bytes());
      assert.match(recorder.events.at(-1) ?? '', outcome);
      recorder.events.length = 0;
      call();
      peer.send(peer.answer(3, RESPONSE), peer.data(3, grpcMessage('y')), peer.answer(3, OK, true));
      assert.deepEqual(recorder.events, ['headers 2', 'message y', 'closed 0  +1']);
    });
  }

  it('ends the connection on what no server may send', () => {
    const fatal: (() => Buffer)[] = [
      () => frame(PUSH_PROMISE, 4, 1, u32(2)),
      () => frame(SETTINGS, 0, 0, setting(2, 1)),
      () => frame(SETTINGS, 0, 0, setting(5, 0)),
      () => peer.answer(7, RESPONSE),
      () => peer.answer(2, RESPONSE),
    ];
    for (const bytes of fatal) {
      start();
      call();
      peer.send(bytes());
      assert.equal(peer.take().at(-1)?.type, GOAWAY);
      assert.match(recorder.events.at(-1) ?? '', /^closed 14 connection lost: /);
    }
  });

  it('cancels with a reset, and ignores what comes after', () => {
    const running = call();
    peer.take();
    running.cancel();
    manual.turn();
    assert.deepEqual(peer.transcript(), ['RST_STREAM 1 8']);
    peer.send(peer.answer(1, RESPONSE), peer.data(1, grpcMessage('late')), peer.answer(1, OK, true));
    assert.deepEqual(peer.transcript(), []);
    assert.deepEqual(recorder.events, ['closed 1 context canceled +0']);
  });

  it('sends each call the deadline that is its own', () => {
    const sent = [250, 250, 300, 250].map((timeoutMs) => {
      channel.start('/t.S/M', recorder, { timeoutMs }).sendLast(Buffer.alloc(0));
      manual.turn();
      return peer.fields(peer.take()[0]!.payload)['grpc-timeout'];
    });
    assert.deepEqual(sent, ['250000u', '250000u', '300000u', '250000u']);
  });

  it('sends the deadline and keeps it', () => {
    channel.start('/t.S/M', recorder, { timeoutMs: 250 }).sendLast(Buffer.alloc(0));
    manual.turn();
    assert.equal(peer.fields(peer.take()[0]!.payload)['grpc-timeout'], '250000u');
    manual.advance(300);
    assert.deepEqual(recorder.events, ['closed 4 context deadline exceeded +0']);
    assert.deepEqual(peer.transcript(), ['RST_STREAM 1 8']);
  });
});

describe('the client and the limits of the server', () => {
  it('keeps calls back beyond MAX_CONCURRENT_STREAMS', () => {
    start({}, setting(3, 2));
    for (let i = 0; i < 4; i++) call(`${i}`);
    assert.deepEqual(new Set(peer.take().map((seen) => seen.id)), new Set([1, 3]));
    peer.send(peer.answer(1, RESPONSE), peer.answer(1, OK, true));
    assert.deepEqual(new Set(peer.take().map((seen) => seen.id)), new Set([5]));
    peer.send(frame(SETTINGS, 0, 0, setting(3, 10)));
    assert.ok(peer.take().some((seen) => seen.id === 7));
  });

  it('keeps to the windows', () => {
    start({}, setting(4, 8));
    const running = channel.start('/t.S/M', recorder);
    running.send(Buffer.from('abcdef'));
    running.halfClose();
    manual.turn();
    assert.deepEqual(
      peer
        .take()
        .map((seen) => [seen.type, seen.payload.length])
        .slice(1),
      [[0, 8]],
    );
    peer.send(frame(WINDOW_UPDATE, 0, 1, u32(100)));
    assert.deepEqual(peer.transcript(), ['DATA 1 3 end']);
  });

  it('starts a refused call again', () => {
    start();
    call('again');
    peer.take();
    peer.send(frame(RST_STREAM, 0, 1, u32(7)));
    const frames = peer.take();
    assert.equal(frames[0]?.id, 3);
    assert.equal(frames[1]?.payload.toString('latin1', 5), 'again');
    peer.send(peer.answer(3, RESPONSE), peer.data(3, grpcMessage('y')), peer.answer(3, OK, true));
    assert.deepEqual(recorder.events, ['headers 2', 'message y', 'closed 0  +1']);
  });

  it('takes calls the server will not serve to a new connection, and finishes the others on the old one', () => {
    start();
    call('served');
    call('not served');
    const first = peer;
    first.send(frame(GOAWAY, 0, 0, Buffer.concat([u32(1), u32(0)])));
    assert.equal(manual.dialled.length, 2);
    accept();
    const started = manual.dialled[1]?.sent ?? [];
    assert.deepEqual(started, [], 'taken by accept');
    first.send(first.answer(1, RESPONSE), first.data(1, grpcMessage('one')), first.answer(1, OK, true));
    assert.equal(first.socket.ended, true);
    peer.send(peer.answer(1, RESPONSE), peer.data(1, grpcMessage('two')), peer.answer(1, OK, true));
    assert.deepEqual(
      recorder.events.filter((event) => event.startsWith('message')),
      ['message one', 'message two'],
    );
  });

  it('fails running calls when the connection is lost, and connects anew for the next', () => {
    start();
    call();
    socket.destroy(new Error('cable cut'));
    assert.deepEqual(recorder.events, ['closed 14 connection lost: cable cut +0']);
    call();
    assert.equal(manual.dialled.length, 2);
    accept();
    peer.send(peer.answer(1, RESPONSE), peer.data(1, grpcMessage('y')), peer.answer(1, OK, true));
    assert.equal(recorder.events.at(-1), 'closed 0  +1');
  });

  it('waits between attempts to connect, longer each time', () => {
    manual = new ManualWorld();
    channel = new GrpcChannel(manual.world, { host: 'h', port: 1 });
    recorder = new Recorder();
    channel.start('/t.S/M', recorder, { waitForReady: true }).sendLast(Buffer.from('x'));
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 4; attempt++) {
      assert.equal(manual.dialled.length, attempt);
      manual.dialled.at(-1)?.destroy(new Error('refused'));
      const before = manual.nowMs;
      while (manual.dialled.length === attempt) manual.advance(10);
      waits.push(Math.round((manual.nowMs - before) / 100) / 10);
    }
    assert.deepEqual(waits, [1, 1.6, 2.6, 4.1]);
    accept();
    assert.equal(recorder.events.length, 0);
  });

  it('pings a silent server while calls run, and gives it up', () => {
    start({ keepaliveMs: 10_000, keepaliveTimeoutMs: 5_000 });
    manual.advance(30_000);
    assert.deepEqual(peer.transcript(), [], 'no calls, no pings');
    call();
    peer.take();
    manual.advance(15_000);
    assert.deepEqual(peer.transcript(), ['PING']);
    peer.send(frame(PING, 1, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 1])));
    manual.advance(30_000);
    assert.match(recorder.events.at(-1) ?? '', /^closed 14 .*keepalive/);
  });

  it('ends its calls when it is closed', () => {
    start();
    call();
    channel.close();
    assert.match(recorder.events[0] ?? '', /^closed 1 /);
    assert.equal(socket.destroyed, true);
    call();
    assert.match(recorder.events[1] ?? '', /^closed 1 /);
  });
});
