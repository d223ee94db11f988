import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Field } from '../hpack/table.ts';
import { gunzip, gzip } from './compression.ts';
import { formatTimeout, parseTimeout } from './deadline.ts';
import { MessageReader, type MessageSink } from './message.ts';
import { binaryValues, Metadata } from './metadata.ts';
import { decodeStatusMessage, encodeStatusMessage, statusOfHttp, statusOfReset } from './status.ts';

class Sink implements MessageSink {
  readonly seen: string[] = [];
  wanted = Number.POSITIVE_INFINITY;

  messageRead(bytes: Buffer, start: number, end: number, compressed: boolean): boolean {
    this.seen.push(`${compressed ? 'z' : ''}${bytes.toString('latin1', start, end)}`);
    return this.seen.length < this.wanted;
  }

  messageTooLarge(length: number): void {
    this.seen.push(`too large ${length}`);
  }
}

function framed(...bodies: string[]): Buffer {
  return Buffer.concat(
    bodies.map((body) => {
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(body.length, 1);
      return Buffer.concat([prefix, Buffer.from(body)]);
    }),
  );
}

describe('messages in a stream of payloads', () => {
  it('come out the same however the stream is cut', () => {
    const stream = framed('first', '', 'a third and longer message', 'x');
    for (let size = 1; size <= stream.length; size++) {
      const sink = new Sink();
      const reader = new MessageReader(100);
      for (let at = 0; at < stream.length; at += size) {
        reader.push(stream, at, Math.min(stream.length, at + size), sink);
      }
      assert.deepEqual(sink.seen, ['first', '', 'a third and longer message', 'x'], `cut every ${size} bytes`);
      assert.equal(reader.heldBytes, 0);
    }
  });

  it('say how much is missing', () => {
    const reader = new MessageReader(1000);
    const stream = framed('y'.repeat(500));
    assert.equal(reader.missingBytes, 0);
    reader.push(stream, 0, 2, new Sink());
    assert.equal(reader.missingBytes, 3);
    reader.push(stream, 2, 105, new Sink());
    assert.equal(reader.missingBytes, 400);
    assert.equal(reader.heldBytes, 105);
  });

  it('are refused by their length, before it is allocated', () => {
    for (const cut of [5, 1]) {
      const sink = new Sink();
      const reader = new MessageReader(1000);
      const huge = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
      for (let at = 0; at < huge.length; at += cut) reader.push(huge, at, Math.min(huge.length, at + cut), sink);
      assert.deepEqual(sink.seen, ['too large 4294967295']);
      assert.ok(reader.heldBytes <= 5);
    }
  });

  it('are not read on when nobody wants them', () => {
    const sink = new Sink();
    sink.wanted = 1;
    const reader = new MessageReader(1000);
    const stream = framed('a', 'b');
    reader.push(stream, 0, stream.length, sink);
    reader.push(stream, 0, stream.length, sink);
    assert.deepEqual(sink.seen, ['a']);
  });

  it('carry the compressed flag', () => {
    const sink = new Sink();
    const stream = framed('data');
    stream[0] = 1;
    new MessageReader(100).push(stream, 0, stream.length, sink);
    assert.deepEqual(sink.seen, ['zdata']);
  });
});

describe('grpc-timeout', () => {
  it('is read in all units and refused otherwise', () => {
    const good: [string, number][] = [
      ['1H', 3_600_000],
      ['2M', 120_000],
      ['3S', 3000],
      ['4m', 4],
      ['5000u', 5],
      ['6000000n', 6],
      ['0n', 0],
    ];
    for (const [text, ms] of good) assert.equal(parseTimeout(text), ms, text);
    for (const text of ['', 'S', '1', '1s', '-1S', '+1S', '1.5S', '123456789S', '1 S', '1SS']) {
      assert.equal(parseTimeout(text), -1, text);
    }
  });

  it('is written with at most eight digits, never shorter than asked', () => {
    for (const ms of [0.001, 0.5, 1, 33.3, 1000, 99_999, 1e6, 1e9, 1e12]) {
      const text = formatTimeout(ms);
      assert.match(text, /^[0-9]{1,8}[HMSmun]$/);
      assert.ok(parseTimeout(text) >= ms * (1 - 1e-9), `${ms} as ${text}`);
      assert.ok(parseTimeout(text) <= ms * 1.001 + 0.001);
    }
    assert.equal(formatTimeout(-5), '0n');
    assert.equal(formatTimeout(7000.274 + 1500 - 7000.274), '1500000u', 'as asked for, not as two moments differ');
    assert.equal(formatTimeout(1e15), '99999999H');
  });
});

describe('grpc-message', () => {
  it('survives the trip, whatever is in it', () => {
    for (const text of ['', 'plain', '100 %', 'nicht möglich', 'tab\tand\nline', '漢字 🎉', '%41']) {
      const coded = encodeStatusMessage(text);
      assert.match(coded, /^[ -~]*$/);
      assert.equal(decodeStatusMessage(coded), text);
    }
  });

  it('keeps broken escapes as they are', () => {
    assert.equal(decodeStatusMessage('50% of %zz and %4'), '50% of %zz and %4');
  });
});

describe('metadata', () => {
  it('takes text and bytes and refuses what gRPC does not allow', () => {
    const metadata = new Metadata().add('a', ' padded ').add('b-bin', Buffer.from([255, 1]));
    assert.deepEqual(metadata.entries, ['a', 'padded', 'b-bin', '/wE']);
    const bad: [string, string | Buffer][] = [
      ['A', 'x'],
      ['', 'x'],
      [':path', 'x'],
      ['grpc-status', '0'],
      ['x', 'ä'],
      ['x', 'a\nb'],
      ['x-bin', 'text'],
      ['x', Buffer.alloc(1)],
    ];
    for (const [name, value] of bad) assert.throws(() => new Metadata().add(name, value), TypeError, name);
  });

  it('reads binary values, padded or not, several in one field or in several', () => {
    const fields = [new Field('b-bin', 'AQI=,AwQ'), new Field('other', 'x'), new Field('b-bin', 'BQ==')];
    assert.deepEqual(binaryValues(fields, 'b-bin'), [Buffer.from([1, 2]), Buffer.from([3, 4]), Buffer.from([5])]);
  });
});

describe('compression', () => {
  it('goes both ways', () => {
    const bytes = Buffer.alloc(10_000, 'etsd');
    const plain = gunzip(gzip(bytes), 10_000);
    assert.ok(typeof plain !== 'string' && plain.equals(bytes));
  });

  it('stops a bomb at the limit and names what is broken', () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    assert.equal(gunzip(bomb, 1_000_000), 'too large');
    assert.equal(gunzip(Buffer.from('not gzip at all'), 100), 'gzip: invalid header');
    assert.equal(gunzip(Buffer.alloc(3), 100), 'unexpected EOF');
    assert.equal(gunzip(gzipSync(Buffer.from('hello')).subarray(0, 15), 100), 'unexpected EOF');
  });
});

describe('what an end without status means', () => {
  it('follows the tables of the gRPC specification', () => {
    assert.deepEqual([7, 8, 11, 12, 1, 99].map(statusOfReset), [14, 1, 8, 7, 13, 13]);
    assert.deepEqual(
      [400, 401, 403, 404, 429, 502, 503, 504, 302].map(statusOfHttp),
      [13, 16, 7, 12, 14, 14, 14, 14, 2],
    );
  });
});
