/**
 * Goal: connections that have not shown who they are have bounds in number and time, each address gets its turn, and
 * whoever keeps to the protocol gets in. Method: a listener of TLS, and clients that stop at each step.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { after, describe, it } from 'node:test';
import * as tls from 'node:tls';
import { Prng } from '@etsd/base';
import type { HandshakeCounts, HandshakeLimits, Listener, TlsAgreement, TlsOptions } from '../network.ts';
import { networkOf } from '../network-of.ts';
import { nodeNetwork } from './network.ts';
import { selfSigned } from './testing/certificate.ts';
import { keyExchangeGroup } from './tls-parts.ts';

const pair = selfSigned();

class Station {
  readonly agreed: TlsAgreement[] = [];
  readonly refused: string[] = [];
  readonly slowed: string[] = [];
  accepted = 0;
  /** Whoever is in asks for something at once. */
  asks = false;
  listener: Listener | null = null;
  readonly clients: Socket[] = [];

  async start(limits: Partial<HandshakeLimits>, options: Partial<TlsOptions> = {}): Promise<this> {
    this.listener = await nodeNetwork().listen(
      { host: '127.0.0.1', port: 0 },
      {
        tls: { ...pair, ...options },
        handshakes: limits,
        handshakeWatcher: {
          agreed: (_address, agreement) => void this.agreed.push(agreement),
          slowed: (address) => void this.slowed.push(address.replace(/:\d+$/, '')),
          refused: (address, _name, refusal) => void this.refused.push(`${address.replace(/:\d+$/, '')} ${refusal}`),
        },
      },
      (socket) => {
        this.accepted++;
        if (this.asks) socket.asked();
        socket.start({ data() {}, written() {}, ended: () => socket.destroy(), closed() {} });
      },
    );
    return this;
  }

  get counts(): HandshakeCounts {
    return this.listener?.handshakes as HandshakeCounts;
  }

  private get port(): number {
    return (this.listener as unknown as { address: { port: number } }).address.port;
  }

  raw(from = '127.0.0.1', bytes: Buffer = Buffer.alloc(0)): Socket {
    const socket = connect({ port: this.port, host: '127.0.0.1', localAddress: from });
    socket.on('error', () => {});
    if (bytes.length > 0) socket.write(bytes);
    this.clients.push(socket);
    return socket;
  }

  secure(from = '127.0.0.1'): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = tls.connect({ socket: this.raw(from), rejectUnauthorized: false }, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(false));
    });
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.destroy();
    await this.listener?.close();
  }
}

async function until(what: string, isMet: () => boolean): Promise<void> {
  const end = Date.now() + 20_000;
  while (!isMet()) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The bytes a client begins with. */
function hello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read() {}, write: (chunk: Buffer) => resolve(chunk) });
    tls.connect({ socket: wire }).on('error', () => {});
  });
}

describe('handshakes', () => {
  const stations: Station[] = [];
  const start = async (limits: Partial<HandshakeLimits>, options?: Partial<TlsOptions>): Promise<Station> => {
    const station = await new Station().start(limits, options);
    stations.push(station);
    return station;
  };
  after(async () => {
    for (const station of stations) await station.stop();
  });

  it('have a pace that those keep who ask for something, not those who stay silent or leave', async () => {
    const silent = await start({ perSecondOfOneAddress: 20 });
    const asking = await start({ perSecondOfOneAddress: 20 });
    asking.asks = true;
    const timed = async (station: Station, from: string, count: number): Promise<number> => {
      const startedMs = performance.now();
      const done = await Promise.all(Array.from({ length: count }, () => station.secure(from)));
      assert.ok(done.every(Boolean));
      return performance.now() - startedMs;
    };
    // Four at once, twenty a second: the first five are free.
    const [askedMs] = await Promise.all([timed(asking, '127.0.0.2', 40), timed(silent, '127.0.0.2', 6)]);
    assert.ok(askedMs >= 1600, `${askedMs}`);
    const silentMs = await timed(silent, '127.0.0.2', 8);
    assert.ok(silentMs >= 1600, `those beyond the free ones take two seconds at a tenth of the pace: ${silentMs}`);
    for (const client of silent.clients) client.destroy();
    await until('its connections are closed', () => silent.counts.pending === 0);
    assert.ok((await timed(silent, '127.0.0.3', 4)) < silentMs, 'others do not wait');
    assert.deepEqual([asking.slowed.length, new Set(silent.slowed)], [0, new Set(['127.0.0.2'])]);
  });

  it('have a pace for each address, and whoever floods waits alone', async () => {
    const station = await start({ perSecondOfOneAddress: 10 });
    station.asks = true;
    const startedMs = performance.now();
    const flood = Array.from({ length: 25 }, () => station.secure('127.0.0.2'));
    const flooded = Promise.all(flood).then((done) => [done, performance.now() - startedMs] as const);
    await until('the flood has had what it may', () => station.accepted >= 10);
    const others = await Promise.all(['127.0.0.3', '127.0.0.4'].map((from) => station.secure(from)));
    assert.deepEqual(others, [true, true]);
    assert.ok(station.accepted < 27, 'others are in before the flood is');
    const [done, tookMs] = await flooded;
    assert.ok(done.every(Boolean), 'all are let in, in time');
    assert.ok(tookMs > 900, `fifteen beyond took ${tookMs} ms`);
  });

  it('are done however the hello is cut, and tell of their key exchange', async () => {
    const station = await start({});
    assert.ok(await station.secure());
    const bytes = await hello();
    const slow = station.raw();
    let answered = false;
    slow.on('data', () => {
      answered = true;
    });
    for (const byte of bytes) {
      slow.write(Buffer.from([byte]));
      if (Math.random() < 0.05) await new Promise((resolve) => setImmediate(resolve));
    }
    await until('an answer', () => answered);
    await until('what was agreed', () => station.agreed.length === 1);
    assert.deepEqual(
      [station.agreed[0]?.version, station.agreed[0]?.group, station.agreed[0]?.isResumed],
      ['TLSv1.3', 'X25519MLKEM768', false],
    );
    slow.destroy();
    await until('the end of the other', () => station.refused.length === 1 && station.counts.pending === 0);
    assert.deepEqual(station.refused, ['127.0.0.1 hang-up']);
  });

  it('are bounded in number, and one address does not take the places of another', async () => {
    const station = await start({ pending: 40, pendingOfOneAddress: 30 });
    for (let count = 0; count < 50; count++) station.raw('127.0.0.5');
    await until('refusals', () => station.refused.length === 20);
    assert.ok(station.refused.every((line) => line === '127.0.0.5 overload'));
    assert.equal(station.counts.pending, 30);
    for (let count = 0; count < 20; count++) station.raw('127.0.0.6');
    await until('all places taken', () => station.counts.pending === 40);
    assert.ok(await station.secure('127.0.0.7'), 'a newcomer takes the place of the one who has waited longest');
    assert.ok(station.refused.length > 20);
  });

  it('that stand still give way to another address', async () => {
    const station = await start({ underWay: 3, timeoutMs: 20_000 });
    const bytes = await hello();
    for (let count = 0; count < 10; count++) station.raw('127.0.0.8', bytes);
    await until('all places taken', () => station.counts.underWay === 3);
    assert.ok(await station.secure('127.0.0.9'));
    assert.deepEqual(station.refused, ['127.0.0.8 overload']);
  });

  it('of one address that stand still hold up the next of that address', async () => {
    const station = await start({ perSecondOfOneAddress: 40, timeoutMs: 60_000 });
    const bytes = await hello();
    for (let count = 0; count < 60; count++) station.raw('127.0.0.8', bytes);
    const startedMs = performance.now();
    await until('what it may have under way', () => station.counts.underWay === 20);
    assert.ok(await station.secure('127.0.0.9'), 'others are none the worse for it');
    await until('the first gives way', () => station.refused.length > 0);
    assert.ok(performance.now() - startedMs > 2500, 'not before it has stood still for a while');
    assert.match(station.refused[0] as string, /^127\.0\.0\.8 timeout$/);
    assert.ok(station.counts.underWay <= 20, `${station.counts.underWay} are under way`);
  });

  it('wait for their turn, address by address', async () => {
    const station = await start({ underWay: 1, timeoutMs: 1000 });
    const bytes = await hello();
    // Each of these is begun with, and holds the one place until its time is over.
    for (let count = 0; count < 5; count++) station.raw('127.0.0.8', bytes);
    await until('the first begun', () => station.counts.underWay === 1);
    await until('the others wait', () => station.counts.pending === 5);
    assert.ok(await station.secure('127.0.0.9'), 'after one of the others, not after all');
    assert.ok(station.counts.pending >= 2, `${station.counts.pending} of the others still wait`);
  });

  it('end when their time is over, at whatever point', async () => {
    const station = await start({ timeoutMs: 300 });
    const bytes = await hello();
    for (const part of [Buffer.alloc(0), bytes.subarray(0, 1), bytes.subarray(0, 200), bytes])
      station.raw('127.0.0.1', part);
    await until('four of them', () => station.refused.length === 4);
    assert.ok(
      station.refused.every((line) => line === '127.0.0.1 timeout'),
      station.refused.join(),
    );
    assert.deepEqual([station.counts.pending, station.counts.underWay], [0, 0]);
  });

  it('are not begun with what is not TLS', async () => {
    const station = await start({});
    let answer = '';
    station.raw('127.0.0.1', Buffer.from('GET / HTTP/1.1\r\n\r\n')).on('data', (bytes) => {
      answer += bytes;
    });
    await until('an answer', () => answer.includes('HTTPS server'));
    station.raw('127.0.0.1', Buffer.from([22, 3, 1, 0xff, 0xff, 1]));
    await until('both refused', () => station.refused.length === 2);
    assert.deepEqual(station.refused.sort(), ['127.0.0.1 not-tls', '127.0.0.1 protocol']);
    assert.equal(station.accepted, 0);
  });

  it('wait for files to be looked at, and use what is found there', async () => {
    let renewed = 0;
    const other = selfSigned();
    const renew = async (): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve));
      renewed++;
    };
    const station = await start({}, { renew, current: () => (renewed > 1 ? second : first) });
    const first: TlsOptions = { ...pair };
    const second: TlsOptions = { ...other, checkClient: () => null };
    const shown = async (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tls.connect({ socket: station.raw(), rejectUnauthorized: false }, () =>
          resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? ''),
        );
        socket.on('error', reject);
      });
    const before = await shown();
    assert.equal(renewed, 1);
    assert.notEqual(await shown(), before);
  });
});

it('an address of IPv6 stands for its network', () => {
  assert.equal(networkOf('10.0.0.1'), '10.0.0.1');
  assert.equal(networkOf('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  assert.equal(networkOf('2001:db8::6'), '2001:db8:0:0::/64');
  assert.equal(networkOf('::1'), '0:0:0:0::/64');
});

it('a session that is none has no group', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('30', 'hex'),
    Buffer.from('3082ffff', 'hex'),
    Buffer.from('3003b30102', 'hex'),
  ]) {
    assert.equal(keyExchangeGroup(bytes), '');
  }
  const whole = Buffer.from('3009020101b304020211ec', 'hex');
  assert.equal(keyExchangeGroup(whole), 'X25519MLKEM768');
  const seed = Number(process.env['SEED'] ?? 1);
  const prng = new Prng(seed);
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(round % 2 === 0 ? prng.bytes(prng.between(0, 60)) : whole);
    for (let change = 0; change < 2 && bytes.length > 0; change++) {
      bytes[prng.between(0, bytes.length - 1)] = prng.between(0, 255);
    }
    assert.equal(typeof keyExchangeGroup(bytes), 'string', `seed ${seed}, round ${round}`);
  }
});
