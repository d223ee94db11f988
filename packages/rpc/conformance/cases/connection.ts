import { type Case, NotApplicable } from '../suite.ts';
import { Bit, Code, data, frame, NOTHING, PREFACE, ping, Setting, settings, Type, u32 } from '../wire.ts';

/** RFC 9113 sections 3 to 5.5 but for stream states: preface, frames, sizes, what a connection error means. */
export const CONNECTION_CASES: Case[] = [
  {
    section: '9113/3.4',
    title: 'the first frame of the server is SETTINGS',
    run: async (at) => {
      const peer = await at.connect();
      peer.send(PREFACE, settings());
      await peer.expect('a frame', () => peer.frames.length > 0);
      const [first] = peer.frames;
      if (first?.type !== Type.SETTINGS || first.flags !== 0) throw new Error(peer.summary());
    },
  },
  {
    section: '9113/3.4',
    title: 'SETTINGS of the client are acknowledged',
    run: async (at) => void (await at.open()),
  },
  {
    section: '9113/3.4',
    title: 'bytes that are not the preface end the connection',
    run: async (at) => {
      const peer = await at.connect();
      peer.send(Buffer.from('INVALID CONNECTION PREFACE\r\n\r\n'));
      if (!(await peer.until(() => peer.isClosed))) throw new Error('the connection stays open');
    },
  },
  {
    section: '9113/3.4',
    title: 'a preface in pieces of one byte is understood',
    run: async (at) => {
      const peer = await at.connect();
      for (const byte of PREFACE) {
        peer.send(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      peer.send(settings());
      await peer.alive();
    },
  },
  {
    section: '9113/3.4',
    title: 'the preface and a request in one packet are served',
    run: async (at) => {
      const peer = await at.connect();
      peer.send(PREFACE, settings(), at.request(1));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/3.4',
    title: 'a first frame other than SETTINGS is an error of the connection',
    run: async (at) => {
      const peer = await at.connect();
      peer.send(PREFACE, ping());
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/4.1',
    title: 'a frame of an unknown type is ignored',
    run: async (at) => {
      const peer = await at.open();
      peer.send(frame(0x16, 0, 0, Buffer.alloc(8)));
      await peer.alive();
    },
  },
  {
    section: '9113/4.1',
    title: 'a frame of an unknown type on a stream is ignored',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), frame(0xf0, 0xff, 1, Buffer.alloc(20)), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/4.1',
    title: 'flags without meaning are ignored',
    run: async (at) => {
      const peer = await at.open();
      peer.send(ping('flagged!', 0x16));
      await peer.expect('the answer', () => peer.find(Type.PING, 0) !== undefined);
    },
  },
  {
    section: '9113/4.1',
    title: 'the reserved bit of the stream number is ignored',
    run: async (at) => {
      const peer = await at.open();
      const odd = ping('reserved');
      odd[5] = 0x80;
      peer.send(odd);
      await peer.expect('the answer', () => peer.find(Type.PING, 0) !== undefined);
    },
  },
  {
    section: '9113/4.1',
    title: 'the reserved bit of a request stream is ignored',
    run: async (at) => {
      const peer = await at.open();
      const headers = at.headers(1);
      headers[5] = (headers[5] as number) | 0x80;
      peer.send(headers, data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/4.2',
    title: 'a frame of the largest size allowed by default is accepted',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, Buffer.alloc(16_384), 0));
      await peer.alive();
    },
  },
  {
    section: '9113/4.2',
    title: 'DATA larger than the limit is a frame size error',
    run: async (at) => {
      const peer = await at.open();
      const size = at.setting(peer, Setting.MAX_FRAME_SIZE) + 1;
      if (size > 1 << 20) throw new NotApplicable(`the server takes frames of ${size - 1} bytes`);
      peer.send(at.headers(1), data(1, Buffer.alloc(size), 0));
      await at.streamError(peer, 1, Code.FRAME_SIZE_ERROR);
    },
  },
  {
    section: '9113/4.2',
    title: 'HEADERS larger than the limit are an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      const size = at.setting(peer, Setting.MAX_FRAME_SIZE) + 1;
      if (size > 1 << 20) throw new NotApplicable(`the server takes frames of ${size - 1} bytes`);
      peer.send(at.headers(1, Bit.END_HEADERS | Bit.END_STREAM, Buffer.alloc(size)));
      await at.connectionError(peer, Code.FRAME_SIZE_ERROR);
    },
  },
  {
    section: '9113/4.2',
    title: 'SETTINGS larger than the limit are an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      const size = at.setting(peer, Setting.MAX_FRAME_SIZE) + 2;
      if (size > 1 << 20) throw new NotApplicable(`the server takes frames of ${size - 2} bytes`);
      peer.send(frame(Type.SETTINGS, 0, 0, Buffer.alloc(size - (size % 6) + 6)));
      await at.connectionError(peer, Code.FRAME_SIZE_ERROR);
    },
  },
  {
    section: '9113/4.2',
    title: 'a header of a frame split over packets is put together',
    run: async (at) => {
      const peer = await at.open();
      for (const byte of at.request(1)) {
        peer.send(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/4.3',
    title: 'a header block that cannot be decoded is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      // A literal whose name is said to be longer than the block.
      peer.send(at.headers(1, 5, Buffer.from([0x00, 0x7f, 0x80, 0x01, 0x61])));
      await at.connectionError(peer, Code.COMPRESSION_ERROR);
    },
  },
  {
    section: '9113/4.3',
    title: 'a block cut in the middle of a field is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block();
      peer.send(at.headers(1, 5, block.subarray(0, block.length - 3)));
      await at.connectionError(peer, Code.COMPRESSION_ERROR);
    },
  },
  {
    section: '9113/4.3',
    title: 'another frame between the parts of a header block is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block();
      peer.send(at.headers(1, 0, block.subarray(0, 10)), frame(Type.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 15])));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/4.3',
    title: 'HEADERS of another stream between the parts of a header block are an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0, at.block().subarray(0, 10)), at.headers(3));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/5.4.1',
    title: 'an error of the connection is told with the last stream served',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.request(1));
      await at.response(peer, 1);
      peer.send(data(0, Buffer.alloc(1)));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
      const last = peer.goaway()?.lastStream ?? -1;
      if (last < 1) throw new Error(`GOAWAY names stream ${last}, stream 1 was served`);
    },
  },
  {
    section: '9113/5.4.2',
    title: 'no RST_STREAM comes in answer to a RST_STREAM',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), frame(Type.RST_STREAM, 0, 1, u32(Code.CANCEL)));
      await peer.alive();
      if (peer.resetCode(1) !== null) throw new Error(peer.summary());
    },
  },
  {
    section: '9113/5.5',
    title: 'an unknown frame between the parts of a header block is an error of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, 0, at.block().subarray(0, 10)), frame(0xf0, 0, 1, NOTHING));
      await at.connectionError(peer, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/5.5',
    title: 'unknown settings are ignored',
    run: async (at) => {
      const peer = await at.open([0xff, 1], [0xabcd, 0xffffffff]);
      peer.send(at.request(1));
      await at.response(peer, 1);
    },
  },
  {
    section: '9113/7',
    title: 'an unknown error code in RST_STREAM means nothing special',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), frame(Type.RST_STREAM, 0, 1, u32(0xff)));
      await peer.alive();
    },
  },
  {
    section: '9113/7',
    title: 'an unknown error code in GOAWAY means nothing special',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), frame(Type.GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0xff)])), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  {
    section: 'generic',
    title: 'requests one after the other are answered on one connection',
    run: async (at) => {
      const peer = await at.open();
      for (let stream = 1; stream < 20; stream += 2) {
        peer.send(at.request(stream));
        await at.response(peer, stream);
      }
    },
  },
  {
    section: 'generic',
    title: 'requests at the same time are all answered',
    run: async (at) => {
      const peer = await at.open();
      const streams = Array.from({ length: 20 }, (_unused, index) => 2 * index + 1);
      peer.send(...streams.map((stream) => at.headers(stream)));
      peer.send(...streams.toReversed().map((stream) => data(stream, at.target.body)));
      for (const stream of streams) await at.response(peer, stream);
    },
  },
  {
    section: 'generic',
    title: 'stream numbers may leave gaps',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.request(7), at.request(4001));
      await at.response(peer, 7);
      await at.response(peer, 4001);
    },
  },
  ...['GET', 'HEAD', 'OPTIONS', 'PUT'].map(
    (method): Case => ({
      section: 'generic',
      title: `a ${method} request gets an answer of some kind`,
      run: async (at) => {
        const peer = await at.open();
        peer.send(at.headers(1, 5, at.block({ ':method': method, 'content-type': null, te: null })));
        await at.accepted(peer, 1);
      },
    }),
  ),
];
