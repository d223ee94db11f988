import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RaftRequestField, RaftRequestView, writeRaftRequest } from '@etsd/proto';
import { markOf, parseTraceparent, SpanContext, withMark } from './span-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

test('the header that names a caller’s span is read as the W3C has it', () => {
  const good = parseTraceparent(`00-${TRACE}-${PARENT}-01`);
  assert.deepEqual(
    [good?.traceId.toString('hex'), good?.spanId.toString('hex'), good?.isSampled],
    [TRACE, PARENT, true],
  );
  assert.equal(parseTraceparent(`00-${TRACE}-${PARENT}-02`)?.isSampled, false);
  assert.equal(parseTraceparent(`cc-${TRACE}-${PARENT}-03-later`)?.isSampled, true);
  const wrong = [
    '',
    `00-${TRACE}-${PARENT}`,
    `ff-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-01-more`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
    `00-${TRACE}x-${PARENT}-01`,
  ];
  for (const text of wrong) assert.equal(parseTraceparent(text), null, text);
});

// Goal: an entry says the same with the mark and without it, to us and to every reader of protobuf.
test('the mark in an entry is found again and changes nothing of what the entry asks', () => {
  const body = Buffer.from([0x0a, 1, 0x61, 0x12, 1, 0x62]);
  const context = new SpanContext(Buffer.from(TRACE, 'hex'), Buffer.from(PARENT, 'hex'));
  for (const field of [RaftRequestField.Put, RaftRequestField.AuthUserAdd]) {
    const entry = writeRaftRequest(field, body, 0, body.length, 7, 9, 'ann', 3);
    const marked = withMark(entry, context);
    const [plain, view] = [new RaftRequestView(), new RaftRequestView()];
    plain.parse(entry);
    view.parse(marked);
    assert.deepEqual({ ...view }, { ...plain });
    assert.equal(markOf(entry), null);
    assert.deepEqual(markOf(marked), context);
  }
  assert.equal(markOf(Buffer.alloc(0)), null);
});
