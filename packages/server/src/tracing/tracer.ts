import { EMPTY } from '@etsd/base';
import type { EntryWatcher, LogTimes } from '@etsd/replication';
import type { ApiCall } from '../context.ts';
import { type Attributes, SpanKind } from './otlp.ts';
import { markOf, parseTraceparent, SPAN_ID_BYTES, SpanContext, TRACE_ID_BYTES, withMark } from './span-context.ts';
import type { SpanExporter } from './span-exporter.ts';

/** Requests of this member whose entries are on their way, at a time. */
const OWN_MAX = 4096;
const MILLION = 1_000_000;
/** Bytes drawn at a time for ids: each drawing costs as much as all the rest of a span. */
const DRAWN_BYTES = 4096;

export interface TracerParts {
  readonly random: { bytes(count: number): Buffer };
  readonly exporter: SpanExporter;
  /** Requests in a million that are traced though nobody asks for it. */
  readonly rate: number;
  readonly memberId: string;
  readonly times: LogTimes;
  readonly isLeader: () => boolean;
}

/**
 * Decides which requests are traced, once, where they come in: those whose caller traces them, none that the caller says
 * it does not, and of the others as many as the operator wants. Spans of a request:
 *
 * ```
 *   etcdserverpb.KV/Put ─┬─ queue ── raft ─┬─ fsync      the member that was asked
 *                        │                 │
 *                        ├─ apply          │
 *                        └─ answer         │
 *                    at member 2: raft, fsync, apply     where the entry says in which span it was proposed
 * ```
 */
export class Tracer implements EntryWatcher {
  /** The span of the request whose handler runs now, for what it proposes; null where it is not traced. */
  current: SpanContext | null = null;
  readonly exporter: SpanExporter;
  private readonly parts: TracerParts;
  private drawn: Buffer = EMPTY;
  private drawnAt = 0;
  /** Gathers up to a million, which is one request. */
  private due = 0;
  /** Spans of this member's own requests that have entries in the log. */
  private readonly own = new Set<string>();

  constructor(parts: TracerParts) {
    this.parts = parts;
    this.exporter = parts.exporter;
  }

  /** The span of a request, or null where it is not traced. */
  begin(call: ApiCall): SpanContext | null {
    const header = call.header('traceparent');
    const parent = header === undefined ? null : parseTraceparent(header);
    if (parent !== null) {
      return parent.isSampled ? new SpanContext(parent.traceId, this.spanId(), parent.spanId) : null;
    }
    this.due += this.parts.rate;
    if (this.due < MILLION) return null;
    this.due -= MILLION;
    return new SpanContext(this.draw(TRACE_ID_BYTES), this.spanId());
  }

  private spanId(): Buffer {
    return this.draw(SPAN_ID_BYTES);
  }

  private draw(bytes: number): Buffer {
    if (this.drawnAt + bytes > this.drawn.length) {
      this.drawn = this.parts.random.bytes(DRAWN_BYTES);
      this.drawnAt = 0;
    }
    this.drawnAt += bytes;
    return this.drawn.subarray(this.drawnAt - bytes, this.drawnAt);
  }

  /** The entry with the mark of the span in which it is proposed, if it is and there is room for it. */
  marked(entry: Buffer, bytesMax: number): Buffer {
    const { current, own } = this;
    if (current === null) return entry;
    const marked = withMark(entry, current);
    if (marked.length > bytesMax) return entry;
    own.add(current.spanId.toString('latin1'));
    if (own.size > OWN_MAX) for (const oldest of own) if (own.delete(oldest)) break;
    return marked;
  }

  /** A part of `parent`; times of the monotonic clock. Returns who it is, for parts of it. */
  part(parent: SpanContext, name: string, startMs: number, endMs: number, attributes: Attributes): SpanContext {
    const context = new SpanContext(parent.traceId, this.spanId(), parent.spanId);
    const member = { 'etsd.member': this.parts.memberId };
    this.exporter.add({
      ...{ context, name, kind: SpanKind.INTERNAL, startMs, endMs: Math.max(startMs, endMs), error: '' },
      attributes: { ...attributes, ...member },
    });
    return context;
  }

  /** What the log did with an entry of a span, as far as it is remembered. */
  logParts(parent: SpanContext, index: number, proposedMs: number): void {
    const { times, isLeader } = this.parts;
    const { givenMs, durableMs, committedMs } = times.of(index);
    if (Number.isNaN(givenMs)) return;
    const startMs = Number.isNaN(proposedMs) ? givenMs : proposedMs;
    const endMs = Number.isNaN(committedMs) ? durableMs : Math.max(durableMs, committedMs);
    const attributes = { 'raft.index': index, 'raft.role': isLeader() ? 'leader' : 'follower' };
    const raft = this.part(parent, 'raft', startMs, endMs, attributes);
    this.part(raft, 'fsync', givenMs, durableMs, {});
  }

  /** Of entries that were proposed elsewhere in a span this member tells its part. */
  applied(index: number, data: Buffer, sinceMs: number, nowMs: number): void {
    const parent = markOf(data);
    if (parent === null || this.own.delete(parent.spanId.toString('latin1'))) return;
    this.logParts(parent, index, Number.NaN);
    this.part(parent, 'apply', sinceMs, nowMs, { 'raft.index': index });
  }

  stop(): void {
    this.exporter.stop();
  }
}
