import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Flag, FrameType } from './http2/frame.ts';
import type { RpcLimits } from './limits.ts';
import { frame, grpcMessage, u32 } from './peer.fixture.ts';
import { type Served, serve } from './served.fixture.ts';
import type { ServerCall } from './server-call.ts';

const { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } =
  FrameType;
const { END_HEADERS, END_STREAM, PADDED } = Flag;

let { manual, server, socket, peer, held, events } = {} as Served;

function start(limits: Partial<RpcLimits> = {}): void {
  ({ manual, server, socket, peer, held, events } = serve(limits));
}

/** Starts a server and opens the connection. */
function open(limits: Partial<RpcLimits> = {}, settings?: Buffer): void {
  start(limits);
  peer.open(settings);
}

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), u32(value)]);
}

describe('the opening of a connection', () => {
  it('sends SETTINGS and acknowledges those of the client', () => {
    start();
    peer.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0));
    const transcript = peer.transcript();
    assert.deepEqual(transcript, ['SETTINGS', `WINDOW_UPDATE 0 ${8_388_608 - 65_535}`, 'SETTINGS ack']);
  });

  it('reads the preface byte by byte, and hands anything else over', () => {
    start();
    for (const byte of Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')) peer.send(Buffer.from([byte]));
    for (const byte of frame(SETTINGS, 0, 0)) peer.send(Buffer.from([byte]));
    assert.equal(peer.take().length, 3);
    start();
    let seen = '';
    server.onHttp1((_socket, bytes) => {
      seen = bytes.toString();
    });
    peer.send(Buffer.from('PR'));
    peer.send(Buffer.from('OPFIND / HTTP/1.1\r\n'));
    assert.equal(seen, 'PROPFIND / HTTP/1.1\r\n');
  });

  it('closes what stays silent, and what sends no SETTINGS', () => {
    start();
    manual.advance(11_000);
    assert.equal(socket.destroyed, true);
    start();
    peer.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
    peer.take();
    manual.advance(11_000);
    assert.deepEqual(peer.transcript(), ['GOAWAY 0 4 no SETTINGS']);
    start();
    peer.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0));
    peer.take();
    manual.advance(21_000);
    assert.deepEqual(peer.transcript(), ['GOAWAY 0 4 SETTINGS not acknowledged']);
  });
});

describe('a unary call', () => {
  beforeEach(() => open());

  it('is answered in one write, and in few bytes once the table knows the fields', () => {
    peer.send(peer.call(1, '/t.S/Echo', 'hello'));
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200', 'DATA 1 10', 'HEADERS 1 grpc-status=0 end']);
    const writes = socket.writes;
    peer.send(peer.call(3, '/t.S/Echo', 'hello'), peer.call(5, '/t.S/Echo', ''));
    assert.equal(socket.writes, writes + 1);
    const frames = peer.take();
    assert.deepEqual(
      frames.map((seen) => seen.payload.length),
      [2, 10, 1, 2, 5, 1],
    );
    assert.deepEqual(peer.fields(frames[0]!.payload), { ':status': '200', 'content-type': 'application/grpc' });
  });

  it('can come in any pieces', () => {
    const bytes = peer.call(1, '/t.S/Echo', 'a message in pieces');
    for (const byte of bytes) peer.send(Buffer.from([byte]));
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200', 'DATA 1 24', 'HEADERS 1 grpc-status=0 end']);
    const message = grpcMessage('another');
    peer.send(peer.headers(3, '/t.S/Echo'));
    for (const byte of message) peer.send(peer.data(3, Buffer.from([byte])));
    assert.deepEqual(peer.transcript(), []);
    peer.send(peer.data(3, Buffer.alloc(0), true));
    assert.deepEqual(peer.transcript(), ['HEADERS 3 200', 'DATA 3 12', 'HEADERS 3 grpc-status=0 end']);
  });

  it('can be padded, prioritised, continued and ended by trailers', () => {
    const block = peer.block([
      ':method',
      'POST',
      ':scheme',
      'http',
      ':path',
      '/t.S/Echo',
      'content-type',
      'application/grpc',
    ]);
    const message = grpcMessage('x');
    const padded = Buffer.concat([Buffer.from([3]), message, Buffer.alloc(3)]);
    peer.send(
      frame(
        HEADERS,
        PADDED | Flag.PRIORITY,
        1,
        Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 9]), block.subarray(0, 4), Buffer.alloc(2)]),
      ),
      frame(CONTINUATION, 0, 1, block.subarray(4, 8)),
      frame(CONTINUATION, END_HEADERS, 1, block.subarray(8)),
      frame(DATA, PADDED, 1, padded),
      frame(HEADERS, END_HEADERS | END_STREAM, 1, peer.block(['x-trailer', '1'])),
    );
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200', 'DATA 1 6', 'HEADERS 1 grpc-status=0 end']);
  });

  it('can be failed, with the rest of the request refused', () => {
    peer.send(peer.headers(1, '/t.S/Stream'), peer.data(1, grpcMessage('x')));
    held[0]?.fail(5, 'not here: 100 %');
    manual.turn();
    const frames = peer.take();
    assert.deepEqual(peer.transcript(frames.slice(1)), ['RST_STREAM 1 0']);
    assert.deepEqual(peer.fields(frames[0]!.payload), {
      ':status': '200',
      'content-type': 'application/grpc',
      'grpc-status': '5',
      'grpc-message': 'not here: 100 %25',
    });
    peer.send(peer.data(1, grpcMessage('late')), frame(WINDOW_UPDATE, 0, 1, u32(9)), frame(RST_STREAM, 0, 1, u32(8)));
    assert.deepEqual(peer.transcript(), []);
    assert.deepEqual(events, ['message 1', 'closed']);
  });

  it('ends when the client resets it', () => {
    peer.send(peer.call(1, '/t.S/Hold'), frame(RST_STREAM, 0, 1, u32(8)));
    assert.deepEqual(events, ['closed']);
    const call = held[0] as ServerCall;
    assert.equal(call.isOpen, false);
    call.begin(4);
    call.target.buffer.fill(1, call.target.offset, call.target.offset + 4);
    call.commit();
    call.end();
    manual.turn();
    assert.deepEqual(peer.transcript(), []);
  });

  it('ends at its deadline', () => {
    peer.send(peer.headers(1, '/t.S/Hold', END_HEADERS, ['grpc-timeout', '50m']), peer.data(1, grpcMessage('x'), true));
    manual.advance(49);
    assert.deepEqual(peer.transcript(), []);
    manual.advance(30);
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200 grpc-status=4 end']);
    assert.deepEqual(events, ['closed']);
  });

  it('ends with the connection', () => {
    peer.send(peer.call(1, '/t.S/Hold'), peer.call(3, '/t.S/Hold'));
    socket.destroy();
    assert.deepEqual(events, ['closed', 'closed']);
    assert.equal(server.connectionCount, 0);
  });
});

describe('flow control towards the client', () => {
  it('frames no more than the windows allow, and goes on when they open', () => {
    open({}, setting(4, 10));
    peer.send(peer.call(1, '/t.S/Echo', '0123456789'));
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200', 'DATA 1 10']);
    peer.send(frame(WINDOW_UPDATE, 0, 1, u32(2)));
    assert.deepEqual(peer.transcript(), ['DATA 1 2']);
    peer.send(frame(WINDOW_UPDATE, 0, 1, u32(100)));
    assert.deepEqual(peer.transcript(), ['DATA 1 3', 'HEADERS 1 grpc-status=0 end']);
  });

  it('follows a change of the initial window, below zero too', () => {
    open({}, setting(4, 12));
    peer.send(peer.call(1, '/t.S/Echo', '0123456789'));
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200', 'DATA 1 12']);
    peer.send(frame(SETTINGS, 0, 0, setting(4, 2)));
    peer.send(frame(WINDOW_UPDATE, 0, 1, u32(10)));
    assert.deepEqual(peer.transcript(), ['SETTINGS ack'], 'the window is zero: 2 − 12 + 10');
    peer.send(frame(SETTINGS, 0, 0, setting(4, 4)));
    assert.deepEqual(peer.transcript(), ['SETTINGS ack', 'DATA 1 2']);
    peer.send(frame(SETTINGS, 0, 0, setting(4, 65_535)));
    assert.deepEqual(peer.transcript(), ['SETTINGS ack', 'DATA 1 1', 'HEADERS 1 grpc-status=0 end']);
  });

  it('keeps to the window of the connection, and lets a short answer pass a long one', () => {
    open({}, setting(4, 1 << 20));
    peer.send(peer.call(1, '/t.S/Hold'));
    held[0]?.sendChunks([Buffer.alloc(100_000)], 100_000);
    held[0]?.end();
    manual.turn();
    const frames = peer.take();
    assert.equal(peer.transcript(frames)[0], 'HEADERS 1 200');
    const sent = frames.reduce((sum, seen) => sum + (seen.type === DATA ? seen.payload.length : 0), 0);
    assert.equal(sent, 65_535);
    peer.send(peer.call(3, '/t.S/Echo', 'short'));
    assert.deepEqual(peer.transcript(), ['HEADERS 3 200']);
    peer.send(frame(WINDOW_UPDATE, 0, 0, u32(20)));
    assert.deepEqual(peer.transcript(), ['DATA 3 10', 'HEADERS 3 grpc-status=0 end', 'DATA 1 10']);
    peer.send(frame(WINDOW_UPDATE, 0, 0, u32(1_000_000)));
    assert.equal(peer.transcript().at(-1), 'HEADERS 1 grpc-status=0 end');
  });

  it('sends a message whose bytes come later, its length first', () => {
    open({}, setting(4, 1 << 20));
    peer.send(peer.call(1, '/t.S/Hold'));
    const call = held[0] as ServerCall;
    assert.equal(call.beginParts(30), true);
    manual.turn();
    const first = peer.take();
    assert.deepEqual(peer.transcript(first), ['HEADERS 1 200', 'DATA 1 5']);
    assert.deepEqual(first[1]?.payload, Buffer.from([0, 0, 0, 0, 30]));
    call.sendPart(Buffer.alloc(10, 1));
    manual.turn();
    assert.deepEqual(peer.transcript(), ['DATA 1 10']);
    call.sendPart(Buffer.alloc(20, 2));
    call.end();
    manual.turn();
    assert.deepEqual(peer.transcript(), ['DATA 1 20', 'HEADERS 1 grpc-status=0 end']);
  });

  it('shares the connection between long answers, a slice each in turn', () => {
    open({}, setting(4, 1 << 20));
    peer.send(frame(WINDOW_UPDATE, 0, 0, u32(1 << 20)), peer.call(1, '/t.S/Hold'), peer.call(3, '/t.S/Hold'));
    for (const call of held) {
      call.sendChunks([Buffer.alloc(48_000)], 48_000);
      call.end();
    }
    manual.turn();
    const order = peer.take().filter((seen) => seen.type === DATA);
    assert.deepEqual(
      order.map((seen) => seen.id),
      [1, 3, 1, 3, 1, 3],
    );
    assert.ok(order.every((seen) => seen.payload.length <= 16_384));
  });

  it('bounds what waits for a socket that takes nothing, and answers small calls before bulk', () => {
    open({}, setting(4, 10_000_000));
    peer.send(frame(WINDOW_UPDATE, 0, 0, u32(10_000_000)), peer.call(1, '/t.S/Hold'));
    socket.accepts = false;
    const call = held[0] as ServerCall;
    for (let i = 0; i < 50; i++) call.sendChunks([Buffer.alloc(100_000)], 100_000);
    manual.turn();
    assert.ok(call.queuedBytes >= 50 * 100_000 - 131_072, 'only one outbox full is framed');
    peer.send(peer.call(3, '/t.S/Echo', 'quick'));
    socket.drain();
    assert.equal(peer.take().filter((seen) => seen.id === 3).length, 0, 'it was pending before the call came');
    socket.drain();
    const place = peer.take().findIndex((seen) => seen.id === 3);
    assert.equal(place, 0, 'the short answer leads the next write');
    socket.accepts = true;
    socket.drain();
    for (let turns = 0; turns < 100 && call.queuedBytes > 0; turns++) manual.turn();
    assert.equal(call.queuedBytes, 0);
    assert.ok(events.includes('drained'));
  });
});

describe('flow control towards us', () => {
  it('credits streams and the connection as messages are taken', () => {
    open({ streamWindowBytes: 1000, connectionWindowBytes: 65_535 });
    peer.send(peer.headers(1, '/t.S/Stream'), peer.data(1, grpcMessage(Buffer.alloc(495))));
    assert.deepEqual(peer.transcript(), []);
    peer.send(peer.data(1, grpcMessage(Buffer.alloc(95))));
    assert.deepEqual(peer.transcript(), ['WINDOW_UPDATE 1 600']);
    for (let i = 0; i < 33; i++) peer.send(peer.data(1, grpcMessage(Buffer.alloc(995))));
    const updates = peer.transcript();
    assert.equal(updates.filter((line) => line.startsWith('WINDOW_UPDATE 0')).length, 1);
  });

  it('grants a large message its whole length at once, and the next one when the first is done', () => {
    open({ streamWindowBytes: 1000, assemblyBytes: 20_000 });
    const message = grpcMessage(Buffer.alloc(15_000));
    peer.send(peer.headers(1, '/t.S/Echo'), peer.headers(3, '/t.S/Echo'));
    peer.send(peer.data(1, message.subarray(0, 1000)), peer.data(3, message.subarray(0, 1000)));
    assert.deepEqual(peer.transcript(), ['WINDOW_UPDATE 1 14005']);
    peer.send(peer.data(1, message.subarray(1000), true));
    const transcript = peer.transcript();
    assert.ok(transcript.includes('WINDOW_UPDATE 3 14005'));
    assert.ok(transcript.includes('HEADERS 1 grpc-status=0 end'));
    peer.send(peer.data(3, message.subarray(1000), true));
    assert.ok(peer.transcript().includes('HEADERS 3 grpc-status=0 end'));
  });

  it('gives the grant of a stream that ends to the next', () => {
    open({ streamWindowBytes: 1000, assemblyBytes: 20_000 });
    const message = grpcMessage(Buffer.alloc(15_000));
    for (const id of [1, 3, 5]) peer.send(peer.headers(id, '/t.S/Echo'), peer.data(id, message.subarray(0, 1000)));
    assert.deepEqual(peer.transcript(), ['WINDOW_UPDATE 1 14005']);
    peer.send(frame(RST_STREAM, 0, 3, u32(8)), frame(RST_STREAM, 0, 1, u32(8)));
    assert.deepEqual(peer.transcript(), ['WINDOW_UPDATE 5 14005']);
  });

  it('forgets streams that ended while they waited for a grant', () => {
    open({ streamWindowBytes: 1000, assemblyBytes: 20_000, resetBurst: 1e6 });
    const message = grpcMessage(Buffer.alloc(15_000));
    peer.send(peer.headers(1, '/t.S/Echo'), peer.data(1, message.subarray(0, 1000)));
    for (let id = 3; id < 2003; id += 2) {
      peer.send(
        peer.headers(id, '/t.S/Echo'),
        peer.data(id, message.subarray(0, 1000)),
        frame(RST_STREAM, 0, id, u32(8)),
      );
    }
    peer.send(peer.headers(2003, '/t.S/Echo'), peer.data(2003, message.subarray(0, 1000)));
    assert.deepEqual(
      peer.transcript().filter((line) => !line.startsWith('WINDOW_UPDATE 0')),
      ['WINDOW_UPDATE 1 14005'],
    );
    peer.send(frame(RST_STREAM, 0, 1, u32(8)));
    assert.deepEqual(peer.transcript(), ['WINDOW_UPDATE 2003 14005']);
  });

  it('resets the stream that makes a connection hold too much', () => {
    open({ heldBytes: 1500 });
    const begun = grpcMessage(Buffer.alloc(5000)).subarray(0, 1000);
    peer.send(peer.headers(1, '/t.S/Echo'), peer.data(1, begun), peer.headers(3, '/t.S/Echo'), peer.data(3, begun));
    assert.deepEqual(peer.transcript(), ['RST_STREAM 3 11']);
  });

  it('ends a stream that overruns its window, and a connection that does', () => {
    open({ streamWindowBytes: 100 });
    peer.send(peer.headers(1, '/t.S/Stream'), peer.data(1, Buffer.alloc(101)));
    assert.deepEqual(peer.transcript(), ['RST_STREAM 1 3']);
    open({ streamWindowBytes: 1 << 20, connectionWindowBytes: 65_535 });
    peer.send(peer.headers(1, '/t.S/Hold'));
    const chunk = grpcMessage(Buffer.alloc(2_000_000));
    for (let at = 0; at < 32_000; at += 16_000) peer.send(peer.data(1, chunk.subarray(at, at + 16_000)));
    const credit = peer.transcript().filter((line) => line.startsWith('WINDOW_UPDATE 0')).length;
    assert.equal(credit, 0);
  });
});

describe('errors of the connection', () => {
  const cases: [string, () => Buffer, string][] = [
    ['a first frame that is not SETTINGS', () => frame(PING, 0, 0, Buffer.alloc(8)), '1'],
  ];
  it('begin with the first frame', () => {
    for (const [, bytes] of cases) {
      start();
      peer.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), bytes());
      assert.match(peer.transcript().at(-1) ?? '', /^GOAWAY 0 1 /);
    }
  });

  const fatal: [string, () => Buffer, number][] = [
    ['a frame too large', () => frame(DATA, 0, 1, Buffer.alloc(16_385)), 6],
    ['DATA on stream 0', () => frame(DATA, 0, 0), 1],
    ['DATA on an idle stream', () => frame(DATA, 0, 7), 1],
    ['padding longer than DATA', () => frame(DATA, PADDED, 1, Buffer.from([9, 1])), 1],
    ['HEADERS on stream 0', () => frame(HEADERS, END_HEADERS, 0), 1],
    ['HEADERS on an even stream', () => peer.headers(2, '/t.S/Echo'), 1],
    ['padding longer than HEADERS', () => frame(HEADERS, PADDED | END_HEADERS, 1, Buffer.from([9, 1])), 1],
    ['a block that is not HPACK', () => frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff])), 9],
    [
      'a block interrupted',
      () => Buffer.concat([peer.headers(1, '/t.S/Echo', 0), frame(PING, 0, 0, Buffer.alloc(8))]),
      1,
    ],
    ['CONTINUATION on another stream', () => Buffer.concat([peer.headers(1, '/', 0), frame(CONTINUATION, 4, 3)]), 1],
    ['CONTINUATION without HEADERS', () => frame(CONTINUATION, 4, 1), 1],
    ['PRIORITY on stream 0', () => frame(PRIORITY, 0, 0, Buffer.alloc(5)), 1],
    ['RST_STREAM on stream 0', () => frame(RST_STREAM, 0, 0, u32(1)), 1],
    ['RST_STREAM on an idle stream', () => frame(RST_STREAM, 0, 1, u32(1)), 1],
    ['RST_STREAM of three bytes', () => frame(RST_STREAM, 0, 1, Buffer.alloc(3)), 6],
    ['SETTINGS on a stream', () => frame(SETTINGS, 0, 1), 1],
    ['SETTINGS of five bytes', () => frame(SETTINGS, 0, 0, Buffer.alloc(5)), 6],
    ['SETTINGS ACK with payload', () => frame(SETTINGS, 1, 0, Buffer.alloc(6)), 6],
    ['ENABLE_PUSH of 2', () => frame(SETTINGS, 0, 0, setting(2, 2)), 1],
    ['INITIAL_WINDOW_SIZE over the top', () => frame(SETTINGS, 0, 0, setting(4, 0x8000_0000)), 3],
    ['MAX_FRAME_SIZE too small', () => frame(SETTINGS, 0, 0, setting(5, 16_383)), 1],
    ['MAX_FRAME_SIZE too large', () => frame(SETTINGS, 0, 0, setting(5, 16_777_216)), 1],
    ['PUSH_PROMISE', () => frame(PUSH_PROMISE, 4, 1, u32(2)), 1],
    ['PING on a stream', () => frame(PING, 0, 1, Buffer.alloc(8)), 1],
    ['PING of six bytes', () => frame(PING, 0, 0, Buffer.alloc(6)), 6],
    ['GOAWAY on a stream', () => frame(GOAWAY, 0, 1, Buffer.alloc(8)), 1],
    ['WINDOW_UPDATE of 0 on the connection', () => frame(WINDOW_UPDATE, 0, 0, u32(0)), 1],
    ['WINDOW_UPDATE over the top', () => frame(WINDOW_UPDATE, 0, 0, u32(0x7fff_ffff)), 3],
    ['WINDOW_UPDATE of three bytes', () => frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3)), 6],
    ['WINDOW_UPDATE on an idle stream', () => frame(WINDOW_UPDATE, 0, 1, u32(1)), 1],
    ['a stream number that goes back', () => Buffer.concat([peer.call(5, '/t.S/Hold'), peer.call(3, '/t.S/Hold')]), 1],
    ['HEADERS on a closed stream', () => Buffer.concat([peer.call(1, '/t.S/Echo'), peer.call(1, '/t.S/Echo')]), 5],
  ];
  for (const [what, bytes, code] of fatal) {
    it(what, () => {
      open();
      peer.send(bytes());
      const last = peer.take().at(-1);
      assert.equal(last?.type, GOAWAY);
      assert.equal(last?.payload.readUInt32BE(4), code);
      assert.equal(socket.ended, true);
      peer.send(peer.call(9, '/t.S/Echo'));
      assert.deepEqual(peer.transcript(), [], 'nothing is answered any more');
      manual.advance(3000);
      assert.equal(socket.destroyed, true);
      assert.equal(server.connectionCount, 0);
    });
  }
});

describe('errors of a stream leave the connection alone', () => {
  const cases: [string, () => Buffer, string][] = [
    [
      'DATA after the end',
      () => Buffer.concat([peer.call(1, '/t.S/Hold'), peer.data(1, Buffer.alloc(1))]),
      'RST_STREAM 1 5',
    ],
    [
      'DATA after a call was answered',
      () => Buffer.concat([peer.call(1, '/t.S/Echo'), peer.data(1, Buffer.alloc(1))]),
      'RST_STREAM 1 5',
    ],
    ['HEADERS after the end', () => Buffer.concat([peer.call(1, '/t.S/Hold'), peer.headers(1, '/')]), 'RST_STREAM 1 5'],
    [
      'trailers that do not end the stream',
      () => Buffer.concat([peer.headers(1, '/t.S/Hold'), peer.headers(1, '/')]),
      'RST_STREAM 1 1',
    ],
    [
      'WINDOW_UPDATE of 0',
      () => Buffer.concat([peer.call(1, '/t.S/Hold'), frame(WINDOW_UPDATE, 0, 1, u32(0))]),
      'RST_STREAM 1 1',
    ],
    [
      'a window over the top',
      () => Buffer.concat([peer.call(1, '/t.S/Hold'), frame(WINDOW_UPDATE, 0, 1, u32(0x7fff_ffff))]),
      'RST_STREAM 1 3',
    ],
    ['PRIORITY of four bytes', () => frame(PRIORITY, 0, 1, Buffer.alloc(4)), 'RST_STREAM 1 6'],
    ['a stream that depends on itself', () => frame(PRIORITY, 0, 1, Buffer.from([0, 0, 0, 1, 0])), 'RST_STREAM 1 1'],
    ['an upper-case name', () => peer.headers(1, '/t.S/Echo', END_HEADERS, ['X-Up', '1']), 'RST_STREAM 1 1'],
    ['an empty name', () => peer.headers(1, '/t.S/Echo', END_HEADERS, ['', '1']), 'RST_STREAM 1 1'],
    ['an HTTP/1.1 field', () => peer.headers(1, '/t.S/Echo', END_HEADERS, ['connection', 'close']), 'RST_STREAM 1 1'],
    ['te other than trailers', () => peer.headers(1, '/t.S/Echo', END_HEADERS, ['te', 'gzip']), 'RST_STREAM 1 1'],
    ['a pseudo field at the end', () => peer.headers(1, '/t.S/Echo', END_HEADERS, [':path', '/x']), 'RST_STREAM 1 1'],
    ['an unknown pseudo field', () => frame(HEADERS, END_HEADERS, 1, peer.block([':x', '1'])), 'RST_STREAM 1 1'],
    [
      'no method',
      () => frame(HEADERS, END_HEADERS, 1, peer.block([':path', '/', ':scheme', 'http'])),
      'RST_STREAM 1 1',
    ],
    [
      'two paths',
      () =>
        frame(HEADERS, END_HEADERS, 1, peer.block([':path', '/', ':path', '/', ':scheme', 'http', ':method', 'GET'])),
      'RST_STREAM 1 1',
    ],
    [
      'an empty path',
      () => frame(HEADERS, END_HEADERS, 1, peer.block([':path', '', ':scheme', 'http', ':method', 'GET'])),
      'RST_STREAM 1 1',
    ],
    ['a response status', () => frame(HEADERS, END_HEADERS, 1, peer.block([':status', '200'])), 'RST_STREAM 1 1'],
    [
      'more DATA than content-length',
      () =>
        Buffer.concat([
          peer.headers(1, '/t.S/Echo', END_HEADERS, ['content-length', '3']),
          peer.data(1, grpcMessage('x'), true),
        ]),
      'RST_STREAM 1 1',
    ],
    [
      'less DATA than content-length',
      () =>
        Buffer.concat([
          peer.headers(1, '/t.S/Echo', END_HEADERS, ['content-length', '9']),
          peer.data(1, grpcMessage('x'), true),
        ]),
      'RST_STREAM 1 1',
    ],
  ];
  for (const [what, bytes, expected] of cases) {
    it(what, () => {
      open();
      peer.send(bytes());
      assert.equal(peer.transcript().at(-1), expected);
      peer.send(peer.call(11, '/t.S/Echo'));
      assert.equal(peer.transcript().at(-1), 'HEADERS 11 grpc-status=0 end');
    });
  }

  it('refuses streams beyond the limit', () => {
    open({ concurrentStreams: 2 });
    peer.send(peer.call(1, '/t.S/Hold'), peer.call(3, '/t.S/Hold'), peer.call(5, '/t.S/Hold'));
    assert.deepEqual(peer.transcript(), ['RST_STREAM 5 7']);
    held[0]?.end();
    peer.send(peer.call(7, '/t.S/Hold'));
    assert.equal(held.length, 3);
  });

  it('resets streams whose header lists are too much together', () => {
    open({ heldHeaderBytes: 1000 });
    peer.send(
      peer.call(1, '/t.S/Hold'),
      peer.call(3, '/t.S/Hold'),
      peer.call(5, '/t.S/Hold'),
      peer.call(7, '/t.S/Hold'),
    );
    assert.deepEqual(peer.transcript(), ['RST_STREAM 7 11']);
    held[0]?.end();
    manual.turn();
    peer.take();
    peer.send(peer.call(9, '/t.S/Hold'));
    assert.deepEqual(peer.transcript(), []);
  });

  it('answers a header list over the limit with 431', () => {
    open();
    const extra = Array.from({ length: 120 }, (_, i) => (i % 2 === 0 ? `x-${i}` : 'v'));
    peer.send(peer.headers(1, '/t.S/Echo', END_HEADERS, [...extra, ...extra]), peer.data(1, grpcMessage('x'), true));
    assert.deepEqual(peer.transcript(), ['HEADERS 1 431 grpc-status=8 end', 'RST_STREAM 1 0']);
  });
});
