/**
 * Goal: gRPC's framing and header values of any bytes are read or refused, the same however they are cut, and take no more
 * memory than came. Method: good streams with a few things wrong, cut at random.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Prng } from '@etsd/base';
import { forSeeds, mutate } from '@etsd/testkit';
import { Field } from '../hpack/table.ts';
import { parseTimeout } from './deadline.ts';
import { MessageReader, type MessageSink } from './message.ts';
import { binaryValues } from './metadata.ts';

const LIMIT = 1000;

class Gathered implements MessageSink {
  readonly seen: string[] = [];
  messageRead(bytes: Buffer, start: number, end: number, compressed: boolean): boolean {
    assert.ok(end - start <= LIMIT);
    this.seen.push(`${compressed} ${bytes.toString('hex', start, end)}`);
    return true;
  }
  messageTooLarge(length: number): void {
    assert.ok(length > LIMIT);
    this.seen.push(`too large ${length}`);
  }
}

function stream(prng: Prng): Buffer {
  const parts: Buffer[] = [];
  for (let count = prng.between(1, 5); count > 0; count--) {
    const message = prng.bytes(prng.below(300));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt8(prng.below(2), 0);
    prefix.writeUInt32BE(message.length, 1);
    parts.push(prefix, message);
  }
  return mutate(prng, Buffer.concat(parts));
}

test('messages, however they are cut', async () => {
  let tooLarge = 0;
  await forSeeds(3000, (prng) => {
    const bytes = stream(prng);
    const whole = new Gathered();
    new MessageReader(LIMIT).push(bytes, 0, bytes.length, whole);
    const cut = new Gathered();
    const reader = new MessageReader(LIMIT);
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + prng.between(1, prng.chance(0.5) ? 5 : 200));
      reader.push(bytes, at, end, cut);
      at = end;
      assert.ok(reader.heldBytes <= LIMIT + 5);
    }
    assert.deepEqual(cut.seen, whole.seen, bytes.toString('hex'));
    if (whole.seen.some((line) => line.startsWith('too'))) tooLarge++;
  });
  assert.ok(tooLarge > 100);
});

test('timeouts and binary metadata', async () => {
  await forSeeds(3000, (prng) => {
    const timeout = parseTimeout(
      mutate(prng, Buffer.from(prng.pick(['100m', '5S', '1H', '99999999n']))).toString('latin1'),
    );
    assert.ok(Number.isFinite(timeout), `${timeout}`);
    const value = mutate(prng, Buffer.from('AAECAw==,////')).toString('latin1');
    const values = binaryValues([new Field('x-bin', value)], 'x-bin');
    assert.ok(values.reduce((sum, { length }) => sum + length, 0) <= value.length);
  });
});
