import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FrameType } from './http2/frame.ts';
import type { RpcLimits } from './limits.ts';
import { frame, grpcMessage, u32 } from './peer.fixture.ts';
import { type Served, serve } from './served.fixture.ts';

const { DATA, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } = FrameType;

let { manual, server, socket, peer, held, events } = {} as Served;

/** Starts a server and opens the connection. */
function open(limits: Partial<RpcLimits> = {}, settings?: Buffer): void {
  ({ manual, server, socket, peer, held, events } = serve(limits));
  peer.open(settings);
}

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), u32(value)]);
}

describe('floods end the connection', () => {
  /** Sends until GOAWAY comes, and returns its debug text and how often was sent. */
  function flood(bytes: (round: number) => Buffer, code = 11): { text: string; rounds: number } {
    for (let round = 0; round < 50_000; round++) {
      peer.send(bytes(round));
      const goaway = peer.take().find((seen) => seen.type === GOAWAY);
      if (goaway === undefined) continue;
      assert.equal(goaway.payload.readUInt32BE(4), code);
      return { text: goaway.payload.toString('latin1', 8), rounds: round };
    }
    return { text: 'none', rounds: 0 };
  }

  it('rapid reset', () => {
    open({ resetBurst: 100 });
    const result = flood((n) =>
      Buffer.concat([peer.headers(2 * n + 1, '/t.S/Hold'), frame(RST_STREAM, 0, 2 * n + 1, u32(8))]),
    );
    assert.deepEqual(result, { text: 'too many resets', rounds: 100 });
  });

  it('calls that ran for a while may be given up all at once', () => {
    open({ resetBurst: 100 });
    for (let n = 0; n < 1000; n++) peer.send(peer.call(2 * n + 1, '/t.S/Hold'));
    manual.advance(3000);
    for (let n = 0; n < 1000; n++) peer.send(frame(RST_STREAM, 0, 2 * n + 1, u32(8)));
    assert.equal(events.length, 1000);
    assert.equal(socket.ended, false);
  });

  it('resets that the client makes us send', () => {
    open({ resetBurst: 100 });
    const window = (n: number) => [peer.call(2 * n + 1, '/t.S/Hold'), frame(WINDOW_UPDATE, 0, 2 * n + 1, u32(0))];
    assert.deepEqual(
      flood((n) => Buffer.concat(window(n))),
      { text: 'too many resets', rounds: 100 },
    );
    assert.equal(events.length, 101, 'every handler was told');
  });

  it('resets as a client makes them now and then do not', () => {
    open({ resetBurst: 100, resetsPerSecond: 50 });
    for (let n = 0; n < 1000; n++) {
      peer.send(peer.headers(2 * n + 1, '/t.S/Hold'), frame(RST_STREAM, 0, 2 * n + 1, u32(8)));
      manual.advance(25);
    }
    assert.equal(socket.ended, false);
  });

  it('CONTINUATION without end, in frames, bytes and time', () => {
    open();
    peer.send(peer.headers(1, '/t.S/Echo', 0));
    const empty = flood(() => frame(CONTINUATION, 0, 1));
    assert.deepEqual(empty, { text: 'too many CONTINUATION frames', rounds: 10 });
    open();
    peer.send(peer.headers(1, '/t.S/Echo', 0));
    assert.equal(flood(() => frame(CONTINUATION, 0, 1, Buffer.alloc(16_000))).text, 'header block too large');
    open();
    peer.send(peer.headers(1, '/t.S/Echo', 0));
    manual.advance(11_000);
    assert.match(peer.transcript().at(-1) ?? '', /GOAWAY 0 11 frame or header block takes too long/);
  });

  it('and who goes on after that is disconnected before the second he has to read why', () => {
    open();
    peer.send(frame(DATA, 0, 0));
    for (let sent = 0; sent < 250_000; sent += 10_000) peer.send(Buffer.alloc(10_000));
    assert.deepEqual([socket.ended, socket.destroyed], [true, false]);
    peer.send(Buffer.alloc(20_000));
    assert.equal(socket.destroyed, true);
  });

  it('PING, SETTINGS, PRIORITY, unknown frames, tiny WINDOW_UPDATEs, empty DATA', () => {
    const limits = { controlBurst: 100, smallDataBurst: 100, pingStrikes: 1000 };
    const floods: [string, Buffer][] = [
      ['too many control frames', frame(PING, 0, 0, Buffer.alloc(8))],
      ['too many control frames', frame(SETTINGS, 0, 0)],
      ['too many control frames', frame(SETTINGS, 1, 0)],
      ['too many control frames', frame(PRIORITY, 0, 3, Buffer.alloc(5))],
      ['too many control frames', frame(99, 0, 0)],
      ['too many control frames', frame(WINDOW_UPDATE, 0, 1, u32(1))],
      ['too many small DATA frames', frame(DATA, 0, 1)],
    ];
    for (const [text, bytes] of floods) {
      open(limits);
      peer.send(peer.headers(1, '/t.S/Hold'));
      assert.equal(flood(() => bytes).text, text);
    }
  });

  it('a message byte by byte does, a stream of small messages does not', () => {
    open({ smallDataBurst: 100 });
    const long = grpcMessage(Buffer.alloc(1000));
    peer.send(peer.headers(1, '/t.S/Stream'));
    for (let i = 0; i < 1000; i++) peer.send(peer.data(1, grpcMessage('x')));
    assert.equal(socket.ended, false);
    assert.equal(flood((n) => peer.data(1, long.subarray(n, n + 1))).text, 'too many small DATA frames');
  });

  it('DATA for a stream that was reset, beyond what its window allowed', () => {
    open({ streamWindowBytes: 100_000, receiveMessageBytes: 1000 });
    peer.send(peer.headers(1, '/t.S/Hold'), peer.data(1, Buffer.from([0, 0xff, 0xff, 0xff, 0xff])));
    assert.match(peer.transcript().join(), /grpc-status=8 end,RST_STREAM 1 0/);
    for (let sent = 5; sent + 1000 <= 100_000; sent += 1000) peer.send(peer.data(1, Buffer.alloc(1000)));
    assert.equal(socket.ended, false, 'what was under way when the client heard of it');
    assert.deepEqual(
      flood(() => peer.data(1, Buffer.alloc(1000)), 3),
      { text: 'DATA goes on for streams that were reset', rounds: 0 },
    );
    open({ streamWindowBytes: 100_000 });
    for (let id = 1; id < 20; id += 2) {
      peer.send(peer.headers(id, '/t.S/Unknown'));
      for (let sent = 0; sent + 10_000 <= 100_000; sent += 10_000) peer.send(peer.data(id, Buffer.alloc(10_000)));
    }
    assert.equal(socket.ended, false, 'each stream has a window of its own');
    assert.equal(flood(() => peer.data(1, Buffer.alloc(1000)), 3).text, 'DATA goes on for streams that were reset');
  });

  it('answers that nobody reads stop the reading', () => {
    open({ controlBurst: 1e9, pingStrikes: 1e9, outboxStopReadingBytes: 10_000 });
    socket.accepts = false;
    peer.send(frame(PING, 0, 0, Buffer.alloc(8)));
    for (let i = 0; i < 700; i++) peer.send(frame(PING, 0, 0, Buffer.alloc(8)));
    assert.equal(socket.paused, true);
    socket.accepts = true;
    socket.drain();
    assert.equal(socket.paused, false);
  });

  it('a socket that takes nothing is given up', () => {
    open({ writeStallMs: 5000 });
    socket.accepts = false;
    peer.send(peer.call(1, '/t.S/Echo'));
    manual.advance(4000);
    assert.equal(socket.destroyed, false);
    manual.advance(3000);
    assert.equal(socket.destroyed, true);
  });

  it('a window never opened and a request never finished are given up, where configured', () => {
    open({ windowStallMs: 5000 }, setting(4, 0));
    peer.send(peer.call(1, '/t.S/Echo'));
    peer.take();
    manual.advance(7000);
    assert.deepEqual(peer.transcript(), ['RST_STREAM 1 8']);
    const unfinished = [Buffer.alloc(0), grpcMessage('long').subarray(0, 6), grpcMessage('without end')];
    for (const payload of unfinished) {
      open({ requestMs: 5000 });
      peer.send(peer.headers(1, '/t.S/Echo'), peer.data(1, payload));
      manual.advance(7000);
      assert.deepEqual(peer.transcript(), ['RST_STREAM 1 8']);
    }
    open({ windowStallMs: 5000, requestMs: 5000 });
    peer.send(peer.call(1, '/t.S/Hold'), peer.headers(3, '/t.S/Stream'), peer.data(3, grpcMessage('x')));
    manual.advance(60_000);
    assert.deepEqual(peer.transcript(), [], 'who waits for us, or streams, may take any time');
    held[0]?.sendChunks([Buffer.alloc(100_000)], 100_000);
    manual.advance(7000);
    assert.match(peer.transcript().at(-1) ?? '', /^RST_STREAM 1 8|connection window shut/);
  });
});

describe('the ping policy', () => {
  const ping = frame(PING, 0, 0, Buffer.from('12345678'));

  it('answers pings, and sends away who pings too often', () => {
    open();
    peer.send(peer.call(1, '/t.S/Hold'), ping);
    assert.deepEqual(peer.transcript(), ['PING ack']);
    manual.advance(6000);
    peer.send(ping);
    assert.deepEqual(peer.transcript(), ['PING ack'], 'every five seconds is allowed while there is a stream');
    for (let i = 0; i < 2; i++) peer.send(ping);
    assert.deepEqual(peer.transcript(), ['PING ack', 'PING ack']);
    peer.send(ping);
    assert.deepEqual(peer.transcript(), ['PING ack', 'GOAWAY 1 11 too_many_pings']);
  });

  it('allows a ping after every answer', () => {
    open();
    for (let i = 0; i < 50; i++) peer.send(peer.call(2 * i + 1, '/t.S/Echo'), ping);
    assert.equal(socket.ended, false);
  });

  it('allows pings without streams every two hours only', () => {
    open();
    peer.send(ping);
    for (let i = 0; i < 3; i++) {
      manual.advance(60_000);
      peer.send(ping);
    }
    assert.equal(peer.transcript().at(-1), 'GOAWAY 0 11 too_many_pings');
  });

  it('pings a silent client and gives it up without an answer', () => {
    open({ keepaliveMs: 60_000, keepaliveTimeoutMs: 20_000 });
    manual.advance(70_000);
    assert.deepEqual(peer.transcript(), ['PING']);
    peer.send(frame(PING, 1, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 1])));
    manual.advance(50_000);
    assert.deepEqual(peer.transcript(), []);
    manual.advance(20_000);
    assert.deepEqual(peer.transcript(), ['PING']);
    manual.advance(25_000);
    assert.equal(socket.destroyed, true);
  });
});

describe('a graceful end', () => {
  it('refuses nothing that was on its way, and waits for what runs', async () => {
    open();
    peer.send(peer.call(1, '/t.S/Hold'));
    const drained = server.drain();
    manual.turn();
    assert.deepEqual(peer.transcript(), ['GOAWAY 2147483647 0', 'PING']);
    peer.send(peer.call(3, '/t.S/Echo'));
    assert.equal(peer.transcript().at(-1), 'HEADERS 3 grpc-status=0 end');
    peer.send(frame(PING, 1, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 2])));
    assert.deepEqual(peer.transcript(), ['GOAWAY 3 0']);
    peer.send(peer.call(5, '/t.S/Echo'));
    assert.deepEqual(peer.transcript(), []);
    assert.equal(socket.ended, false);
    held[0]?.end();
    manual.turn();
    assert.deepEqual(peer.transcript(), ['HEADERS 1 200 grpc-status=0 end']);
    assert.equal(socket.ended, true);
    socket.destroy();
    await drained;
  });

  it('sends an idle connection away', () => {
    open({ idleMs: 60_000 });
    peer.send(peer.call(1, '/t.S/Hold'));
    manual.advance(100_000);
    assert.deepEqual(peer.transcript(), []);
    held[0]?.end();
    manual.advance(62_000);
    assert.equal(peer.transcript().at(-2), 'GOAWAY 2147483647 0');
    manual.advance(6_000);
    assert.equal(socket.ended, true);
  });
});
