import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { FrameReader, type FrameReceiver, Opcode, writeFrame } from './websocket-frames.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const LIMIT = 100_000;

class Heard implements FrameReceiver {
  readonly events: string[] = [];
  message(bytes: Buffer): void {
    this.events.push(`message ${bytes.toString('latin1')}`);
  }
  ping(payload: Buffer): void {
    this.events.push(`ping ${payload.toString('latin1')}`);
  }
  closed(): void {
    this.events.push('closed');
  }
  failed(code: number): void {
    this.events.push(`failed ${code}`);
  }
}

/** A frame as a client sends it. */
function masked(opcode: number, text: string, isFinal = true): Buffer {
  const plain = writeFrame(opcode, Buffer.from(text, 'latin1'));
  const at = plain.length - text.length;
  plain[0] = (isFinal ? 0x80 : 0) | opcode;
  plain[1] = (plain[1] as number) | 0x80;
  const mask = Buffer.from([1, 2, 3, 0xff]);
  const payload = Buffer.from(plain.subarray(at).map((byte, index) => byte ^ (mask[index & 3] as number)));
  return Buffer.concat([plain.subarray(0, at), mask, payload]);
}

function read(bytes: Buffer, cut: () => number, limit = LIMIT): string[] {
  const heard = new Heard();
  const reader = new FrameReader(limit, heard);
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + cut());
    reader.push(bytes.subarray(at, end));
    at = end;
  }
  return heard.events;
}

test('goal: messages come out as they went in, however the bytes are cut', (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Prng(seed);
  const long = 'x'.repeat(70_000);
  const bytes = Buffer.concat([
    masked(Opcode.TEXT, 'one'),
    masked(Opcode.TEXT, 'tw', false),
    masked(Opcode.PING, 'p'),
    masked(Opcode.PONG, ''),
    masked(Opcode.CONTINUATION, 'o'),
    masked(Opcode.BINARY, 'y'.repeat(300)),
    masked(Opcode.BINARY, long),
    masked(Opcode.CLOSE, ''),
    masked(Opcode.TEXT, 'too late'),
  ]);
  const wanted = ['message one', 'ping p', 'message two', `message ${'y'.repeat(300)}`, `message ${long}`, 'closed'];
  assert.deepEqual(
    read(bytes, () => bytes.length),
    wanted,
  );
  for (let round = 0; round < 20; round++)
    assert.deepEqual(
      read(bytes, () => 1 + random.below(3000)),
      wanted,
    );
  assert.deepEqual(
    read(bytes.subarray(0, 400), () => 1),
    wanted.slice(0, 4),
  );
});

test('goal: what breaks the rules of RFC 6455, or a bound, ends the connection with the code for it', () => {
  const whole = (...frames: Buffer[]): string[] => read(Buffer.concat(frames), () => 1 << 20);
  const reserved = masked(Opcode.TEXT, 'a');
  reserved[0] = (reserved[0] as number) | 0x40;
  const rows: [string, Buffer[], string][] = [
    ['not masked', [writeFrame(Opcode.TEXT, Buffer.from('a'))], 'failed 1002'],
    ['reserved bits', [reserved], 'failed 1002'],
    ['an unknown kind', [masked(3, 'a')], 'failed 1002'],
    ['a control frame in pieces', [masked(Opcode.PING, 'a', false)], 'failed 1002'],
    ['a long control frame', [masked(Opcode.PING, 'a'.repeat(126))], 'failed 1002'],
    ['going on with nothing', [masked(Opcode.CONTINUATION, 'a')], 'failed 1002'],
    ['a second message within the first', [masked(1, 'a', false), masked(1, 'b')], 'failed 1002'],
    ['too long', [masked(Opcode.TEXT, 'a'.repeat(LIMIT + 1))], 'failed 1009'],
    ['too long in pieces', [masked(1, 'a'.repeat(60_000), false), masked(0, 'a'.repeat(60_000))], 'failed 1009'],
  ];
  for (const [what, frames, wanted] of rows) assert.deepEqual(whole(...frames), [wanted], what);
  assert.deepEqual(whole(masked(Opcode.TEXT, 'a').subarray(0, 5)), [], 'nothing of half a frame');
});

test('goal: no bytes do harm; method: random ones, and frames with random changes', (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Prng(seed);
  for (let round = 0; round < 3000; round++) {
    const bytes = random.chance(0.3)
      ? random.bytes(random.below(60))
      : masked(random.below(12), 'abc'.repeat(random.below(60)));
    if (bytes.length > 0) bytes[random.below(Math.min(16, bytes.length))] = random.below(256);
    const events = read(bytes, () => 1 + random.below(20), 1000);
    assert.ok(events.length <= bytes.length);
  }
});
