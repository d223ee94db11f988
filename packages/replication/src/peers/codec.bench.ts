/**
 * What the frames of an append cost, without sockets: `node packages/replication/src/peers/codec.bench.ts`. One line per
 * size of batch: microseconds to encode for the first and for another follower, and to decode.
 */
import { Entry, Message, MessageType } from '@etsd/proto';
import { AppendCache, AppendDecoder, AppendEncoder } from './codec.ts';

const ROUNDS = Number(process.argv[2] ?? '20000');
const data = Buffer.alloc(120, 'd');

function appendOf(index: number, count: number): Message {
  const entries = Array.from({ length: count }, (_, place) =>
    Entry.create({ term: 1, index: index + 1 + place, data }),
  );
  return Message.create({ type: MessageType.MsgApp, term: 1, logTerm: 1, index, entries });
}

for (const count of [1, 10, 100]) {
  const rounds = Math.ceil(ROUNDS / count);
  const messages = Array.from({ length: rounds }, (_, round) => appendOf(round * count, count));
  const cache = new AppendCache();
  const encoders = [new AppendEncoder(cache), new AppendEncoder(cache)] as const;
  const spent = [0, 0];
  const frames: Buffer[] = [];
  for (const message of messages) {
    encoders.forEach((encoder, place) => {
      const start = performance.now();
      const frame = encoder.encode(message);
      spent[place]! += performance.now() - start;
      if (place === 0) frames.push(frame.subarray(frame.indexOf('\r\n') + 2, frame.length - 2));
    });
  }
  let entries = 0;
  const decoder = new AppendDecoder('000000000000000a', '000000000000000b', (message) => {
    entries += message.entries.length;
  });
  const start = performance.now();
  for (const frame of frames) decoder.push(frame);
  const decoding = performance.now() - start;
  if (entries !== rounds * count) throw new Error('entries were lost');
  const each = (ms: number): string => ((ms * 1000) / rounds).toFixed(2);
  console.log(
    `${count} entries: encode ${each(spent[0]!)} µs, again ${each(spent[1]!)} µs, decode ${each(decoding)} µs`,
  );
}
