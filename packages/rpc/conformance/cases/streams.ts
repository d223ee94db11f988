import type { Peer } from '../peer.ts';
import { type Case, type Context, NotApplicable } from '../suite.ts';
import {
  Bit,
  Code,
  continuation,
  data,
  frame,
  literal,
  priority,
  rstStream,
  Setting,
  Type,
  u32,
  windowUpdate,
} from '../wire.ts';

const PRIORITY_FRAME = (stream: number, dependency = 0): Buffer =>
  frame(Type.PRIORITY, 0, stream, priority(dependency));

/** How a stream comes into a state, as seen from the client. */
const STATES = {
  'half-closed (remote)': async (at: Context, peer: Peer) => {
    peer.send(at.request(1));
  },
  'closed by our reset': async (at: Context, peer: Peer) => {
    peer.send(at.headers(1), rstStream(1, Code.CANCEL));
  },
  'closed by both ends': async (at: Context, peer: Peer) => {
    peer.send(at.request(1));
    await at.response(peer, 1);
  },
} as const;

type State = keyof typeof STATES;

/** A frame that the state forbids. An error of the stream is enough; the connection may end over it too. */
function forbidden(state: State, what: string, bytes: (at: Context) => Buffer, ...codes: number[]): Case {
  return {
    section: '9113/5.1',
    title: `${state}: ${what} is an error`,
    run: async (at) => {
      const peer = await at.open(
        // With a window of nothing the answer has to wait, and the stream stays half-closed.
        ...(state === 'half-closed (remote)' ? [[Setting.INITIAL_WINDOW_SIZE, 0] as const] : []),
      );
      await STATES[state](at, peer);
      peer.send(bytes(at));
      await at.streamError(peer, 1, ...codes);
    },
  };
}

function idle(what: string, bytes: (at: Context) => Buffer): Case {
  return {
    section: '9113/5.1',
    title: `idle: ${what} is an error of the connection`,
    run: async (at) => {
      const peer = await at.open();
      peer.send(bytes(at));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  };
}

function allowed(state: State, what: string, bytes: Buffer): Case {
  return {
    section: '9113/5.1',
    title: `${state}: ${what} does no harm`,
    run: async (at) => {
      const peer = await at.open();
      await STATES[state](at, peer);
      peer.send(bytes);
      await peer.alive();
    },
  };
}

const closedCodes = [Code.STREAM_CLOSED, Code.PROTOCOL_ERROR] as const;

/** RFC 9113 section 5.1 to 5.3: states, numbers, how many at a time, priorities. */
export const STREAM_CASES: Case[] = [
  idle('DATA', (at) => data(1, at.target.body)),
  idle('RST_STREAM', () => rstStream(1, Code.CANCEL)),
  idle('WINDOW_UPDATE', () => windowUpdate(1, 100)),
  idle('CONTINUATION', (at) => continuation(1, at.block())),
  {
    section: '9113/5.1',
    title: 'idle: PRIORITY is allowed',
    run: async (at) => {
      const peer = await at.open();
      peer.send(PRIORITY_FRAME(1));
      await peer.alive();
      peer.send(at.request(1));
      await at.response(peer, 1);
    },
  },
  forbidden('half-closed (remote)', 'DATA', (at) => data(1, at.target.body), Code.STREAM_CLOSED),
  forbidden('half-closed (remote)', 'HEADERS', (at) => at.headers(1, 5), Code.STREAM_CLOSED),
  forbidden('half-closed (remote)', 'CONTINUATION', (at) => continuation(1, at.block()), ...closedCodes),
  allowed('half-closed (remote)', 'WINDOW_UPDATE', windowUpdate(1, 1000)),
  allowed('half-closed (remote)', 'PRIORITY', PRIORITY_FRAME(1)),
  allowed('half-closed (remote)', 'RST_STREAM', rstStream(1, Code.CANCEL)),
  forbidden('closed by our reset', 'DATA', (at) => data(1, at.target.body), Code.STREAM_CLOSED),
  forbidden('closed by our reset', 'HEADERS', (at) => at.headers(1, 5), ...closedCodes),
  forbidden('closed by our reset', 'CONTINUATION', (at) => continuation(1, at.block()), ...closedCodes),
  allowed('closed by our reset', 'PRIORITY', PRIORITY_FRAME(1)),
  forbidden('closed by both ends', 'DATA', (at) => data(1, at.target.body), Code.STREAM_CLOSED),
  forbidden('closed by both ends', 'HEADERS', (at) => at.headers(1, 5), ...closedCodes),
  forbidden('closed by both ends', 'CONTINUATION', (at) => continuation(1, at.block()), ...closedCodes),
  allowed('closed by both ends', 'PRIORITY', PRIORITY_FRAME(1)),
  allowed('closed by both ends', 'WINDOW_UPDATE', windowUpdate(1, 1000)),
  allowed('closed by both ends', 'RST_STREAM', rstStream(1, Code.CANCEL)),
  {
    section: '9113/5.1.1',
    title: 'a client stream with an even number is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(2));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/5.1.1',
    title: 'a stream number lower than one before is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.request(5));
      await at.response(peer, 5);
      peer.send(at.headers(3, 5));
      await at.connectionError(peer, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED);
    },
  },
  {
    section: '9113/5.1.1',
    title: 'the highest stream number of all is served',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.request(0x7fffffff));
      await at.response(peer, 0x7fffffff);
    },
  },
  {
    section: '9113/5.1.2',
    title: 'a stream over the number allowed is refused',
    run: async (at) => {
      const peer = await at.open();
      const limit = at.setting(peer, Setting.MAX_CONCURRENT_STREAMS);
      if (limit > 20_000) throw new NotApplicable(`the server allows ${limit} streams`);
      // Requests that never end, so that all of them stay open.
      const streams = Array.from({ length: limit + 1 }, (_unused, index) => 2 * index + 1);
      peer.send(...streams.map((stream) => at.headers(stream)));
      await at.streamError(peer, 2 * limit + 1, Code.REFUSED_STREAM, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/5.1.2',
    title: 'streams that were reset make room for others',
    run: async (at) => {
      const peer = await at.open();
      const limit = at.setting(peer, Setting.MAX_CONCURRENT_STREAMS);
      if (limit > 500) throw new NotApplicable(`the server allows ${limit} streams`);
      for (let index = 0; index < limit; index++) peer.send(at.headers(2 * index + 1), rstStream(2 * index + 1, 8));
      peer.send(at.request(2 * limit + 1));
      await at.response(peer, 2 * limit + 1);
    },
  },
  {
    section: '9113/5.3.2',
    title: 'PRIORITY of a stream that depends on itself does not end the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(PRIORITY_FRAME(3, 3));
      await peer.alive();
    },
  },
  {
    section: '9113/5.3.2',
    title: 'HEADERS of a stream that depends on itself are served, or reset that stream alone',
    run: async (at) => {
      const peer = await at.open();
      const block = Buffer.concat([priority(1), at.block()]);
      peer.send(frame(Type.HEADERS, Bit.END_HEADERS | Bit.PRIORITY, 1, block), data(1, at.target.body));
      await peer.expect('an answer or a reset', () => peer.hasEnded(1) || peer.resetCode(1) !== null);
      await peer.alive();
    },
  },
  {
    section: '9113/5.3.2',
    title: 'HEADERS with priority fields are served',
    run: async (at) => {
      const peer = await at.open();
      const block = Buffer.concat([priority(0x80000000 + 5, 255), at.block()]);
      peer.send(frame(Type.HEADERS, Bit.END_HEADERS | Bit.PRIORITY, 1, block), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  // ── 6.1 DATA ────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    section: '9113/6.1',
    title: 'DATA on stream 0 is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(data(0, at.target.body));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.1',
    title: 'DATA padded longer than its payload is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, Buffer.from([6, 1, 2, 3, 4, 5]), Bit.PADDED | Bit.END_STREAM));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.1',
    title: 'padded DATA without room for the length of the padding is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, Buffer.alloc(0), Bit.PADDED | Bit.END_STREAM));
      await at.connectionError(peer, Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR);
    },
  },
  ...[0, 1, 255].map(
    (padding): Case => ({
      section: '9113/6.1',
      title: `DATA with ${padding} bytes of padding is served`,
      run: async (at) => {
        const peer = await at.open();
        const payload = Buffer.concat([Buffer.from([padding]), at.target.body, Buffer.alloc(padding)]);
        peer.send(at.headers(1), data(1, payload, Bit.PADDED | Bit.END_STREAM));
        await at.response(peer, 1);
      },
    }),
  ),
  {
    section: '9113/6.1',
    title: 'a request in DATA frames of one byte is served',
    run: async (at) => {
      const peer = await at.open();
      const { body } = at.target;
      const parts = [...body].map((byte, index) => data(1, Buffer.from([byte]), index === body.length - 1 ? 1 : 0));
      peer.send(at.headers(1), ...parts);
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/6.1',
    title: 'an empty DATA frame may end a stream',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, at.target.body, 0), data(1, Buffer.alloc(0)));
      await at.response(peer, 1);
    },
  },
  // ── 6.2 HEADERS ─────────────────────────────────────────────────────────────────────────────────────────────────
  {
    section: '9113/6.2',
    title: 'HEADERS on stream 0 are an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(0));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.2',
    title: 'HEADERS padded longer than their payload are an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block();
      const payload = Buffer.concat([Buffer.from([block.length + 1]), block]);
      peer.send(at.headers(1, Bit.END_HEADERS | Bit.PADDED, payload));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.2',
    title: 'padded HEADERS are served',
    run: async (at) => {
      const peer = await at.open();
      const payload = Buffer.concat([Buffer.from([200]), at.block(), Buffer.alloc(200)]);
      peer.send(at.headers(1, Bit.END_HEADERS | Bit.PADDED, payload), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/6.2',
    title: 'padded HEADERS with priority fields are served',
    run: async (at) => {
      const peer = await at.open();
      const payload = Buffer.concat([Buffer.from([9]), priority(0), at.block(), Buffer.alloc(9)]);
      peer.send(at.headers(1, Bit.END_HEADERS | Bit.PADDED | Bit.PRIORITY, payload), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/6.2',
    title: 'HEADERS too short for their priority fields are an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, Bit.END_HEADERS | Bit.PRIORITY, Buffer.alloc(3)));
      await at.connectionError(peer, Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.2',
    title: 'DATA before the header block has ended is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0), data(1, at.target.body));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  // ── 6.3 PRIORITY, 6.4 RST_STREAM ────────────────────────────────────────────────────────────────────────────────
  {
    section: '9113/6.3',
    title: 'PRIORITY on stream 0 is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(PRIORITY_FRAME(0));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  ...[4, 6].map(
    (length): Case => ({
      section: '9113/6.3',
      title: `PRIORITY of ${length} bytes is a frame size error`,
      run: async (at) => {
        const peer = await at.open();
        peer.send(at.headers(1), frame(Type.PRIORITY, 0, 1, Buffer.alloc(length)));
        await at.streamError(peer, 1, Code.FRAME_SIZE_ERROR);
      },
    }),
  ),
  {
    section: '9113/6.4',
    title: 'RST_STREAM on stream 0 is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(rstStream(0, Code.CANCEL));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  ...[3, 5].map(
    (length): Case => ({
      section: '9113/6.4',
      title: `RST_STREAM of ${length} bytes is an error of the connection`,
      run: async (at) => {
        const peer = await at.open();
        peer.send(at.headers(1), frame(Type.RST_STREAM, 0, 1, Buffer.alloc(length)));
        await at.connectionError(peer, Code.FRAME_SIZE_ERROR);
      },
    }),
  ),
  // ── 6.6 PUSH_PROMISE ────────────────────────────────────────────────────────────────────────────────────────────
  {
    section: '9113/8.4',
    title: 'PUSH_PROMISE from a client is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), frame(Type.PUSH_PROMISE, 4, 1, Buffer.concat([u32(2), at.block()])));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  // ── 6.10 CONTINUATION ───────────────────────────────────────────────────────────────────────────────────────────
  ...[2, 5].map(
    (parts): Case => ({
      section: '9113/6.10',
      title: `a header block in ${parts} frames is served`,
      run: async (at) => {
        const peer = await at.open();
        const block = at.block();
        const size = Math.ceil(block.length / parts);
        const pieces = Array.from({ length: parts }, (_unused, index) =>
          block.subarray(index * size, (index + 1) * size),
        );
        peer.send(at.headers(1, 0, pieces[0]));
        for (const [index, piece] of pieces.entries()) {
          if (index > 0) peer.send(continuation(1, piece, index === parts - 1 ? Bit.END_HEADERS : 0));
        }
        peer.send(data(1, at.target.body));
        await at.response(peer, 1);
      },
    }),
  ),
  {
    section: '9113/6.10',
    title: 'an empty CONTINUATION may end a header block',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0), continuation(1, Buffer.alloc(0)), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/6.10',
    title: 'END_STREAM of HEADERS holds when CONTINUATION follows',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block();
      peer.send(at.headers(1, Bit.END_STREAM, block.subarray(0, 20)), continuation(1, block.subarray(20)));
      await at.accepted(peer, 1);
    },
  },
  {
    section: '9113/6.10',
    title: 'CONTINUATION after the block has ended is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), continuation(1, literal([['x-more', 'y']])));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.10',
    title: 'CONTINUATION on stream 0 is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0, at.block().subarray(0, 10)), continuation(0, at.block().subarray(10)));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.10',
    title: 'CONTINUATION of another stream is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0, at.block().subarray(0, 10)), continuation(3, at.block().subarray(10)));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.10',
    title: 'CONTINUATION behind DATA is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, at.target.body, 0), continuation(1, literal([['x-more', 'y']])));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.10',
    title: 'a PING between the parts of a header block is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0, at.block().subarray(0, 10)), frame(Type.PING, 0, 0, Buffer.alloc(8)));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
];
