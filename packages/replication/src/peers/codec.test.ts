/** Goal: frames are etcd's to the byte, and come out of any cutting of the stream into chunks as they went in. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Entry, Message, MessageType } from '@etsd/proto';
import { AppendCache, AppendDecoder, AppendEncoder, FrameError, MessageDecoder, MessageEncoder } from './codec.ts';
import { FRAME_BYTES_MAX, FRAME_ENTRIES_MAX } from './limits.ts';

const LEADER = '02943212f5e2cf73';
const LEARNER = '1bd080b076ffff3e';

/** The content of chunks as RFC 9112 §7.1 frames them. */
function unchunk(bytes: Buffer): Buffer {
  const contents: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\r\n', at);
    const length = Number.parseInt(bytes.toString('latin1', at, end), 16);
    contents.push(bytes.subarray(end + 2, end + 2 + length));
    assert.equal(bytes.toString('latin1', end + 2 + length, end + 4 + length), '\r\n');
    at = end + 4 + length;
  }
  return Buffer.concat(contents);
}

function hex(bytes: Buffer): string {
  return unchunk(bytes).toString('hex');
}

function append(index: number, count: number, term: number, commit: number): Message {
  const entries = Array.from({ length: count }, (_, place) =>
    Entry.create({ term, index: index + 1 + place, data: Buffer.from(`data ${index + 1 + place}`) }),
  );
  return Message.create({
    type: MessageType.MsgApp,
    from: LEADER,
    to: LEARNER,
    term,
    logTerm: term,
    index,
    entries,
    commit,
  });
}

describe('frames going out', () => {
  it('message stream: the bytes etcd 3.5 was seen to send', () => {
    const encoder = new MessageEncoder();
    assert.equal(
      hex(encoder.signOfLife),
      '000000000000001e08081000180020002800300040004a0a12080a0228001000180050005800',
    );
    const heartbeat = Message.create({
      type: MessageType.MsgHeartbeat,
      to: LEARNER,
      from: LEADER,
      term: 2,
      commit: 30,
    });
    assert.equal(
      hex(encoder.encode(heartbeat)),
      '000000000000002e080810befeffb78796a0e81b18f39e8bafafc28cca02200228003000401e4a0a12080a0228001000180050005800',
    );
  });

  it('append stream: a whole append first, then short ones, whole again where it does not go on', () => {
    const encoder = new AppendEncoder(new AppendCache());
    assert.equal(hex(encoder.signOfLife), '00');
    assert.match(hex(encoder.encode(append(28, 2, 2, 28))), /^02/);
    assert.equal(hex(encoder.encode(append(30, 0, 2, 30))), '010000000000000000000000000000001e');
    assert.equal(
      hex(encoder.encode(append(30, 1, 2, 31))),
      `010000000000000001000000000000000f08001002181f2207${Buffer.from('data 31').toString('hex')}000000000000001f`,
    );
    assert.match(hex(encoder.encode(append(30, 1, 2, 31))), /^02/, 'again from an index already sent');
    assert.match(hex(encoder.encode(append(31, 1, 3, 31))), /^02/, 'in another term');
    assert.match(hex(encoder.encode(append(32, 1, 3, 31))), /^01/);
  });

  it('followers that are equally far are sent the same buffer, made once', () => {
    const cache = new AppendCache();
    const encoders = [new AppendEncoder(cache), new AppendEncoder(cache)];
    const first = append(0, 1, 1, 0);
    for (const encoder of encoders) encoder.encode(first);
    const next = append(1, 3, 1, 1);
    const [left, right] = encoders.map((encoder) => encoder.encode(Message.create({ ...next, to: LEARNER })));
    assert.equal(left, right);
    const later = append(4, 3, 1, 4);
    assert.notEqual(encoders[0]!.encode(later), left);
  });
});

describe('frames coming in', () => {
  const sent = [
    append(28, 2, 2, 28),
    append(30, 0, 2, 30),
    append(30, 3, 2, 31),
    append(7, 1, 3, 31),
    append(8, 1, 3, 8),
  ];

  it('the same messages come out however the bytes are cut', () => {
    const appends = new AppendEncoder(new AppendCache());
    const messages = new MessageEncoder();
    const appendBytes = Buffer.concat([appends.signOfLife, ...sent.map((message) => appends.encode(message))]);
    const messageBytes = Buffer.concat([messages.signOfLife, ...sent.map((message) => messages.encode(message))]);
    for (const step of [1, 2, 3, 7, 8, 9, 64, 100_000]) {
      for (const isAppend of [true, false]) {
        const got: Message[] = [];
        const receive = (message: Message): number => got.push(message);
        const decoder = isAppend ? new AppendDecoder(LEARNER, LEADER, receive) : new MessageDecoder(receive);
        const bytes = unchunk(isAppend ? appendBytes : messageBytes);
        for (let at = 0; at < bytes.length; at += step) decoder.push(bytes.subarray(at, at + step));
        assert.deepEqual(got, sent, `${isAppend ? 'append' : 'message'} stream in steps of ${step}`);
      }
    }
  });

  it('a large piece is put together once, in memory of its own', () => {
    const data = Buffer.alloc(5_000_000, 'x');
    const large = Message.create({ ...append(1, 0, 1, 0), entries: [Entry.create({ term: 1, index: 2, data })] });
    const bytes = unchunk(new AppendEncoder(new AppendCache()).encode(large));
    const got: Message[] = [];
    const decoder = new AppendDecoder(LEARNER, LEADER, (message) => got.push(message));
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 65_536) chunks.push(Buffer.from(bytes.subarray(at, at + 65_536)));
    for (const chunk of chunks) decoder.push(chunk);
    for (const chunk of chunks) chunk.fill(0);
    assert.deepEqual(got[0]!.entries[0]!.data, data);
  });

  const frame = (type: number, ...numbers: number[]): Buffer => {
    const bytes = Buffer.alloc(1 + numbers.length * 8);
    bytes[0] = type;
    numbers.forEach((number, place) => void bytes.writeBigUInt64BE(BigInt(number), 1 + place * 8));
    return bytes;
  };
  const malformed: ReadonlyArray<readonly [what: string, bytes: Buffer]> = [
    ['an unknown type', frame(3, 0)],
    ['too many entries', frame(1, FRAME_ENTRIES_MAX + 1)],
    ['an entry too long', frame(1, 1, FRAME_BYTES_MAX + 1)],
    ['a message too long', frame(2, FRAME_BYTES_MAX + 1)],
    ['a message of no bytes', frame(2, 0)],
    ['something else than an append', Buffer.concat([frame(2, 2), Buffer.from([8, 8])])],
  ];
  for (const [what, bytes] of malformed) {
    it(`refuses ${what}`, () => {
      const decoder = new AppendDecoder(LEARNER, LEADER, () => assert.fail('a message came out'));
      assert.throws(() => decoder.push(bytes), FrameError);
    });
  }

  it('refuses a message too long on the message stream', () => {
    const decoder = new MessageDecoder(() => assert.fail('a message came out'));
    assert.throws(() => decoder.push(frame(2, FRAME_BYTES_MAX + 1).subarray(1)), FrameError);
  });
});
