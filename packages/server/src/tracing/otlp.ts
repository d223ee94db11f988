/**
 * The part of OpenTelemetry's protocol (OTLP 1, `opentelemetry.proto.collector.trace.v1.TraceService/Export`) that a
 * sender of spans needs, written as bytes:
 *
 *     ExportTraceServiceRequest 1 ─▶ ResourceSpans 1 ─▶ Resource 1 ─▶ attributes
 *                                                  2 ─▶ ScopeSpans 1 ─▶ scope: name, version
 *                                                                  2 ─▶ Span: trace 1, id 2, parent 4, name 5, kind 6,
 *                                                                       start 7, end 8, attributes 9, status 15
 */
import { varintSize, writeVarint } from '@etsd/proto';
import type { SpanContext } from './span-context.ts';

export const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

export const SpanKind = { INTERNAL: 1, SERVER: 2 } as const;

export type Attributes = Readonly<Record<string, string | number>>;

export interface SpanFields {
  readonly context: SpanContext;
  readonly name: string;
  readonly kind: number;
  /** Milliseconds since 1970, with a fraction. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  /** What went wrong; empty where nothing did. */
  readonly error: string;
}

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const STATUS_ERROR = 2;

/** One span, as a field of its list. */
export function encodeSpan({ context, name, kind, startMs, endMs, attributes, error }: SpanFields): Buffer {
  const parts = [
    bytesField(1, context.traceId),
    bytesField(2, context.spanId),
    ...(context.parentId.length === 0 ? [] : [bytesField(4, context.parentId)]),
    bytesField(5, Buffer.from(name)),
    varintField(6, kind),
    nanosField(7, startMs),
    nanosField(8, endMs),
    ...attributeFields(9, attributes),
  ];
  if (error !== '') {
    parts.push(bytesField(15, Buffer.concat([bytesField(2, Buffer.from(error)), varintField(3, STATUS_ERROR)])));
  }
  return bytesField(2, Buffer.concat(parts));
}

/** What is the same for all spans of a member. */
export class Envelope {
  private readonly resource: Buffer;
  private readonly scope: Buffer;

  constructor(resource: Attributes, scopeName: string, scopeVersion: string) {
    this.resource = bytesField(1, Buffer.concat(attributeFields(1, resource)));
    const scope = [bytesField(1, Buffer.from(scopeName)), bytesField(2, Buffer.from(scopeVersion))];
    this.scope = bytesField(1, Buffer.concat(scope));
  }

  /** A request with these spans. */
  request(spans: readonly Buffer[]): Buffer {
    const scopeSpans = bytesField(2, Buffer.concat([this.scope, ...spans]));
    return bytesField(1, Buffer.concat([this.resource, scopeSpans]));
  }
}

function attributeFields(number: number, attributes: Attributes): Buffer[] {
  return Object.entries(attributes).map(([key, value]) => {
    const held = typeof value === 'string' ? bytesField(1, Buffer.from(value)) : varintField(3, value);
    return bytesField(number, Buffer.concat([bytesField(1, Buffer.from(key)), bytesField(2, held)]));
  });
}

function bytesField(number: number, bytes: Buffer): Buffer {
  const tag = number * 8 + WIRE_BYTES;
  const field = Buffer.allocUnsafe(varintSize(tag) + varintSize(bytes.length) + bytes.length);
  bytes.copy(field, writeVarint(field, writeVarint(field, 0, tag), bytes.length));
  return field;
}

function varintField(number: number, value: number): Buffer {
  const tag = number * 8 + WIRE_VARINT;
  const field = Buffer.allocUnsafe(varintSize(tag) + varintSize(value));
  writeVarint(field, writeVarint(field, 0, tag), value);
  return field;
}

/** Nanoseconds since 1970 do not fit a number: microseconds do, and are multiplied in halves. */
function nanosField(number: number, ms: number): Buffer {
  const field = Buffer.allocUnsafe(9);
  field[0] = number * 8 + WIRE_FIXED64;
  const micros = Math.round(ms * 1000);
  const low = (micros % TWO_32) * 1000;
  field.writeUInt32LE(low % TWO_32, 1);
  field.writeUInt32LE((Math.floor(micros / TWO_32) * 1000 + Math.floor(low / TWO_32)) % TWO_32, 5);
  return field;
}

const TWO_32 = 0x1_0000_0000;
