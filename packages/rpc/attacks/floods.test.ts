/** Classes 6 to 9 and 13: frames that cost the server more than the client, settings and pings. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Code, data, frame, ping, priority, Setting, settings, Type, windowUpdate } from '../conformance/wire.ts';
import { flood, Victim } from './victim.ts';

const MANY = 200_000;

describe('floods', () => {
  let victim: Victim;
  before(async () => {
    victim = await Victim.start();
  });
  after(() => victim.stop());

  const cheap: [string, (round: number) => Buffer][] = [
    ['PING (CVE-2019-9512)', () => ping()],
    ['SETTINGS (CVE-2019-9515)', () => settings([Setting.INITIAL_WINDOW_SIZE, 1000])],
    ['empty SETTINGS', () => settings()],
    ['PRIORITY (CVE-2019-9513)', (round) => frame(Type.PRIORITY, 0, 2 * (round % 1000) + 1, priority(round % 7))],
    ['WINDOW_UPDATE of the connection by one', () => windowUpdate(0, 1)],
    ['frames of an unknown type', () => frame(0xfa, 0, 0)],
  ];
  for (const [name, make] of cheap) {
    it(`${name}: the client is sent away`, async () => {
      const peer = await victim.attack();
      const batch = (round: number): Buffer =>
        Buffer.concat(Array.from({ length: 20 }, (_unused, index) => make(round * 20 + index)));
      const rounds = await flood(peer, batch, MANY / 20);
      await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
      assert.ok(rounds < MANY / 20, 'all of it was taken');
      await victim.serves();
      await victim.forgets();
    });
  }

  it('a flood of PING that reads no answers does not fill the memory', async () => {
    const peer = await victim.attack();
    peer.socket.pause();
    const many = Buffer.concat(Array.from({ length: 1000 }, () => ping()));
    for (let round = 0; round < 50; round++) peer.socket.write(many);
    await victim.serves();
    await victim.forgets();
    peer.close();
  });

  it('empty DATA frames (CVE-2019-9518): the client is sent away', async () => {
    const peer = await victim.attack();
    peer.send(victim.headers(1, '/attack.Test/Silent'));
    const batch = Buffer.concat(Array.from({ length: 50 }, () => data(1, Buffer.alloc(0), 0)));
    await flood(peer, () => batch, 10_000);
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
    await victim.serves();
  });

  it('DATA frames of one byte (CVE-2026-84304): the client is sent away before they fill the memory', async () => {
    const peer = await victim.attack();
    // A message of 2 MB, byte by byte.
    peer.send(victim.headers(1), data(1, Buffer.from([0, 0, 0x1f, 0, 0]), 0));
    const batch = Buffer.concat(Array.from({ length: 50 }, () => data(1, Buffer.alloc(1), 0)));
    await flood(peer, () => batch, 20_000);
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
    await victim.serves();
  });

  it('a window that overflows ends the connection and leaves nothing behind (CVE-2026-21714)', async () => {
    for (let count = 0; count < 50; count++) {
      const peer = await victim.attack();
      peer.send(victim.headers(1, '/attack.Test/Silent'), windowUpdate(0, 0x7fffffff), windowUpdate(0, 0x7fffffff));
      await victim.expelled(peer, Code.FLOW_CONTROL_ERROR);
    }
    await victim.serves();
    await victim.forgets();
    assert.equal(victim.closed, victim.opened);
  });

  it('MAX_FRAME_SIZE of 0 (CVE-2026-33814) is refused', async () => {
    const peer = await victim.attack();
    peer.send(settings([Setting.MAX_FRAME_SIZE, 0]), victim.request(1));
    await victim.expelled(peer, Code.PROTOCOL_ERROR);
    await victim.serves();
  });

  it('INITIAL_WINDOW_SIZE changed again and again over many streams costs little', async () => {
    const peer = await victim.attack();
    const streams = Array.from({ length: 5_000 }, (_unused, index) =>
      victim.headers(2 * index + 1, '/attack.Test/Silent'),
    );
    peer.send(...streams);
    await peer.alive();
    const started = Date.now();
    const churn = Array.from({ length: 1_000 }, (_unused, index) => settings([Setting.INITIAL_WINDOW_SIZE, index]));
    peer.send(...churn);
    await victim.serves();
    assert.ok(Date.now() - started < 2_000);
    peer.close();
    await victim.forgets();
  });

  it('too many pings: two strikes, then GOAWAY too_many_pings', async () => {
    const peer = await victim.attack();
    for (let count = 0; count < 5 && peer.goaway() === null; count++) {
      peer.send(ping(`strike ${count}`));
      await peer.until(() => peer.goaway() !== null || peer.isClosed, 50);
    }
    await victim.expelled(peer, Code.ENHANCE_YOUR_CALM);
    assert.equal(peer.goaway()?.debug, 'too_many_pings');
    await victim.serves();
  });
});
