/** Classes 11 and 12: messages, metadata and paths that gRPC does not allow. They cost the call, never the connection. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Peer } from '../conformance/peer.ts';
import { Code, data, type Field, frame, literal, Type } from '../conformance/wire.ts';
import { Victim } from './victim.ts';

describe('gRPC', () => {
  let victim: Victim;
  let peer: Peer;
  let stream = -1;
  before(async () => {
    victim = await Victim.start();
    peer = await victim.attack();
  });
  after(async () => {
    peer.close();
    await victim.stop();
  });

  /** The call ends without an answer; the next one on the same connection, and somebody else, are served. */
  async function refused(headers: (stream: number) => Buffer, ...messages: Buffer[]): Promise<void> {
    stream += 2;
    const mine = stream;
    peer.send(headers(mine));
    for (const [index, message] of messages.entries())
      peer.send(data(mine, message, index === messages.length - 1 ? 1 : 0));
    await peer.expect('the end of the call', () => peer.hasEnded(mine) || peer.resetCode(mine) !== null);
    assert.equal(peer.dataBytes(mine), 0, 'the call was answered');
    assert.equal(peer.goaway(), null);
    stream += 2;
    const next = stream;
    peer.send(victim.request(next));
    await peer.expect('the next answer', () => peer.hasEnded(next));
    assert.ok(peer.dataBytes(next) > 0);
    await victim.serves();
  }

  const plain =
    (more: readonly Field[] = []) =>
    (id: number): Buffer =>
      victim.headers(id, victim.target.path, more);
  const at =
    (path: string) =>
    (id: number): Buffer =>
      victim.headers(id, path);

  it('a message that says it is 4 GB long is refused before anything is allocated', async () => {
    const before = process.memoryUsage().rss;
    await refused(plain(), Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(100));
    assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
  });

  it('a flag that is neither 0 nor 1', () => refused(plain(), Buffer.from([7, 0, 0, 0, 1, 1])));
  it('half a prefix', () => refused(plain(), Buffer.from([0, 0, 0])));
  it('half a message', () => refused(plain(), Buffer.from([0, 0, 0, 0, 9, 1, 2])));
  it('no message where one is due', () => refused(plain(), Buffer.alloc(0)));
  // grpc-go, and so etcd, does not look at what comes behind the first message.
  it('two messages where one is due are one call', async () => {
    stream += 2;
    const mine = stream;
    peer.send(victim.headers(mine), data(mine, Buffer.concat([victim.target.body, victim.target.body])));
    await peer.expect('the end of the call', () => peer.hasEnded(mine) || peer.resetCode(mine) !== null);
    assert.ok(peer.dataBytes(mine) <= victim.target.body.length);
    await peer.alive();
  });

  it('a bomb: 100 kB of gzip that are 100 MB', async () => {
    const bomb = gzipSync(Buffer.alloc(100_000_000));
    const prefix = Buffer.alloc(5);
    prefix[0] = 1;
    prefix.writeUInt32BE(bomb.length, 1);
    const message = Buffer.concat([prefix, bomb]);
    const parts: Buffer[] = [];
    for (let from = 0; from < message.length; from += 16_000) parts.push(message.subarray(from, from + 16_000));
    const before = process.memoryUsage().rss;
    await refused(plain([['grpc-encoding', 'gzip']]), ...parts);
    assert.ok(process.memoryUsage().rss - before < 150 * 1024 * 1024, 'it was unpacked');
  });

  it('bytes that are not gzip', () =>
    refused(plain([['grpc-encoding', 'gzip']]), Buffer.from([1, 0, 0, 0, 3, 1, 2, 3])));
  it('compressed without a word about how', () => refused(plain(), Buffer.from([1, 0, 0, 0, 3, 1, 2, 3])));
  it('an encoding nobody knows', () => refused(plain([['grpc-encoding', 'middle-out']]), victim.target.body));

  for (const timeout of ['', 'S', '1', '-1S', '1.5S', '99999999999S', '1X', ' 1S', '1e9S']) {
    it(`grpc-timeout "${timeout}"`, () => refused(plain([['grpc-timeout', timeout]]), victim.target.body));
  }

  for (const value of ['a', '****', 'AAAAA', '=', 'AA=A']) {
    it(`-bin metadata "${value}" (CVE-2023-32732)`, () => refused(plain([['x-test-bin', value]]), victim.target.body));
  }

  it('metadata over the limit', () =>
    refused(
      plain([
        ['x-large', 'm'.repeat(16_000)],
        ['x-more', 'm'.repeat(200)],
      ]),
      victim.target.body,
    ));

  for (const path of [
    '/',
    '//',
    '/attack.Test',
    '/attack.Test/',
    '/attack.Test/Echo/',
    '/attack.Test//Echo',
    '/ATTACK.TEST/ECHO',
    '/attack.Test/Ech%6f',
    '/attack.Test/Echo?x',
    '/../attack.Test/Echo',
    '/constructor/toString',
    '/__proto__/x',
  ]) {
    it(`the path ${path} is not the one that is served`, () => refused(at(path), victim.target.body));
  }

  // CVE-2026-33186: a rule about "/attack.Test/Echo" must not be passed by under another spelling.
  it('a path without its slash is malformed', () => refused(at('attack.Test/Echo'), victim.target.body));

  // GHSA-2v4p-qf9q-27wj: who relied on it fell over.
  it('no :authority and no host is served, or refused, and nothing more', async () => {
    stream += 2;
    const mine = stream;
    const fields = victim.fields().filter(([name]) => name !== ':authority');
    peer.send(frame(Type.HEADERS, 4, mine, literal(fields)), data(mine, victim.target.body));
    await peer.expect('the end of the call', () => peer.hasEnded(mine) || peer.resetCode(mine) !== null);
    await peer.alive();
    assert.equal(peer.goaway(), null);
    assert.notEqual(peer.resetCode(mine), Code.INTERNAL_ERROR);
  });
});
