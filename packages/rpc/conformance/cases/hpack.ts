import type { Case } from '../suite.ts';
import { Bit, Code, data, indexed, integer, literal, Setting, text } from '../wire.ts';

/** A header block that nobody can decode. */
function broken(section: string, title: string, tail: Buffer, before = true): Case {
  return {
    section: `7541/${section}`,
    title: `${title} is an error of the connection`,
    run: async (at) => {
      const peer = await at.open();
      const block = before ? Buffer.concat([at.block(), tail]) : Buffer.concat([tail, at.block()]);
      peer.send(at.headers(1, Bit.END_HEADERS, block));
      await at.connectionError(peer, Code.COMPRESSION_ERROR);
    },
  };
}

/** Blocks sent one after the other, each a whole request. */
function served(section: string, title: string, ...blocks: ((usual: Buffer) => Buffer)[]): Case {
  return {
    section: `7541/${section}`,
    title,
    run: async (at) => {
      const peer = await at.open();
      for (const [index, block] of blocks.entries()) {
        const stream = 2 * index + 1;
        peer.send(at.headers(stream, Bit.END_HEADERS, block(at.block())), data(stream, at.target.body));
        await at.response(peer, stream);
      }
    },
  };
}

const bytes = (...values: number[]): Buffer => Buffer.from(values);
const before =
  (...parts: Buffer[]) =>
  (usual: Buffer): Buffer =>
    Buffer.concat([...parts, usual]);
const behind =
  (...parts: Buffer[]) =>
  (usual: Buffer): Buffer =>
    Buffer.concat([usual, ...parts]);
/** `www.example.com` as RFC 7541 appendix C.4.1 codes it. */
const HUFFMAN_EXAMPLE = Buffer.from('8cf1e3c2e5f23a6ba0ab90f4ff', 'hex');

/** RFC 7541. */
export const HPACK_CASES: Case[] = [
  broken('2.3.3', 'an index beyond both tables', bytes(0xbe)),
  broken('2.3.3', 'an index far beyond both tables', integer(0x80, 7, 100_000)),
  broken('2.3.3', 'a name index beyond both tables', Buffer.concat([integer(0x40, 6, 62), text('v')])),
  broken('4.2', 'a table size above what was allowed', integer(0x20, 5, 4097), false),
  broken('4.2', 'a table size of 2^32', integer(0x20, 5, 2 ** 32), false),
  broken('4.2', 'a change of the table size behind a field', bytes(0x20)),
  served('4.2', 'a change of the table size to 0 and back is accepted', before(bytes(0x20), integer(0x20, 5, 4096))),
  served('4.2', 'a table size of exactly what is allowed is accepted', before(integer(0x20, 5, 4096))),
  served('4.3', 'a smaller table drops its oldest entries', behind(indexed([['x-a', '1']])), before(bytes(0x20))),
  {
    section: '7541/4.3',
    title: 'an entry dropped by a smaller table is gone',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1, Bit.END_HEADERS, behind(indexed([['x-a', '1']]))(at.block())), data(1, at.target.body));
      await at.response(peer, 1);
      peer.send(at.headers(3, Bit.END_HEADERS, Buffer.concat([bytes(0x20), at.block(), bytes(0xbe)])));
      await at.connectionError(peer, Code.COMPRESSION_ERROR);
    },
  },
  {
    section: '7541/4.4',
    title: 'an entry larger than the table empties it',
    run: async (at) => {
      const peer = await at.open();
      const huge = indexed([['x-huge', 'y'.repeat(4096)]]);
      peer.send(
        at.headers(1, Bit.END_HEADERS, behind(indexed([['x-a', '1']]), huge)(at.block())),
        data(1, at.target.body),
      );
      await at.response(peer, 1);
      peer.send(at.headers(3, Bit.END_HEADERS, behind(bytes(0xbe))(at.block())));
      await at.connectionError(peer, Code.COMPRESSION_ERROR);
    },
  },
  {
    section: '7541/4.4',
    title: 'a new entry pushes out the oldest ones only',
    run: async (at) => {
      const peer = await at.open();
      // Four entries of 1,032 bytes each: three fit into 4,096.
      const entries = [1, 2, 3, 4].map((digit) => [`x-entry-${digit}`, 'z'.repeat(1_032 - 32 - 9)] as const);
      peer.send(at.headers(1, Bit.END_HEADERS, behind(indexed(entries))(at.block())), data(1, at.target.body));
      await at.response(peer, 1);
      peer.send(at.headers(3, Bit.END_HEADERS, behind(bytes(0xbe, 0xbf, 0xc0))(at.block())), data(3, at.target.body));
      await at.response(peer, 3);
      peer.send(at.headers(5, Bit.END_HEADERS, behind(bytes(0xc1))(at.block())));
      await at.connectionError(peer, Code.COMPRESSION_ERROR);
    },
  },
  broken('5.1', 'an integer that never ends', Buffer.concat([bytes(0xff), Buffer.alloc(12, 0x80), bytes(1)])),
  broken('5.1', 'an integer of more than 32 bits', bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)),
  broken('5.1', 'an integer cut off by the end of the block', bytes(0xff, 0x80)),
  broken('5.2', 'a string longer than the block', Buffer.concat([bytes(0), text('x-name'), bytes(0x7f, 0xff, 0x7f)])),
  broken(
    '5.2',
    'Huffman padding of more than 7 bits',
    Buffer.concat([bytes(0), text('x-pad'), bytes(0x82, 0x1f, 0xff)]),
  ),
  broken('5.2', 'Huffman padding with zeros', Buffer.concat([bytes(0), text('x-pad'), bytes(0x81, 0x18)])),
  broken(
    '5.2',
    'the end-of-string symbol in a Huffman string',
    Buffer.concat([bytes(0), text('x-eos'), bytes(0x84, 0xff, 0xff, 0xff, 0xff)]),
  ),
  served('5.2', 'a Huffman-coded value is accepted', behind(bytes(0), text('x-example'), HUFFMAN_EXAMPLE)),
  served('5.2', 'a Huffman-coded name is accepted', behind(bytes(0), HUFFMAN_EXAMPLE, text('value'))),
  served('5.2', 'an empty Huffman-coded value is accepted', behind(bytes(0), text('x-empty'), bytes(0x80))),
  broken('6.1', 'index 0', bytes(0x80)),
  served(
    '6.2.1',
    'a field that enters the table can be named by its index',
    behind(indexed([['x-kept', 'value']])),
    behind(bytes(0xbe)),
    behind(bytes(0xbe)),
  ),
  served(
    '6.2.1',
    'a field that enters the table can lend its name',
    behind(indexed([['x-kept', 'value']])),
    behind(integer(0x40, 6, 62), text('other')),
    behind(bytes(0xbe, 0xbf)),
  ),
  served(
    '6.2.2',
    'a field with an indexed name that is not kept is accepted',
    behind(integer(0, 4, 58), text('agent')),
  ),
  served('6.2.3', 'a field never to be indexed is accepted', behind(bytes(0x10), text('x-secret'), text('s'))),
  served('6.2.3', 'a name by index, never to be indexed, is accepted', behind(integer(0x10, 4, 23), text('token'))),
  {
    section: '7541/6.3',
    title: 'HEADER_TABLE_SIZE of the client bounds what the server may index, and it obeys',
    run: async (at) => {
      const peer = await at.open([Setting.HEADER_TABLE_SIZE, 0]);
      for (let stream = 1; stream < 9; stream += 2) {
        peer.send(at.request(stream));
        await at.response(peer, stream);
        // The only sizes an encoder may announce now are 0; entries must not be added, so no 01xxxxxx may appear first.
        const headers = peer.frames.filter((frame) => frame.type === 1 && frame.stream === stream);
        for (const { payload } of headers) {
          const first = payload[0] as number;
          if ((first & 0xe0) === 0x20 && (first & 0x1f) !== 0) throw new Error('the server announces a larger table');
        }
      }
    },
  },
  {
    section: '7541/C.3',
    title: "the requests of the appendix's first example are decoded",
    run: async (at) => {
      const peer = await at.open();
      const requests = [
        '828684410f7777772e6578616d706c652e636f6d',
        '828684be58086e6f2d6361636865',
        '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
      ];
      for (const [index, hex] of requests.entries()) {
        peer.send(at.headers(2 * index + 1, 5, Buffer.from(hex, 'hex')));
        await at.accepted(peer, 2 * index + 1);
      }
    },
  },
  {
    section: '7541/C.4',
    title: "the requests of the appendix's Huffman example are decoded",
    run: async (at) => {
      const peer = await at.open();
      const requests = [
        '828684418cf1e3c2e5f23a6ba0ab90f4ff',
        '828684be5886a8eb10649cbf',
        '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
      ];
      for (const [index, hex] of requests.entries()) {
        peer.send(at.headers(2 * index + 1, 5, Buffer.from(hex, 'hex')));
        await at.accepted(peer, 2 * index + 1);
      }
    },
  },
  {
    section: '7541/2.2',
    title: 'the table outlives a stream that was refused',
    run: async (at) => {
      const peer = await at.open();
      const unknown = { ':path': '/no.such.Service/Method' };
      peer.send(at.headers(1, 5, Buffer.concat([at.block(unknown), indexed([['x-kept', 'v']])])));
      await at.accepted(peer, 1);
      peer.send(at.headers(3, Bit.END_HEADERS, behind(bytes(0xbe))(at.block())), data(3, at.target.body));
      await at.response(peer, 3);
    },
  },
  {
    section: '7541/2.2',
    title: 'trailers share the table of the connection',
    run: async (at) => {
      const peer = await at.open();
      peer.send(at.headers(1), data(1, at.target.body, 0), at.headers(1, 5, indexed([['x-trailer', 'v']])));
      await at.response(peer, 1);
      peer.send(at.headers(3, Bit.END_HEADERS, behind(bytes(0xbe))(at.block())), data(3, at.target.body));
      await at.response(peer, 3);
      peer.send(
        at.headers(5, Bit.END_HEADERS, Buffer.concat([at.block(), literal([['x', 'y']])])),
        data(5, at.target.body),
      );
      await at.response(peer, 5);
    },
  },
];
