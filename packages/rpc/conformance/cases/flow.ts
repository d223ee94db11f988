import type { Peer } from '../peer.ts';
import { type Case, type Context, NotApplicable } from '../suite.ts';
import { Bit, Code, data, frame, ping, Setting, settings, Type, u32, windowUpdate } from '../wire.ts';

function settingsError(title: string, bytes: Buffer, code: number): Case {
  return {
    section: '9113/6.5',
    title: `${title} is an error of the connection`,
    run: async (at) => {
      const peer = await at.open();
      peer.send(bytes);
      await at.connectionError(peer, code);
    },
  };
}

/** Waits until the server has used up what it may send, and has had the time to send more. */
async function exhaust(at: Context, peer: Peer, stream: number, bytes: number): Promise<void> {
  await peer.until(() => peer.dataBytes(stream) >= bytes || peer.hasEnded(stream));
  if (peer.dataBytes(stream) === 0 && peer.hasEnded(stream)) {
    throw new NotApplicable('the server answers this request without DATA');
  }
  await peer.alive();
  if (peer.dataBytes(stream) !== bytes) {
    throw new Error(`${peer.dataBytes(stream)} bytes came, the window allows ${bytes}; ${peer.summary()}`);
  }
  void at;
}

/** RFC 9113 sections 6.5 to 6.9: SETTINGS, PING, GOAWAY, WINDOW_UPDATE and flow control. */
export const FLOW_CASES: Case[] = [
  settingsError('SETTINGS with ACK and a payload', frame(Type.SETTINGS, 1, 0, Buffer.alloc(6)), Code.FRAME_SIZE_ERROR),
  settingsError('SETTINGS on a stream', frame(Type.SETTINGS, 0, 1, Buffer.alloc(6)), Code.PROTOCOL_ERROR),
  settingsError('SETTINGS of 3 bytes', frame(Type.SETTINGS, 0, 0, Buffer.alloc(3)), Code.FRAME_SIZE_ERROR),
  settingsError('SETTINGS of 7 bytes', frame(Type.SETTINGS, 0, 0, Buffer.alloc(7)), Code.FRAME_SIZE_ERROR),
  settingsError('ENABLE_PUSH of 2', settings([Setting.ENABLE_PUSH, 2]), Code.PROTOCOL_ERROR),
  settingsError(
    'INITIAL_WINDOW_SIZE of 2^31',
    settings([Setting.INITIAL_WINDOW_SIZE, 0x80000000]),
    Code.FLOW_CONTROL_ERROR,
  ),
  settingsError(
    'INITIAL_WINDOW_SIZE of 2^32 - 1',
    settings([Setting.INITIAL_WINDOW_SIZE, 0xffffffff]),
    Code.FLOW_CONTROL_ERROR,
  ),
  settingsError('MAX_FRAME_SIZE of 2^14 - 1', settings([Setting.MAX_FRAME_SIZE, 16_383]), Code.PROTOCOL_ERROR),
  settingsError('MAX_FRAME_SIZE of 0', settings([Setting.MAX_FRAME_SIZE, 0]), Code.PROTOCOL_ERROR),
  settingsError('MAX_FRAME_SIZE of 2^24', settings([Setting.MAX_FRAME_SIZE, 1 << 24]), Code.PROTOCOL_ERROR),
  ...(
    [
      ['ENABLE_PUSH of 1', [Setting.ENABLE_PUSH, 1]],
      ['MAX_FRAME_SIZE of 2^24 - 1', [Setting.MAX_FRAME_SIZE, 0xffffff]],
      ['INITIAL_WINDOW_SIZE of 2^31 - 1', [Setting.INITIAL_WINDOW_SIZE, 0x7fffffff]],
      ['HEADER_TABLE_SIZE of 2^32 - 1', [Setting.HEADER_TABLE_SIZE, 0xffffffff]],
      ['HEADER_TABLE_SIZE of 0', [Setting.HEADER_TABLE_SIZE, 0]],
      ['MAX_CONCURRENT_STREAMS of 0', [Setting.MAX_CONCURRENT_STREAMS, 0]],
    ] as const
  ).map(
    ([title, pair]): Case => ({
      section: '9113/6.5.2',
      title: `${title} is accepted`,
      run: async (at) => {
        const peer = await at.open(pair);
        peer.send(at.request(1));
        await at.response(peer, 1);
      },
    }),
  ),
  {
    section: '9113/6.5.3',
    title: 'each SETTINGS frame is acknowledged once',
    run: async (at) => {
      const peer = await at.open();
      const before = peer.frames.filter(({ type, flags }) => type === Type.SETTINGS && flags === 1).length;
      peer.send(settings(), settings([Setting.ENABLE_PUSH, 0]), settings());
      await peer.alive();
      const after = peer.frames.filter(({ type, flags }) => type === Type.SETTINGS && flags === 1).length;
      if (after - before !== 3) throw new Error(`${after - before} acknowledgements for 3 frames`);
    },
  },
  {
    section: '9113/6.5.3',
    title: 'of a setting given twice in a frame the last value counts',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 100], [Setting.INITIAL_WINDOW_SIZE, 1]);
      peer.send(at.request(1));
      await exhaust(at, peer, 1, 1);
    },
  },
  {
    section: '9113/6.7',
    title: 'PING is answered with what it carried',
    run: async (at) => {
      const peer = await at.open();
      peer.send(ping('a1b2c3d4'));
      await peer.expect('the answer', () => peer.find(Type.PING, 0) !== undefined);
      const answer = peer.find(Type.PING, 0);
      if (answer?.flags !== 1 || answer.payload.toString() !== 'a1b2c3d4') throw new Error(peer.summary());
    },
  },
  {
    section: '9113/6.7',
    title: 'PING with ACK is not answered',
    run: async (at) => {
      const peer = await at.open();
      peer.send(ping('answered', Bit.ACK));
      await peer.alive();
      if (peer.frames.some(({ type, payload }) => type === Type.PING && payload.toString() === 'answered')) {
        throw new Error('an answer to an answer');
      }
    },
  },
  {
    section: '9113/6.7',
    title: 'PING on a stream is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(frame(Type.PING, 0, 1, Buffer.alloc(8)));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  ...[6, 9].map(
    (length): Case => ({
      section: '9113/6.7',
      title: `PING of ${length} bytes is an error of the connection`,
      run: async (at) => {
        const peer = await at.open();
        peer.send(frame(Type.PING, 0, 0, Buffer.alloc(length)));
        await at.connectionError(peer, Code.FRAME_SIZE_ERROR);
      },
    }),
  ),
  {
    section: '9113/6.8',
    title: 'GOAWAY on a stream is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(frame(Type.GOAWAY, 0, 1, Buffer.alloc(8)));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.8',
    title: 'GOAWAY of 7 bytes is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(frame(Type.GOAWAY, 0, 0, Buffer.alloc(7)));
      await at.connectionError(peer, Code.FRAME_SIZE_ERROR);
    },
  },
  {
    section: '9113/6.8',
    title: 'a request that runs when the client sends GOAWAY is still answered',
    run: async (at) => {
      const peer = await at.open();
      const goaway = Buffer.concat([u32(0), u32(0), Buffer.from('bye')]);
      peer.send(at.headers(1), frame(Type.GOAWAY, 0, 0, goaway), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/6.9',
    title: 'WINDOW_UPDATE of nothing on the connection is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(windowUpdate(0, 0));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/6.9',
    title: 'WINDOW_UPDATE of nothing on a stream is an error of the stream',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), windowUpdate(1, 0));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
    },
  },
  ...[3, 5].map(
    (length): Case => ({
      section: '9113/6.9',
      title: `WINDOW_UPDATE of ${length} bytes is an error of the connection`,
      run: async (at) => {
        const peer = await at.open();
        peer.send(frame(Type.WINDOW_UPDATE, 0, 0, Buffer.alloc(length)));
        await at.connectionError(peer, Code.FRAME_SIZE_ERROR);
      },
    }),
  ),
  {
    section: '9113/6.9.1',
    title: 'no more DATA comes than the window of a stream allows',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 1]);
      peer.send(at.request(1));
      await exhaust(at, peer, 1, 1);
      peer.send(windowUpdate(1, 2));
      await exhaust(at, peer, 1, 3);
      peer.send(windowUpdate(1, 1_000_000));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/6.9.1',
    title: 'the reserved bit of the increment is ignored',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 0]);
      peer.send(at.request(1), windowUpdate(1, 0x80000001));
      await exhaust(at, peer, 1, 1);
    },
  },
  {
    section: '9113/6.9.1',
    title: 'the window of the connection over 2^31 - 1 is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(windowUpdate(0, 0x7fffffff), windowUpdate(0, 0x7fffffff));
      await at.connectionError(peer, Code.FLOW_CONTROL_ERROR);
    },
  },
  {
    section: '9113/6.9.1',
    title: 'the window of a stream over 2^31 - 1 is an error of the stream',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), windowUpdate(1, 0x7fffffff), windowUpdate(1, 0x7fffffff));
      await at.streamError(peer, 1, Code.FLOW_CONTROL_ERROR);
    },
  },
  {
    section: '9113/6.9.1',
    title: 'a client that sends beyond the window of a stream is stopped',
    run: async (at) => {
      const peer = await at.open();
      const window = at.setting(peer, Setting.INITIAL_WINDOW_SIZE);
      if (window > 4_000_000) throw new NotApplicable(`the window is ${window} bytes`);
      // In one go, so that no credit comes in between: a message which is not complete, and far more than the window.
      const message = Buffer.from([0, 0, 0x1f, 0xff, 0xff]);
      const parts = [at.headers(1), data(1, message, 0)];
      for (let sent = 0; sent < 2 * window + 0x200000; sent += 16_384) parts.push(data(1, Buffer.alloc(16_384), 0));
      peer.send(...parts);
      // A server may give credit as fast as it reads; then it is the message after the first that it must not take.
      const stopped = await peer.until(() => peer.goaway() !== null || peer.resetCode(1) !== null || peer.hasEnded(1));
      if (!stopped) throw new Error(`nothing stops the client; ${peer.summary()}`);
      const code = peer.goaway()?.code ?? peer.resetCode(1) ?? 0;
      if (code !== Code.FLOW_CONTROL_ERROR && !peer.hasEnded(1)) throw new Error(peer.summary());
    },
  },
  {
    section: '9113/6.9.2',
    title: 'a larger INITIAL_WINDOW_SIZE opens the windows of open streams',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 0]);
      peer.send(at.request(1));
      await peer.alive();
      if (peer.dataBytes(1) > 0) throw new Error('DATA came through a closed window');
      peer.send(settings([Setting.INITIAL_WINDOW_SIZE, 1]));
      await exhaust(at, peer, 1, 1);
    },
  },
  {
    section: '9113/6.9.2',
    title: 'a smaller INITIAL_WINDOW_SIZE can make a window negative',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 3]);
      peer.send(at.request(1));
      await exhaust(at, peer, 1, 3);
      // 3 bytes are out; the window is now 2 - 3 = -1, then 1 after two more.
      peer.send(settings([Setting.INITIAL_WINDOW_SIZE, 2]));
      await exhaust(at, peer, 1, 3);
      peer.send(windowUpdate(1, 2));
      await exhaust(at, peer, 1, 4);
    },
  },
  {
    section: '9113/6.9.2',
    title: 'an INITIAL_WINDOW_SIZE that lets the window of a stream overflow is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), windowUpdate(1, 0x7fff0000 - 65_535));
      peer.send(settings([Setting.INITIAL_WINDOW_SIZE, 0x7fffffff]));
      await at.connectionError(peer, Code.FLOW_CONTROL_ERROR);
    },
  },
  {
    section: '9113/6.9.2',
    title: 'INITIAL_WINDOW_SIZE does not change the window of the connection',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 0x7fffffff]);
      peer.send(at.request(1));
      await at.response(peer, 1);
      // 65,535 bytes were there in the beginning, so this much more fits exactly.
      const used = peer.dataBytes(1);
      peer.send(windowUpdate(0, 0x7fffffff - 65_535 + used));
      await peer.alive();
      peer.send(windowUpdate(0, 1));
      await at.connectionError(peer, Code.FLOW_CONTROL_ERROR);
    },
  },
  {
    section: '9113/6.9.3',
    title: 'a stream without window does not hold up another',
    run: async (at) => {
      const peer = await at.open([Setting.INITIAL_WINDOW_SIZE, 0]);
      peer.send(at.request(1), at.request(3), windowUpdate(3, 1_000_000));
      await at.response(peer, 3);
      if (peer.dataBytes(1) > 0) throw new Error('DATA came through a closed window');
    },
  },
  {
    section: '9113/6.5.3',
    title: 'empty SETTINGS mix with requests',
    run: async (at) => {
      const peer = await at.open();
      peer.send(settings(), at.headers(1), settings(), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
];
