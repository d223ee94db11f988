/** Classes 3 to 5: CONTINUATION without end, and header blocks that grow when they are decoded. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  Bit,
  Code,
  continuation,
  data,
  type Field,
  frame,
  indexed,
  literal,
  Setting,
  Type,
} from '../conformance/wire.ts';
import { flood, Victim } from './victim.ts';

describe('header blocks', () => {
  let victim: Victim;
  before(async () => {
    victim = await Victim.start({ headerBlockMs: 300 });
  });
  after(() => victim.stop());

  const opening = (stream: number): Buffer => frame(Type.HEADERS, 0, stream, literal(victim.fields()));

  it('CONTINUATION flood (CVE-2024-27316 and others): frames without end', async () => {
    const peer = await victim.attack();
    peer.send(opening(1));
    const more = literal([['x-more', 'y'.repeat(100)]]);
    const rounds = await flood(peer, () => continuation(1, more, 0), 100_000);
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR);
    assert.ok(rounds < 100_000, `${rounds} frames were taken`);
    await victim.serves();
    await victim.forgets();
  });

  it('CONTINUATION flood with frames of nothing', async () => {
    const peer = await victim.attack();
    peer.send(opening(1));
    await flood(peer, () => continuation(1, Buffer.alloc(0), 0), 100_000);
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR);
    await victim.serves();
  });

  it('CONTINUATION flood with few, large frames', async () => {
    const peer = await victim.attack();
    peer.send(opening(1));
    await flood(peer, () => continuation(1, Buffer.alloc(16_384), 0), 10_000);
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR, Code.COMPRESSION_ERROR);
    await victim.serves();
  });

  it('a header block that is begun and never finished', async () => {
    const peer = await victim.attack();
    peer.send(opening(1));
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR, Code.CANCEL);
    await victim.forgets();
  });

  /** A block with one large entry and many references to it of one byte each. */
  function bomb(entryBytes: number, references: number): Buffer {
    const entry: Field = ['x-bomb', 'b'.repeat(entryBytes)];
    return Buffer.concat([literal(victim.fields()), indexed([entry]), Buffer.alloc(references, 0xbe)]);
  }

  it('HPACK bomb (CVE-2016-6581): a list over the limit is not built, and the call is refused', async () => {
    const peer = await victim.attack();
    peer.send(frame(Type.HEADERS, Bit.END_HEADERS, 1, bomb(3_500, 10_000)), data(1, victim.target.body));
    await peer.until(() => peer.hasEnded(1) || peer.resetCode(1) !== null || peer.isClosed);
    assert.equal(peer.dataBytes(1), 0, 'the call was answered');
    await victim.serves();
    peer.close();
  });

  it('HPACK bomb: who sends a list of many times the limit is sent away at the first, who sends one over it is not', async () => {
    const bomber = await victim.attack();
    bomber.send(frame(Type.HEADERS, Bit.END_HEADERS, 1, bomb(3_500, 10_000)));
    await victim.expelled(bomber, Code.ENHANCE_YOUR_CALM);
    const careless = await victim.attack();
    careless.send(frame(Type.HEADERS, Bit.END_HEADERS, 1, bomb(3_500, 8)), data(1, victim.target.body));
    await careless.expect('a refusal', () => careless.hasEnded(1) || careless.resetCode(1) !== null);
    assert.equal(careless.dataBytes(1), 0, 'the call was answered');
    await careless.alive();
    careless.close();
  });

  it('HTTP/2 bomb (CVE-2026-49975): references to an empty field, the window closed', async () => {
    const attackers = await Promise.all(
      Array.from({ length: 20 }, () => victim.attack([Setting.INITIAL_WINDOW_SIZE, 0])),
    );
    const block = bomb(0, 15_000);
    const before = process.memoryUsage().rss;
    for (const peer of attackers) {
      for (let stream = 1; stream < 200; stream += 2) {
        peer.send(frame(Type.HEADERS, Bit.END_HEADERS, stream, block), data(stream, victim.target.body));
      }
    }
    await victim.serves();
    const growth = (process.memoryUsage().rss - before) / 1024 / 1024;
    // 2,000 calls with 15,000 fields each would be gigabytes; 30 MB of blocks were sent by this same process.
    assert.ok(growth < 400, `memory grew by ${growth.toFixed(0)} MiB`);
    for (const peer of attackers) peer.close();
    await victim.forgets();
  });

  it('crumbs of a cookie count like any other field', async () => {
    const peer = await victim.attack();
    const block = Buffer.concat([literal(victim.fields()), indexed([['cookie', 'a']]), Buffer.alloc(5_000, 0xbe)]);
    peer.send(frame(Type.HEADERS, Bit.END_HEADERS, 1, block), data(1, victim.target.body));
    await peer.until(() => peer.hasEnded(1) || peer.resetCode(1) !== null || peer.isClosed);
    assert.equal(peer.dataBytes(1), 0, 'the call was answered');
    await victim.serves();
    peer.close();
  });

  it('fields with empty names (CVE-2019-9516)', async () => {
    const peer = await victim.attack();
    const block = Buffer.concat([literal(victim.fields()), Buffer.from('0000000000000000000000', 'hex')]);
    const rounds = await flood(peer, (round) => frame(Type.HEADERS, Bit.END_HEADERS, 2 * round + 1, block), 50_000);
    assert.ok(rounds < 50_000, 'each is malformed, and there is an end to that');
    await victim.serves();
  });

  it('integers padded with zeros (CVE-2023-33953)', async () => {
    const peer = await victim.attack();
    const padded = Buffer.concat([Buffer.from([0x00, 0x7f]), Buffer.alloc(10_000, 0x80), Buffer.from([0])]);
    peer.send(frame(Type.HEADERS, Bit.END_HEADERS, 1, padded));
    await victim.expelled(peer, Code.COMPRESSION_ERROR);
    await victim.serves();
  });

  it('a table that is resized for every block', async () => {
    const peer = await victim.attack();
    const sizes = Buffer.concat(Array.from({ length: 500 }, () => Buffer.from('203fe11f', 'hex')));
    const block = Buffer.concat([sizes, literal(victim.fields())]);
    peer.send(frame(Type.HEADERS, Bit.END_HEADERS, 1, block), data(1, victim.target.body));
    await peer.until(() => peer.hasEnded(1) || peer.isClosed);
    await victim.serves();
    peer.close();
  });
});
