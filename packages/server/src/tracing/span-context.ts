/** Who a span is: ids as the W3C's Trace Context and OpenTelemetry have them. */
import { EMPTY } from '@etsd/base';

export const TRACE_ID_BYTES = 16;
export const SPAN_ID_BYTES = 8;

/** A span that is recorded. */
export class SpanContext {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  /** Empty for the first span of a trace. */
  readonly parentId: Buffer;

  constructor(traceId: Buffer, spanId: Buffer, parentId: Buffer = EMPTY) {
    this.traceId = traceId;
    this.spanId = spanId;
    this.parentId = parentId;
  }
}

/** What a caller says of the span that it calls from. */
export interface ParentSpan {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly isSampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * Reads the header `traceparent` (W3C Trace Context, §3.2): `00-<trace id>-<span id>-<flags>`. Null for what is none:
 * version ff, ids of zeros, more behind the flags in version 00.
 */
export function parseTraceparent(text: string): ParentSpan | null {
  const [, version, trace, span, flags, more] = TRACEPARENT.exec(text) ?? [];
  if (trace === undefined || span === undefined || flags === undefined) return null;
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (/^0+$/.test(trace) || /^0+$/.test(span)) return null;
  const isSampled = (Number.parseInt(flags, 16) & 1) === 1;
  return { traceId: Buffer.from(trace, 'hex'), spanId: Buffer.from(span, 'hex'), isSampled };
}

// ── in the log ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Field 15999 of `InternalRaftRequest`, of length 24: a number that etcd does not use; its members pass it over. */
const MARK_HEAD = Buffer.from([0xfa, 0xe7, 0x07, TRACE_ID_BYTES + SPAN_ID_BYTES]);
export const MARK_BYTES: number = MARK_HEAD.length + TRACE_ID_BYTES + SPAN_ID_BYTES;

/** An entry that says in which span it was proposed, so that every member can tell what it did with it. */
export function withMark(entry: Buffer, { traceId, spanId }: SpanContext): Buffer {
  return Buffer.concat([entry, MARK_HEAD, traceId, spanId]);
}

/** The span in which an entry was proposed, or null. */
export function markOf(entry: Buffer): SpanContext | null {
  const at = entry.length - MARK_BYTES;
  if (at <= 0 || entry[at] !== MARK_HEAD[0] || entry.compare(MARK_HEAD, 0, 4, at, at + 4) !== 0) return null;
  const ids = at + MARK_HEAD.length;
  return new SpanContext(
    Buffer.from(entry.subarray(ids, ids + TRACE_ID_BYTES)),
    Buffer.from(entry.subarray(ids + TRACE_ID_BYTES)),
  );
}
