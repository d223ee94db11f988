/** Goal: what no comparison with etcd shows: bounds, deadlines, leaving, large answers. Method: handlers of the test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyValue, RangeRequest, RangeResponse, ResponseHeader, WatchRequest, WatchResponse } from '@etsd/proto';
import type { ApiCall, ApiHandler } from '../../context.ts';
import { FakeExchange, type FakeRequest } from '../exchange.fixture.ts';
import { Gateway } from './gateway.ts';

class Timers {
  readonly pending: { ms: number; callback: () => void }[] = [];
  readonly after = (ms: number, callback: () => void): { cancel(): void } => {
    const timer = { ms, callback };
    this.pending.push(timer);
    return { cancel: () => this.pending.splice(this.pending.indexOf(timer), 1) };
  };
}

interface Setting {
  readonly gateway: Gateway;
  readonly timers: Timers;
}

function gatewayOf(handlers: Readonly<Record<string, ApiHandler>>, passesIdentity = false): Setting {
  const timers = new Timers();
  const gateway = new Gateway({
    handlerOf: (path) => handlers[path],
    after: timers.after,
    messageBytesMax: 1000,
    bodyBytesMax: 3000,
    valuesMax: 100,
    passesIdentity,
  });
  return { gateway, timers };
}

const RANGE = '/etcdserverpb.KV/Range';
const WATCH = '/etcdserverpb.Watch/Watch';

function serve({ gateway }: Setting, request: Partial<FakeRequest>, path = '/v3/kv/range'): FakeExchange {
  const exchange = new FakeExchange({ method: 'POST', target: path, ...request });
  gateway.serve(exchange, path, ['X-Common', 'yes']);
  return exchange;
}

/** Holds the calls it is given. */
class Holding implements ApiHandler {
  readonly kind: 'unary' | 'stream';
  readonly calls: ApiCall[] = [];
  readonly messages: Buffer[] = [];
  closedCalls = 0;
  halfClosedCalls = 0;
  drainedCalls = 0;

  constructor(kind: 'unary' | 'stream') {
    this.kind = kind;
  }

  opened(call: ApiCall): void {
    this.calls.push(call);
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    if (this.kind === 'unary') this.calls.push(call);
    this.messages.push(Buffer.from(bytes.subarray(start, end)));
  }

  halfClosed(): void {
    this.halfClosedCalls++;
  }

  closed(): void {
    this.closedCalls++;
  }

  drained(): void {
    this.drainedCalls++;
  }
}

test('a call: message, answer, headers, and closed exactly once', async () => {
  const handler = new Holding('unary');
  const exchange = serve(gatewayOf({ [RANGE]: handler }), { body: '{"key":"YQ=="}' });
  assert.equal(RangeRequest.decode(handler.messages[0] as Buffer).key.toString(), 'a');
  const [call] = handler.calls as [ApiCall];
  const answer = RangeResponse.encode(RangeResponse.create({ count: 3 }));
  call.begin(answer.length);
  answer.copy(call.target.buffer, call.target.offset);
  call.commit();
  assert.equal(exchange.status, 0, 'nothing before the call ended');
  call.end();
  call.end();
  call.fail(2, 'too late');
  await exchange.over;
  assert.deepEqual([exchange.status, exchange.text, handler.closedCalls], [200, '{"count":"3"}', 1]);
  assert.deepEqual(
    [exchange.answered('x-common'), exchange.answered('grpc-metadata-content-type')],
    ['yes', 'application/grpc'],
  );
});

test('an answer that comes in parts is written as it comes, however it is cut', () => {
  const kvs = Array.from({ length: 50 }, (_, index) =>
    KeyValue.create({ key: Buffer.from(`key${index}`), value: Buffer.alloc(index * 7, 'v'), modRevision: index + 1 }),
  );
  const header = ResponseHeader.create({ revision: 9 });
  const bytes = RangeResponse.encode(RangeResponse.create({ header, kvs, more: true, count: 70 }));
  let whole = '';
  for (const size of [bytes.length, 1, 2, 13, 1000]) {
    const handler = new Holding('unary');
    const exchange = serve(gatewayOf({ [RANGE]: handler }), { body: '{}' });
    const [call] = handler.calls as [ApiCall];
    assert.ok(call.beginParts(bytes.length));
    for (let at = 0; at < bytes.length; at += size) {
      const part = Buffer.from(bytes.subarray(at, at + size));
      call.sendPart(part);
      part.fill(0xff);
    }
    call.end();
    if (whole === '') whole = exchange.text;
    assert.equal(exchange.text, whole, `parts of ${size}`);
  }
  const shown = JSON.parse(whole) as { kvs: { key: string }[]; count: string; more: boolean };
  assert.deepEqual([shown.kvs.length, shown.count, shown.more], [50, '70', true]);
  const handler = new Holding('unary');
  const exchange = serve(gatewayOf({ [RANGE]: handler }), { body: '{}' });
  (handler.calls[0] as ApiCall).beginParts(bytes.length);
  (handler.calls[0] as ApiCall).fail(13, 'broke');
  assert.ok(exchange.isAborted, 'an answer that is not whole does not look as if it were');
});

test('bounds: bodies, messages, time', () => {
  const handler = new Holding('unary');
  const setting = gatewayOf({ [RANGE]: handler });
  const long = serve(setting, { body: ' '.repeat(3001) });
  assert.deepEqual([long.status, JSON.parse(long.text).code], [429, 8]);
  const big = serve(setting, { body: JSON.stringify({ key: Buffer.alloc(1200).toString('base64') }) });
  assert.equal(big.text, '{"code":8, "message":"grpc: received message larger than max (1203 vs. 1000)"}');
  assert.equal(handler.calls.length, 0, 'no handler was bothered');
  const slow = serve(setting, { body: '{}', headers: { 'grpc-timeout': '20m' } });
  assert.equal(setting.timers.pending[0]?.ms, 20);
  setting.timers.pending[0]?.callback();
  assert.deepEqual([slow.status, handler.closedCalls], [504, 1]);
  serve(setting, { body: '{}', headers: { 'grpc-timeout': '20m' } });
  (handler.calls.at(-1) as ApiCall).end();
  assert.equal(setting.timers.pending.length, 1, 'a timer ends with its call');
});

test('a client that leaves ends its call', () => {
  const unary = new Holding('unary');
  const stream = new Holding('stream');
  const setting = gatewayOf({ [RANGE]: unary, [WATCH]: stream });
  serve(setting, { body: '{}' }).leave();
  assert.deepEqual([unary.closedCalls, unary.calls[0]?.isOpen], [1, false]);
  const watch = serve(setting, {}, '/v3/watch');
  watch.leave();
  assert.deepEqual([stream.closedCalls, stream.calls[0]?.isOpen], [1, false]);
  assert.doesNotThrow(() => stream.calls[0]?.send(Buffer.alloc(0)));
});

test('a stream: messages as they come, in pieces and several at once; room is asked for and told of', async () => {
  const handler = new Holding('stream');
  const exchange = serve(gatewayOf({ [WATCH]: handler }), {}, '/v3/watch');
  const text = '{"create_request":{"key":"YQ=="}}\n{"cancel_request":{"watch_id":"5"}}{"progress_request":{}}';
  for (const byte of Buffer.from(text)) exchange.body?.data(Buffer.from([byte]), 0, 1);
  assert.deepEqual(
    handler.messages.map(
      (bytes) => Object.entries(WatchRequest.decode(bytes)).find(([, value]) => value !== null)?.[0],
    ),
    ['createRequest', 'cancelRequest', 'progressRequest'],
  );
  const [call] = handler.calls as [ApiCall];
  exchange.queuedBytes = 77;
  assert.equal(call.queuedBytes, 77);
  exchange.onDrained?.();
  assert.equal(handler.drainedCalls, 1);
  call.send(WatchResponse.encode(WatchResponse.create({ created: true })));
  assert.deepEqual([exchange.status, exchange.text], [200, '{"result":{"created":true}}\n']);
  exchange.body?.ended();
  assert.equal(handler.halfClosedCalls, 1);
  call.fail(14, 'gone <away>');
  await exchange.over;
  assert.match(exchange.text, /\n\{"error":\{"code":14,"message":"gone \\u003caway\\u003e"\}\}\n$/);
});

test('a stream is bounded, and ends over what is no message', () => {
  for (const [body, pattern] of [
    [`{"x":"${'y'.repeat(4000)}"}`, /"code":8,"message":"grpc: received message larger than max/],
    ['{"create_request":5}', /"code":3,"message":"Failed to decode request: proto:.*unexpected token 5/],
    ['{"create_request":{}', /"code":3,"message":"Failed to decode request: unexpected EOF/],
    ['{} ]', /invalid character ']' looking for beginning of value/],
  ] as const) {
    const handler = new Holding('stream');
    const exchange = serve(gatewayOf({ [WATCH]: handler }), { body }, '/v3/watch');
    assert.match(exchange.text, pattern);
    assert.deepEqual([handler.closedCalls, exchange.isOpen], [1, false]);
  }
});

test('what a call says of who calls: no certificate, unless that was asked for', () => {
  for (const passesIdentity of [false, true]) {
    const handler = new Holding('unary');
    const headers = {
      authorization: 'token',
      'grpc-metadata-token': 'other',
      'grpc-metadata-hasleader': 'true',
      accept: '*/*',
    };
    serve(gatewayOf({ [RANGE]: handler }, passesIdentity), { body: '{}', headers, peerCommonName: 'ann' });
    const [call] = handler.calls as [ApiCall];
    assert.equal(call.peerCommonName, passesIdentity ? 'ann' : '');
    assert.equal(call.header('grpcgateway-accept') !== undefined, !passesIdentity);
    assert.deepEqual(
      [call.header('authorization'), call.header('token'), call.header('hasleader'), call.header('accept')],
      ['token', 'other', 'true', undefined],
    );
  }
});

test('a method that is not served is not found', () => {
  const exchange = serve(gatewayOf({}), { body: '{}' });
  assert.deepEqual([exchange.status, exchange.text], [404, '{"code":5, "message":"Not Found"}']);
});
