import type { Case } from '../suite.ts';
import { Bit, Code, data, type Field, frame, literal, Type } from '../wire.ts';

/** A request whose fields are malformed: the stream is reset (or answered 400, which we do not ask to read). */
function malformed(
  section: string,
  title: string,
  changes: Record<string, string | null>,
  more: readonly Field[] = [],
): Case {
  return {
    section: `9113/${section}`,
    title: `${title} makes a request malformed`,
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, Bit.END_HEADERS, at.block(changes, more)));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
    },
  };
}

/** The same for fields in an order or number that an object cannot express. */
function malformedList(section: string, title: string, fields: (usual: Field[]) => Field[]): Case {
  return {
    section: `9113/${section}`,
    title: `${title} makes a request malformed`,
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, Bit.END_HEADERS, literal(fields(at.fields()))));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
    },
  };
}

function fine(
  section: string,
  title: string,
  changes: Record<string, string | null>,
  more: readonly Field[] = [],
): Case {
  return {
    section: `9113/${section}`,
    title,
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, Bit.END_HEADERS, at.block(changes, more)), data(1, at.target.body));
      await at.response(peer, 1);
    },
  };
}

/** A second header block on the stream of a request. */
function second(section: string, title: string, flags: number, fields: readonly Field[], code: number | null): Case {
  return {
    section: `9113/${section}`,
    title,
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, at.target.body, 0), frame(Type.HEADERS, flags, 1, literal(fields)));
      if (code === null) await at.response(peer, 1);
      else await at.streamError(peer, 1, code);
    },
  };
}

const END = Bit.END_HEADERS | Bit.END_STREAM;
const FORBIDDEN_NAME_BYTES = [0x00, 0x0a, 0x0d, 0x20, 0x41, 0x5a, 0x7f, 0x80, 0xff];
const FORBIDDEN_VALUE_BYTES = [0x00, 0x0a, 0x0d];

/** RFC 9113 section 8: what a request is made of. */
export const MESSAGE_CASES: Case[] = [
  second('8.1', 'trailers end a request', END, [['x-trailer', 'yes']], null),
  second('8.1', 'a second header block that does not end the stream is malformed', Bit.END_HEADERS, [['x', 'y']], 1),
  second('8.1', 'pseudo fields in trailers are malformed', END, [[':path', '/']], Code.PROTOCOL_ERROR),
  second('8.1', 'unknown pseudo fields in trailers are malformed', END, [[':odd', '1']], Code.PROTOCOL_ERROR),
  second('8.2.1', 'a capital letter in trailers is malformed', END, [['X-Trailer', '1']], Code.PROTOCOL_ERROR),
  second('8.2.2', 'a connection field in trailers is malformed', END, [['connection', 'x']], Code.PROTOCOL_ERROR),
  {
    section: '9113/8.1',
    title: 'a server may answer before the request has ended, and the connection goes on',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, Bit.END_HEADERS, at.block({ ':path': '/no.such.Service/Method' })));
      await at.accepted(peer, 1);
      peer.send(at.request(3));
      await at.response(peer, 3);
    },
  },
  // ── 8.1.1 content-length ────────────────────────────────────────────────────────────────────────────────────────
  {
    section: '9113/8.1.1',
    title: 'content-length that agrees with DATA is accepted',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block({ 'content-length': String(at.target.body.length) });
      peer.send(at.headers(1, Bit.END_HEADERS, block), data(1, at.target.body));
      await at.response(peer, 1);
    },
  },
  ...[-1, 1].map(
    (difference): Case => ({
      section: '9113/8.1.1',
      title: `content-length of ${difference > 0 ? 'more' : 'less'} than DATA brings is malformed`,
      run: async (at) => {
        const peer = await at.open();
        const block = at.block({ 'content-length': String(at.target.body.length + difference) });
        peer.send(at.headers(1, Bit.END_HEADERS, block), data(1, at.target.body));
        await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
      },
    }),
  ),
  {
    section: '9113/8.1.1',
    title: 'content-length of more than several DATA frames bring is malformed',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block({ 'content-length': String(at.target.body.length + 7) });
      const { body } = at.target;
      peer.send(at.headers(1, Bit.END_HEADERS, block), data(1, body.subarray(0, 2), 0), data(1, body.subarray(2)));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/8.1.1',
    title: 'content-length without any DATA is malformed',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, END, at.block({ 'content-length': '5' })));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
    },
  },
  {
    section: '9113/8.1.1',
    title: 'content-length cut short by trailers is malformed',
    run: async (at) => {
      const peer = await at.open();
      const block = at.block({ 'content-length': String(at.target.body.length + 1) });
      peer.send(at.headers(1, Bit.END_HEADERS, block), data(1, at.target.body, 0));
      peer.send(frame(Type.HEADERS, END, 1, literal([['x-trailer', 'yes']])));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
    },
  },
  malformed('8.1.1', 'a content-length that is no number', { 'content-length': 'five' }),
  malformed('8.1.1', 'a negative content-length', { 'content-length': '-5' }),
  malformed('8.1.1', 'two different content-lengths', { 'content-length': '5' }, [['content-length', '6']]),
  // ── 8.2 fields ──────────────────────────────────────────────────────────────────────────────────────────────────
  malformed('8.2', 'a field name with a capital letter', { 'X-Test': 'ok' }),
  ...FORBIDDEN_NAME_BYTES.map((byte) =>
    malformed('8.2.1', `the byte 0x${byte.toString(16)} in a field name`, {}, [
      [`x-${String.fromCharCode(byte)}-y`, 'v'],
    ]),
  ),
  malformed('8.2.1', 'a colon within a field name', { 'x:y': 'v' }),
  malformed('8.2.1', 'an empty field name', {}, [['', 'value']]),
  ...FORBIDDEN_VALUE_BYTES.map((byte) =>
    malformed('8.2.1', `the byte 0x${byte.toString(16)} in a field value`, {
      'x-test': `a${String.fromCharCode(byte)}b`,
    }),
  ),
  malformed('8.2.1', 'a field value that begins with a blank', { 'x-test': ' value' }),
  malformed('8.2.1', 'a field value that ends with a tab', { 'x-test': 'value\t' }),
  fine('8.2.1', 'a field value with bytes above 0x7f is accepted', { 'x-test': 'gr\xfc\xdfe' }),
  fine('8.2.1', 'an empty field value is accepted', { 'x-test': '' }),
  malformed('8.2.2', 'the field connection', { connection: 'keep-alive' }),
  malformed('8.2.2', 'the field keep-alive', { 'keep-alive': '5' }),
  malformed('8.2.2', 'the field proxy-connection', { 'proxy-connection': 'keep-alive' }),
  malformed('8.2.2', 'the field transfer-encoding', { 'transfer-encoding': 'chunked' }),
  malformed('8.2.2', 'the field upgrade', { upgrade: 'h2c' }),
  malformed('8.2.2', 'a te field other than trailers', { te: 'trailers, deflate;q=0.5' }),
  fine('8.2.2', 'a te field that says trailers is accepted', { te: 'trailers' }),
  fine('8.2.3', 'cookies in several fields are accepted', {}, [
    ['cookie', 'a=b'],
    ['cookie', 'c=d'],
    ['cookie', 'e=f'],
  ]),
  // ── 8.3 pseudo fields ───────────────────────────────────────────────────────────────────────────────────────────
  malformedList('8.3', 'an unknown pseudo field', (usual) => [[':test', 'ok'], ...usual]),
  malformedList('8.3', 'a pseudo field of responses', (usual) => [[':status', '200'], ...usual]),
  malformedList('8.3', 'a pseudo field behind others', (usual) => [
    ...usual.filter(([name]) => name !== ':path'),
    ...usual.filter(([name]) => name === ':path'),
  ]),
  ...[':method', ':scheme', ':path'].map((name) => malformed('8.3.1', `no ${name}`, { [name]: null })),
  ...[':method', ':scheme', ':path', ':authority'].map((name) =>
    malformedList('8.3.1', `${name} twice`, (usual) => [...usual.filter(([other]) => other === name), ...usual]),
  ),
  malformed('8.3.1', 'an empty :path', { ':path': '' }),
  {
    section: '9113/8.3.1',
    title: 'a :path without a slash is not served: reset, or refused in the words of the application',
    run: async (at) => {
      const peer = await at.open();
      const path = at.target.path.slice(1);
      peer.send(at.headers(1, Bit.END_HEADERS, at.block({ ':path': path })), data(1, at.target.body));
      await peer.expect('a refusal', () => peer.hasEnded(1) || peer.resetCode(1) !== null);
      if (peer.dataBytes(1) > 0) throw new Error('it was served');
      await peer.alive();
    },
  },
  malformed('8.3.1', 'a :authority that host contradicts', { host: 'elsewhere.example' }),
  fine('8.3.1', 'host instead of :authority is accepted', { ':authority': null, host: 'localhost' }),
  malformed('8.5', 'CONNECT with :scheme and :path', { ':method': 'CONNECT' }),
  malformed('8.5', 'CONNECT without :authority', {
    ':method': 'CONNECT',
    ':scheme': null,
    ':path': null,
    ':authority': null,
  }),
  {
    section: '9113/8.6',
    title: 'a malformed request leaves the dynamic table as the client thinks it is',
    run: async (at) => {
      const peer = await at.open();
      // The value enters the table within a malformed block; index 62 must name it afterwards.
      const entering = Buffer.concat([Buffer.from([0x40, 5]), Buffer.from('x-new'), Buffer.from([1, 0x76])]);
      peer.send(at.headers(1, Bit.END_HEADERS, Buffer.concat([at.block({ connection: 'close' }), entering])));
      await at.streamError(peer, 1, Code.PROTOCOL_ERROR);
      peer.send(
        at.headers(3, Bit.END_HEADERS, Buffer.concat([at.block(), Buffer.from([0xbe])])),
        data(3, at.target.body),
      );
      await at.response(peer, 3);
    },
  },
];
