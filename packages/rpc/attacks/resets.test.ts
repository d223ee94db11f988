/** Classes 1 and 2 of the catalogue: resets by the client, and resets of ours that the client provokes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Bit, Code, data, frame, literal, priority, rstStream, Type, windowUpdate } from '../conformance/wire.ts';
import { flood, Victim } from './victim.ts';

const MANY = 50_000;
const SILENT = '/attack.Test/Silent';

describe('resets', () => {
  let victim: Victim;
  before(async () => {
    victim = await Victim.start();
  });
  after(() => victim.stop());

  it('rapid reset (CVE-2023-44487): a client that opens and resets is sent away, and its work is dropped', async () => {
    const peer = await victim.attack();
    const before = victim.opened;
    const rounds = await flood(
      peer,
      (round) => {
        const stream = 2 * round + 1;
        return Buffer.concat([victim.headers(stream, SILENT), rstStream(stream, Code.CANCEL)]);
      },
      MANY,
    );
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
    const begun = victim.opened - before;
    assert.ok(begun < 10_000, `${begun} calls were begun, ${rounds} sent`);
    assert.equal(victim.closed, victim.opened, 'each call begun was told that it is over');
    await victim.serves();
    await victim.forgets();
  });

  // The client breaks a rule of one stream so that the server resets it, which frees the stream's slot.
  const primitives: [string, (stream: number) => Buffer][] = [
    ['WINDOW_UPDATE of nothing', (stream) => windowUpdate(stream, 0)],
    ['a window over 2^31 - 1', (stream) => windowUpdate(stream, 0x7fffffff)],
    ['PRIORITY of a wrong length', (stream) => frame(Type.PRIORITY, 0, stream, Buffer.alloc(3))],
    ['a dependency on itself', (stream) => frame(Type.PRIORITY, 0, stream, priority(stream))],
    ['HEADERS behind END_STREAM', (stream) => victim.headers(stream, SILENT)],
    ['DATA behind END_STREAM', (stream) => data(stream, Buffer.alloc(5), 0)],
  ];
  for (const [name, provoke] of primitives) {
    it(`MadeYouReset (CVE-2025-8671): ${name}`, async () => {
      const peer = await victim.attack();
      const before = victim.opened;
      await flood(
        peer,
        (round) => {
          const stream = 2 * round + 1;
          const open = victim.headers(stream, SILENT);
          const ends = name.includes('END_STREAM') ? data(stream, Buffer.alloc(0)) : Buffer.alloc(0);
          return Buffer.concat([open, ends, provoke(stream)]);
        },
        MANY,
      );
      // Either the connection ended over it, or the streams stay open and fill up what one connection may have.
      const open = victim.opened - victim.closed;
      assert.ok(peer.isClosed || peer.goaway() !== null || open <= victim.server.limits.concurrentStreams);
      assert.ok(victim.opened - before <= victim.server.limits.concurrentStreams + 10_000, `${victim.opened - before}`);
      await victim.serves();
      peer.close();
      await victim.forgets();
      assert.equal(victim.closed, victim.opened);
    });
  }

  it('malformed requests count like resets', async () => {
    const peer = await victim.attack();
    const block = literal([
      [':method', 'POST'],
      [':odd', '1'],
    ]);
    const rounds = await flood(peer, (round) => frame(Type.HEADERS, Bit.END_HEADERS, 2 * round + 1, block), MANY);
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
    assert.ok(rounds < MANY);
    await victim.serves();
  });
});
