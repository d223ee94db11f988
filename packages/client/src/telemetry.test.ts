/** Goal: a program that uses OpenTelemetry sees every call as a span, and the server is told of the trace. Method: the real API. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { type Context, context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import * as methods from './methods.ts';
import { headerAt, Neighbourhood } from './testing/neighbours.ts';

interface Recorded {
  readonly name: string;
  readonly kind: number;
  readonly attributes: Record<string, unknown>;
  status: number;
  ended: boolean;
}

/** Sets a provider that keeps what spans are told. */
function record(): Recorded[] {
  const spans: Recorded[] = [];
  const startSpan = (name: string, options: { kind?: number; attributes?: object } = {}): Span => {
    const own: Recorded = {
      name,
      kind: options.kind ?? 0,
      attributes: { ...options.attributes },
      status: 0,
      ended: false,
    };
    spans.push(own);
    const span = {
      setAttribute(key: string, value: unknown) {
        own.attributes[key] = value;
        return span;
      },
      setStatus({ code }: { code: number }) {
        own.status = code;
        return span;
      },
      recordException() {},
      end() {
        own.ended = true;
      },
      spanContext: () => ({ traceId: 'a'.repeat(32), spanId: String(spans.length).padStart(16, '0'), traceFlags: 1 }),
    };
    return span as unknown as Span;
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan: () => assert.fail() }) as never });
  propagation.setGlobalPropagator({
    inject(from: Context, carrier, setter) {
      const found = trace.getSpanContext(from);
      if (found !== undefined) setter.set(carrier, 'traceparent', `00-${found.traceId}-${found.spanId}-01`);
    },
    extract: (from) => from,
    fields: () => ['traceparent'],
  });
  return spans;
}

afterEach(() => {
  trace.disable();
  propagation.disable();
  context.disable();
});

test('calls are spans of the kind client, and the server gets the trace', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  const seen: (string | undefined)[] = [];
  member.on(methods.Put, 'unary', (call) => {
    seen.push(call.header('traceparent'));
    call.answer({ header: headerAt(1) });
  });
  member.on(methods.Compact, 'unary', (call) =>
    call.fail(11, 'etcdserver: mvcc: required revision has been compacted'),
  );
  const client = around.client(['m']);
  await around.outcome(client.kv.put('before', ''));
  const spans = record();
  await around.outcome(client.kv.put('k', 'v'));
  await assert.rejects(around.outcome(client.kv.compact(1)));
  const silent = around.client(['m'], { telemetry: false });
  await around.outcome(silent.kv.put('k', 'v'));

  assert.deepEqual(
    spans.map(({ attributes, ended, kind, name, status }) => [
      name,
      kind,
      attributes['rpc.grpc.status_code'],
      status,
      ended,
    ]),
    [
      ['etcdserverpb.KV/Put', SpanKind.CLIENT, 0, 0, true],
      ['etcdserverpb.KV/Compact', SpanKind.CLIENT, 11, SpanStatusCode.ERROR, true],
    ],
  );
  assert.equal(spans[0]?.attributes['server.address'], 'm:2379');
  assert.deepEqual(seen, [undefined, `00-${'a'.repeat(32)}-0000000000000001-01`, undefined]);
  await client.close();
  await silent.close();
});

test('the API can be handed in, for runtimes where it is not found', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  member.on(methods.Put, 'unary', (call) => call.answer({}));
  const spans = record();
  const client = around.client(['m'], { telemetry: { trace, context, propagation } as never });
  await around.outcome(client.kv.put('k', 'v'));
  assert.equal(spans.length, 1);
  await client.close();
});
