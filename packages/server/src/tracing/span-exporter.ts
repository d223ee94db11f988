import { errorFrom, type Logger } from '@etsd/base';
import { GrpcChannel, type RpcWorld } from '@etsd/rpc';
import type { TimerHandle } from '../context.ts';
import { type Attributes, Envelope, EXPORT_PATH, encodeSpan, type SpanFields } from './otlp.ts';

/** Spans and bytes that wait at a time; more are dropped. */
const WAITING_MAX = 8192;
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** Spans of one request. */
const BATCH_SPANS = 512;
/** How long spans wait for others to leave with them, and how long a collector may take, in milliseconds. */
const INTERVAL_MS = 1000;
const TIMEOUT_MS = 10_000;
/** A collector that fails is told of once in this time. */
const COMPLAINT_INTERVAL_MS = 60_000;

export interface SpanExporterParts {
  readonly world: RpcWorld & { readonly clock: { nowMs(): number; wallMs(): number } };
  readonly every: (ms: number, callback: () => void) => TimerHandle;
  readonly logger: Logger;
  readonly host: string;
  readonly port: number;
  readonly resource: Attributes;
  readonly version: string;
}

/**
 * Sends spans to a collector, many at a time and in bounded memory. Whatever becomes of them, nobody waits for it: what
 * cannot be sent is counted and forgotten.
 */
export class SpanExporter {
  sent = 0;
  dropped = 0;
  private readonly parts: SpanExporterParts;
  private readonly envelope: Envelope;
  private readonly channel: GrpcChannel;
  private readonly timer: TimerHandle;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  private isSending = false;
  private complainedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SpanExporterParts) {
    this.parts = parts;
    this.envelope = new Envelope(parts.resource, 'etsd', parts.version);
    this.channel = new GrpcChannel(parts.world, { host: parts.host, port: parts.port });
    this.timer = parts.every(INTERVAL_MS, this.flush);
  }

  /** Spans that wait. */
  get length(): number {
    return this.waiting.length;
  }

  /** `fields` with times of the monotonic clock. */
  add(fields: SpanFields): void {
    if (this.waiting.length >= WAITING_MAX || this.waitingBytes >= WAITING_BYTES_MAX) {
      this.dropped++;
      return;
    }
    const { clock } = this.parts.world;
    const shift = clock.wallMs() - clock.nowMs();
    const span = encodeSpan({ ...fields, startMs: fields.startMs + shift, endMs: fields.endMs + shift });
    this.waiting.push(span);
    this.waitingBytes += span.length;
    if (this.waiting.length >= BATCH_SPANS) this.flush();
  }

  /** Sends what waits, a request at a time. */
  readonly flush = (): void => {
    if (this.isSending || this.waiting.length === 0) return;
    const batch = this.waiting.splice(0, BATCH_SPANS);
    for (const span of batch) this.waitingBytes -= span.length;
    this.isSending = true;
    this.channel.unary(EXPORT_PATH, this.envelope.request(batch), { timeoutMs: TIMEOUT_MS }).then(
      () => this.finished(batch.length, null),
      (thrown: unknown) => this.finished(batch.length, errorFrom(thrown)),
    );
  };

  private finished(count: number, error: Error | null): void {
    this.isSending = false;
    if (error === null) {
      this.sent += count;
      if (this.waiting.length >= BATCH_SPANS) this.flush();
      return;
    }
    this.dropped += count;
    const { logger, world, host, port } = this.parts;
    const nowMs = world.clock.nowMs();
    if (nowMs - this.complainedMs < COMPLAINT_INTERVAL_MS) return;
    this.complainedMs = nowMs;
    const fields = { collector: `${host}:${port}`, error: error.message, 'dropped-spans': this.dropped };
    logger.log('warn', 'failed to send spans to the collector', fields);
  }

  /** Spans that were not sent are lost. */
  stop(): void {
    this.timer.cancel();
    this.channel.close();
  }
}
