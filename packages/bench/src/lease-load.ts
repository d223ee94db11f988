/** Keep-alives: one lease and one stream a client; the next keep-alive is sent when the answer to the last is there. */
import { LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest } from '@etsd/proto';
import { callOnce } from './call-once.ts';
import type { CallReceiver, LoadCall, LoadChannel } from './channel.ts';
import { Histogram } from './histogram.ts';
import type { LoadResult } from './load.ts';
import type { LoadOptions } from './options.ts';

const TTL_SECONDS = 600;

class KeepAliveStream implements CallReceiver {
  private readonly load: LeaseLoad;
  private readonly request: Buffer;
  private readonly call: LoadCall;
  private sentMs = 0;

  constructor(load: LeaseLoad, channel: LoadChannel, request: Buffer) {
    this.load = load;
    this.request = request;
    this.call = channel.start('/etcdserverpb.Lease/LeaseKeepAlive', this);
  }

  send(nowMs: number): void {
    this.sentMs = nowMs;
    this.call.send(this.request);
  }

  message(): void {
    const nowMs = performance.now();
    if (this.load.answered(nowMs, nowMs - this.sentMs)) this.send(nowMs);
    else this.call.halfClose();
  }

  closed(_call: LoadCall, code: number, message: string): void {
    this.load.closed(code, message);
  }
}

class LeaseLoad {
  private readonly options: LoadOptions;
  private readonly settle: (result: LoadResult) => void;
  private readonly histogram = new Histogram();
  private readonly startedMs = performance.now();
  private lastMs = this.startedMs;
  private sent = 0;
  private open = 0;
  private errors = 0;
  private firstError = '';

  constructor(options: LoadOptions, settle: (result: LoadResult) => void) {
    this.options = options;
    this.settle = settle;
  }

  start(channels: readonly LoadChannel[], requests: readonly Buffer[]): void {
    this.open = requests.length;
    requests.forEach((request, index) => {
      const stream = new KeepAliveStream(this, channels[index % channels.length] as LoadChannel, request);
      this.sent++;
      stream.send(this.startedMs);
    });
  }

  /** Whether to go on. */
  answered(nowMs: number, latencyMs: number): boolean {
    this.histogram.recordMs(latencyMs);
    this.lastMs = nowMs;
    const { total, seconds } = this.options;
    if (total > 0 && this.sent >= total) return false;
    if (seconds > 0 && nowMs - this.startedMs >= seconds * 1000) return false;
    this.sent++;
    return true;
  }

  closed(code: number, message: string): void {
    if (code !== 0) {
      this.errors++;
      if (this.firstError === '') this.firstError = `${message} (code ${code})`;
    }
    if (--this.open > 0) return;
    this.settle({
      done: this.histogram.count,
      errors: this.errors,
      firstError: this.firstError,
      seconds: (this.lastMs - this.startedMs) / 1000,
      histograms: [this.histogram, new Histogram()],
    });
  }
}

/** Grants the leases, calls `measuring`, then keeps them alive as fast as answers come. */
export async function runLease(
  channels: readonly LoadChannel[],
  options: LoadOptions,
  measuring: () => void,
): Promise<LoadResult> {
  const requests: Buffer[] = [];
  const grant = LeaseGrantRequest.encode(LeaseGrantRequest.create({ TTL: TTL_SECONDS }));
  for (let left = options.clients; left > 0; left--) {
    const answer = await callOnce(channels[0] as LoadChannel, '/etcdserverpb.Lease/LeaseGrant', grant);
    const { ID } = LeaseGrantResponse.decode(answer);
    requests.push(LeaseKeepAliveRequest.encode(LeaseKeepAliveRequest.create({ ID })));
  }
  measuring();
  return new Promise((resolve) => new LeaseLoad(options, resolve).start(channels, requests));
}
