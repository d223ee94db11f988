/**
 * The engine for unary calls: a fixed number of clients, each with at most one request under way; the next starts in the
 * callback of the last. No promise, closure or object a request beyond what the transport makes.
 */
import { RingQueue } from '@etsd/base';
import type { CallReceiver, LoadCall, LoadChannel } from './channel.ts';
import { Histogram } from './histogram.ts';

/** Says what the next request is, in fields that are read at once. */
export interface UnarySource {
  /** Prepares the next request in the fields below. */
  prepare(): void;
  path: string;
  message: Buffer;
  /** 0 or 1: which histogram the request belongs to. */
  kind: number;
}

export interface LoadLimits {
  clients: number;
  /** 0: no bound. */
  total: number;
  /** 0: no bound. */
  seconds: number;
  /** 0: no bound. */
  rate: number;
}

export interface LoadResult {
  done: number;
  errors: number;
  /** The first error's text, '' without any. */
  firstError: string;
  seconds: number;
  histograms: [Histogram, Histogram];
}

const IN_A_ROW_MAX = 1000;

class Slot implements CallReceiver {
  readonly load: Load;
  readonly channel: LoadChannel;
  /** When the request was sent, or should have been under a bounded rate: waiting for a free client counts. */
  dueMs = 0;
  kind = 0;

  constructor(load: Load, channel: LoadChannel) {
    this.load = load;
    this.channel = channel;
  }

  issue(dueMs: number): void {
    const source = this.load.source;
    source.prepare();
    this.dueMs = dueMs;
    this.kind = source.kind;
    this.channel.start(source.path, this).sendLast(source.message);
  }

  message(): void {}

  closed(_call: LoadCall, code: number, message: string): void {
    this.load.finished(this, code, message);
  }
}

class Load {
  readonly source: UnarySource;
  private readonly limits: LoadLimits;
  private readonly histograms: [Histogram, Histogram] = [new Histogram(), new Histogram()];
  private readonly idle = new RingQueue<Slot>();
  private readonly settle: (result: LoadResult) => void;
  private issued = 0;
  private underWay = 0;
  private done = 0;
  private errors = 0;
  private errorsInARow = 0;
  private firstError = '';
  private startedMs = 0;
  private endMs = Number.POSITIVE_INFINITY;
  private lastMs = 0;
  private pacer: NodeJS.Timeout | null = null;

  constructor(source: UnarySource, limits: LoadLimits, settle: (result: LoadResult) => void) {
    this.source = source;
    this.limits = limits;
    this.settle = settle;
  }

  start(channels: readonly LoadChannel[]): void {
    this.startedMs = performance.now();
    this.lastMs = this.startedMs;
    if (this.limits.seconds > 0) this.endMs = this.startedMs + this.limits.seconds * 1000;
    const slots: Slot[] = [];
    for (let index = 0; index < this.limits.clients; index++) {
      slots.push(new Slot(this, channels[index % channels.length] as LoadChannel));
    }
    if (this.limits.rate > 0) {
      for (const slot of slots) this.idle.push(slot);
      this.pacer = setInterval(() => this.pace(), 1);
    } else {
      for (const slot of slots) if (this.mayIssue(this.startedMs)) this.issue(slot, performance.now());
    }
    this.endIfDone(performance.now());
  }

  private mayIssue(nowMs: number): boolean {
    if (nowMs >= this.endMs || this.errorsInARow >= IN_A_ROW_MAX) return false;
    return this.limits.total === 0 || this.issued < this.limits.total;
  }

  private issue(slot: Slot, dueMs: number): void {
    this.issued++;
    this.underWay++;
    slot.issue(dueMs);
  }

  /** Starts what is due by now under a bounded rate. */
  private pace(): void {
    const nowMs = performance.now();
    while (this.idle.length > 0 && this.mayIssue(nowMs)) {
      const dueMs = this.startedMs + (this.issued / this.limits.rate) * 1000;
      if (dueMs > nowMs) break;
      this.issue(this.idle.take() as Slot, dueMs);
    }
    this.endIfDone(nowMs);
  }

  finished(slot: Slot, code: number, message: string): void {
    const nowMs = performance.now();
    this.underWay--;
    if (code === 0) {
      this.done++;
      this.errorsInARow = 0;
      this.histograms[slot.kind as 0 | 1].recordMs(nowMs - slot.dueMs);
    } else {
      this.errors++;
      this.errorsInARow++;
      if (this.firstError === '') this.firstError = `${message} (code ${code})`;
    }
    this.lastMs = nowMs;
    if (this.pacer !== null) {
      this.idle.push(slot);
      this.pace();
    } else {
      if (this.mayIssue(nowMs)) this.issue(slot, nowMs);
      this.endIfDone(nowMs);
    }
  }

  private endIfDone(nowMs: number): void {
    if (this.underWay > 0 || this.mayIssue(nowMs)) return;
    if (this.pacer !== null) clearInterval(this.pacer);
    this.settle({
      done: this.done,
      errors: this.errors,
      firstError: this.firstError,
      seconds: (this.lastMs - this.startedMs) / 1000,
      histograms: this.histograms,
    });
  }
}

/** Runs a load until its total or its time is reached and every answer is in. */
export function runLoad(
  channels: readonly LoadChannel[],
  source: UnarySource,
  limits: LoadLimits,
): Promise<LoadResult> {
  return new Promise((resolve) => new Load(source, limits, resolve).start(channels));
}
