/** Classes 10 and 14: clients that are slow or silent on purpose, and too many of everything. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import { Peer } from '../conformance/peer.ts';
import {
  Code,
  data,
  frame,
  literal,
  PREFACE,
  Setting,
  settings,
  Type,
  u32,
  windowUpdate,
} from '../conformance/wire.ts';
import { StatusCode } from '../src/grpc/status.ts';
import { Victim } from './victim.ts';

describe('slow clients', () => {
  const victims: Victim[] = [];
  const start = async (...args: Parameters<typeof Victim.start>): Promise<Victim> => {
    const victim = await Victim.start(...args);
    victims.push(victim);
    return victim;
  };
  after(async () => {
    for (const victim of victims) await victim.stop();
  });

  it('a preface that never comes, or not all of it, ends the connection', async () => {
    const victim = await start({ prefaceMs: 300 });
    const peers = await Promise.all(Array.from({ length: 30 }, () => Peer.connect(victim.target)));
    for (const [index, peer] of peers.entries()) peer.send(PREFACE.subarray(0, index % PREFACE.length));
    await victim.serves();
    for (const peer of peers) await peer.expect('the end of the connection', () => peer.isClosed);
    await victim.forgets();
  });

  it('a preface without SETTINGS ends the connection', async () => {
    const victim = await start({ prefaceMs: 300 });
    const peer = await Peer.connect(victim.target);
    peer.send(PREFACE);
    await peer.expect('the end of the connection', () => peer.isClosed);
    await victim.forgets(0);
  });

  it('SETTINGS of ours that are never acknowledged end the connection', async () => {
    const victim = await start({ settingsAckMs: 300 });
    const peer = await Peer.connect(victim.target);
    peer.keepsSilent = true;
    peer.send(PREFACE, settings());
    await victim.expelled(peer, Code.SETTINGS_TIMEOUT);
    await victim.forgets(0);
  });

  it('a frame that is begun and never finished ends the connection', async () => {
    const victim = await start({ frameMs: 300 });
    const peer = await victim.attack();
    peer.send(victim.request(1).subarray(0, 60));
    await peer.expect('the end of the connection', () => peer.isClosed);
    await victim.serves();
    await victim.forgets();
  });

  it('a request that is begun and never finished is reset, and the connection goes on', async () => {
    const victim = await start({ requestMs: 300 });
    const peer = await victim.attack();
    peer.send(victim.headers(1), data(1, Buffer.from([0, 0, 0, 1, 0, 1]), 0));
    await peer.expect('the end of the stream', () => peer.resetCode(1) !== null || peer.hasEnded(1));
    peer.send(victim.request(3));
    await peer.expect('an answer', () => peer.hasEnded(3));
    peer.close();
  });

  it('a window kept closed resets the stream where the server says so', async () => {
    const victim = await start({ windowStallMs: 300 });
    const peer = await victim.attack([Setting.INITIAL_WINDOW_SIZE, 0]);
    peer.send(victim.headers(1, '/attack.Test/Big'), data(1, victim.target.body));
    await peer.expect('a reset', () => peer.resetCode(1) !== null);
    await victim.serves();
    peer.close();
  });

  it('data dribble (CVE-2019-9511): large answers, windows opened by one byte', async () => {
    const victim = await start();
    const peers = await Promise.all(Array.from({ length: 10 }, () => victim.attack([Setting.INITIAL_WINDOW_SIZE, 1])));
    const before = process.memoryUsage().rss;
    for (const peer of peers) {
      for (let stream = 1; stream < 40; stream += 2) {
        peer.send(
          victim.headers(stream, '/attack.Test/Big'),
          data(stream, victim.target.body),
          windowUpdate(stream, 1),
        );
      }
    }
    await victim.serves();
    // 200 answers of 10 MB were asked for.
    const growth = (process.memoryUsage().rss - before) / 1024 / 1024;
    assert.ok(growth < 400, `memory grew by ${growth.toFixed(0)} MiB`);
    for (const peer of peers) peer.close();
    await victim.forgets();
  });

  it('internal buffering (CVE-2019-9517): the window open, the socket never read', async () => {
    const victim = await start({ writeStallMs: 500 });
    const before = process.memoryUsage().rss;
    const sockets: Socket[] = [];
    for (let count = 0; count < 5; count++) {
      const socket = connect(victim.target.port, '127.0.0.1');
      socket.pause();
      socket.on('error', () => {});
      sockets.push(socket);
      const parts = [PREFACE, settings([Setting.INITIAL_WINDOW_SIZE, 0x7fffffff]), frame(Type.SETTINGS, 1, 0)];
      parts.push(windowUpdate(0, 0x7fff0000));
      for (let stream = 1; stream < 80; stream += 2) {
        parts.push(victim.headers(stream, '/attack.Test/Big'), data(stream, victim.target.body));
      }
      socket.write(Buffer.concat(parts));
    }
    await victim.serves();
    // The handlers share one chunk, so what grows here is what the transport copied: 200 answers of 10 MB.
    const growth = (process.memoryUsage().rss - before) / 1024 / 1024;
    assert.ok(growth < 300, `memory grew by ${growth.toFixed(0)} MiB`);
    // A socket that takes nothing for so long is dead.
    await victim.forgets();
    for (const socket of sockets) socket.destroy();
  });

  it('streams beyond the number allowed are refused one by one', async () => {
    const victim = await start({ concurrentStreams: 50 });
    const peer = await victim.attack();
    for (let index = 0; index < 200; index++) peer.send(victim.headers(2 * index + 1, '/attack.Test/Silent'));
    await peer.expect('refusals', () => peer.frames.filter((one) => one.type === Type.RST_STREAM).length === 150);
    assert.equal(peer.resetCode(2 * 199 + 1), Code.REFUSED_STREAM);
    assert.equal(victim.opened, 50);
    await victim.serves();
    peer.close();
  });

  it('connections beyond the number allowed are closed', async () => {
    const victim = await start({ connections: 20 });
    await victim.serves();
    const peers = await Promise.all(Array.from({ length: 60 }, () => Peer.connect(victim.target)));
    await peers[59]?.expect('the end of the connection', () => peers.filter((peer) => peer.isClosed).length > 0);
    assert.ok(victim.server.connectionCount <= 20, `${victim.server.connectionCount}`);
    for (const peer of peers) peer.close();
    await victim.forgets();
    await victim.serves();
  });

  it('an upgrade to h2c, and a preface hidden in a body of HTTP/1.1, are not followed', async () => {
    const victim = await start();
    let handed = '';
    victim.server.onHttp1((socket, firstBytes) => {
      handed = firstBytes.toString('latin1');
      socket.destroy();
    });
    const peer = await Peer.connect(victim.target);
    const upgrade =
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n';
    peer.send(Buffer.from(upgrade), PREFACE, settings(), victim.request(1));
    await peer.expect('the end of the connection', () => peer.isClosed);
    assert.ok(handed.startsWith('GET / HTTP/1.1'), 'it belongs to the server of HTTP/1.1, whole');
    assert.equal(peer.frames.length, 0);
  });

  it('the last stream number of all is served, and none after it', async () => {
    const victim = await start();
    const peer = await victim.attack();
    peer.send(victim.request(0x7fffffff));
    await peer.expect('an answer', () => peer.hasEnded(0x7fffffff));
    peer.send(victim.request(1));
    await victim.expelled(peer, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED);
  });

  it('GOAWAY of the client, then silence: calls still end when the connection does', async () => {
    const victim = await start();
    const peer = await victim.attack();
    peer.send(victim.headers(1, '/attack.Test/Silent'), frame(Type.GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)])));
    await peer.alive();
    peer.socket.end();
    await victim.forgets(0);
    assert.equal(victim.closed, victim.opened);
  });

  it('PUSH_PROMISE from a client ends the connection', async () => {
    const victim = await start();
    const peer = await victim.attack();
    const promise = Buffer.concat([u32(2), literal(victim.fields())]);
    peer.send(victim.headers(1, '/attack.Test/Silent'), frame(Type.PUSH_PROMISE, 4, 1, promise));
    await victim.expelled(peer, Code.PROTOCOL_ERROR);
    await victim.serves();
  });

  it('answers nobody reads: who leaves too many gets no more, whoever reads gets all', async () => {
    const bigBytes = 160 * 65_536;
    const victim = await start({ queuedBytesOfAll: 3 * bigBytes });
    const big = (stream: number): Buffer =>
      Buffer.concat([victim.headers(stream, '/attack.Test/Big'), data(stream, victim.target.body)]);
    const shut: Peer[] = [];
    for (let count = 0; count < 4; count++) shut.push(await victim.attack([Setting.INITIAL_WINDOW_SIZE, 0]));
    for (const peer of shut) {
      for (let stream = 1; stream < 40; stream += 2) peer.send(big(stream));
      await peer.expect('refusals', () => peer.resetCode(39) !== null);
      assert.equal(peer.resetCode(39), Code.ENHANCE_YOUR_CALM);
      // What was not refused is held: one answer each in the end, and two where there was room.
      const held = Array.from({ length: 20 }, (_unused, index) => 2 * index + 1).filter(
        (id) => peer.resetCode(id) === null,
      );
      assert.ok(held.length >= 1 && held.length <= 3, `${held.length} answers are held`);
      await peer.alive();
    }
    const reader = await victim.attack([Setting.INITIAL_WINDOW_SIZE, 0x7fffffff]);
    reader.send(windowUpdate(0, 0x7fff0000 - 65_535));
    for (let stream = 1; stream < 10; stream += 2) {
      reader.send(big(stream));
      await reader.expect('a large answer', () => reader.hasEnded(stream), 20_000);
      assert.equal(reader.dataBytes(stream), 5 + bigBytes);
    }
    await victim.serves();
    for (const peer of [...shut, reader]) peer.close();
  });

  it('answers nobody reads, all asked for before the first is made: they are judged when they are made', async () => {
    const bytes = 1_000_000;
    const victim = await start({ queuedBytesOfAll: 10 * bytes });
    const peer = await victim.attack([Setting.INITIAL_WINDOW_SIZE, 0]);
    const count = 100;
    for (let index = 0; index < count; index++) {
      const stream = 2 * index + 1;
      peer.send(victim.headers(stream, '/attack.Test/Later'), data(stream, victim.target.body));
    }
    await peer.expect('all requests to have come', () => victim.waiting.length === count);
    for (const call of victim.waiting) {
      call.begin(bytes);
      call.commit();
      call.end();
    }
    const outcomes = victim.waiting.map((call) => call.outcome);
    const refused = outcomes.filter((outcome) => outcome === StatusCode.RESOURCE_EXHAUSTED).length;
    const held = outcomes.filter((outcome) => outcome === StatusCode.OK).length;
    assert.equal(refused + held, count);
    assert.ok(held >= 5 && held <= 7, `${held} answers are held`);
    await peer.expect('refusals', () => peer.hasEnded(2 * count - 1));
    await victim.serves();
    peer.close();
  });

  it('many who leave one answer unread each: the one that has for longest is sent away', async () => {
    const bigBytes = 160 * 65_536;
    const victim = await start({ queuedBytesOfAll: 3 * bigBytes });
    const shut: Peer[] = [];
    for (let count = 0; count < 5; count++) {
      const peer = await victim.attack([Setting.INITIAL_WINDOW_SIZE, 0]);
      shut.push(peer);
      peer.send(victim.headers(1, '/attack.Test/Big'), data(1, victim.target.body));
      await peer.alive();
    }
    for (const peer of shut.slice(0, 3)) await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
    for (const peer of shut.slice(3)) await peer.alive();
    assert.deepEqual(new Set(victim.misuse), new Set(['http2_enhance_your_calm']));
    await victim.serves();
    for (const peer of shut) peer.close();
  });

  it('answers that wait behind a shut window are told of, once', async () => {
    const victim = await start({ unreadMs: 100, windowStallMs: 1000 });
    const peer = await victim.attack([Setting.INITIAL_WINDOW_SIZE, 0]);
    peer.send(victim.request(1), victim.request(3));
    const areGivenUp = () => peer.resetCode(1) !== null && peer.resetCode(3) !== null;
    await peer.expect('both streams to be given up', areGivenUp, 60_000);
    assert.deepEqual(victim.misuse, ['answers_unread']);
    peer.close();
  });
});
