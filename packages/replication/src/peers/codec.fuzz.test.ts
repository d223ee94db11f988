/**
 * Goal: whatever a peer sends, decoders return or throw one of two errors, hand out nothing that raft would trip over
 * unchecked, and take no more memory than bytes came. Method: good streams with a few things wrong, cut at random.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Prng } from '@etsd/base';
import { Entry, Message, MessageType, ProtoError } from '@etsd/proto';
import { forSeeds, mutate } from '@etsd/testkit';
import { messageFault } from './check-message.ts';
import {
  AppendCache,
  AppendDecoder,
  AppendEncoder,
  type FrameDecoder,
  FrameError,
  MessageDecoder,
  MessageEncoder,
} from './codec.ts';

const LOCAL = '1bd080b076ffff3e';
const REMOTE = '02943212f5e2cf73';

function randomAppend(prng: Prng, index: number): Message {
  const term = prng.between(1, 3);
  const entries = Array.from({ length: prng.below(5) }, (_, place) =>
    Entry.create({ term, index: index + 1 + place, data: prng.bytes(prng.below(40)) }),
  );
  return Message.create({
    type: MessageType.MsgApp,
    to: LOCAL,
    from: REMOTE,
    term,
    logTerm: term,
    index,
    entries,
    commit: prng.below(index + 1),
  });
}

function randomStream(prng: Prng, isAppend: boolean): Buffer {
  const encoder = isAppend ? new AppendEncoder(new AppendCache()) : new MessageEncoder();
  const parts: Buffer[] = [];
  let index = prng.below(100);
  for (let count = prng.between(1, 8); count > 0; count--) {
    const message = randomAppend(prng, index);
    index += message.entries.length;
    const chunk = encoder.encode(message);
    parts.push(chunk.subarray(chunk.indexOf('\r\n') + 2, chunk.length - 2));
  }
  return Buffer.concat(parts);
}

function feed(decoder: FrameDecoder, prng: Prng, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const length = prng.between(1, prng.chance(0.5) ? 10 : bytes.length);
    decoder.push(bytes.subarray(at, at + length));
    at += length;
  }
}

for (const isAppend of [true, false]) {
  test(`decoder of the ${isAppend ? 'append' : 'message'} stream survives anything`, async () => {
    let refused = 0;
    let taken = 0;
    await forSeeds(3000, (prng) => {
      const receive = (message: Message): void => {
        taken++;
        if (messageFault(message, LOCAL) !== '' || message.type !== MessageType.MsgApp) return;
        for (const [place, entry] of message.entries.entries()) assert.equal(entry.index, message.index + 1 + place);
      };
      const decoder = isAppend ? new AppendDecoder(LOCAL, REMOTE, receive) : new MessageDecoder(receive);
      try {
        feed(decoder, prng, mutate(prng, randomStream(prng, isAppend)));
      } catch (error) {
        if (!(error instanceof FrameError || error instanceof ProtoError)) throw error;
        refused++;
      }
    });
    assert.ok(refused > 100, `only ${refused} streams were refused`);
    assert.ok(taken > 1000, `only ${taken} messages came through`);
  });
}

test('announced bytes that never come take no memory', () => {
  const before = process.memoryUsage().arrayBuffers;
  const decoders: FrameDecoder[] = [];
  for (let count = 0; count < 50; count++) {
    const decoder = new AppendDecoder(LOCAL, REMOTE, () => {});
    decoder.push(Buffer.from('020000000007000000aabb', 'hex'));
    decoders.push(decoder);
  }
  const taken = process.memoryUsage().arrayBuffers - before;
  assert.ok(taken < 100 * 1024 * 1024, `50 frames of 117 MB, announced only, took ${taken} bytes`);
  assert.equal(decoders.length, 50);
});
