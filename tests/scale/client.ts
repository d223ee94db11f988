import { Histogram } from '@etsd/bench';
import { PutRequest, RangeRequest, RangeResponse } from '@etsd/proto';
import { type CallReceiver, type ClientCall, GrpcChannel } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';

const PUT = '/etcdserverpb.KV/Put';
const RANGE = '/etcdserverpb.KV/Range';
const world = nodeWorld();

/** A connection of our own client: the generator must cost little beside the server on the same machine. */
export function connect(address: string): GrpcChannel {
  const [host, port] = address.split(':') as [string, string];
  return new GrpcChannel(
    world,
    { host, port: Number(port) },
    {
      limits: {
        controlBurst: Number.MAX_SAFE_INTEGER,
        receiveMessageBytes: 0x7fff_ffff,
        streamWindowBytes: 8 * 1024 * 1024,
        connectionWindowBytes: 16 * 1024 * 1024,
        heldBytes: 0x7fff_ffff,
        assemblyBytes: 0x7fff_ffff,
      },
    },
  );
}

export function keyOf(prefix: string, number: number): Buffer {
  return Buffer.from(`${prefix}${String(number).padStart(8, '0')}`);
}

/** Calls `request(i)` for i in [0, count), `width` of them at a time, over these connections. */
export function callMany(
  channels: readonly GrpcChannel[],
  path: string,
  count: number,
  width: number,
  request: (number: number) => Buffer,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0;
    let done = 0;
    const start = (channel: GrpcChannel): void => {
      if (next < count) channel.start(path, new Next(channel)).sendLast(request(next++));
    };
    class Next implements CallReceiver {
      private readonly channel: GrpcChannel;
      constructor(channel: GrpcChannel) {
        this.channel = channel;
      }
      message(): void {}
      closed(_call: ClientCall, code: number, text: string): void {
        if (code !== 0) return reject(new Error(`${path}: ${text} (code ${code})`));
        done++;
        if (done === count) resolve();
        else start(this.channel);
      }
    }
    if (count === 0) resolve();
    for (let i = 0; i < width; i++) start(channels[i % channels.length] as GrpcChannel);
  });
}

/** Puts `count` keys named by `prefix` and their number, 500 at a time over four connections. */
export async function load(address: string, prefix: string, count: number, valueBytes: number): Promise<void> {
  const channels = [connect(address), connect(address), connect(address), connect(address)];
  const value = Buffer.alloc(valueBytes, 'v');
  await callMany(channels, PUT, count, 500, (number) =>
    PutRequest.encode(PutRequest.create({ key: keyOf(prefix, number), value })),
  );
  for (const channel of channels) channel.close();
}

/** Latencies of one call after the other, in milliseconds. */
export async function times(count: number, call: () => Promise<unknown>): Promise<Histogram> {
  const histogram = new Histogram();
  for (let i = 0; i < count; i++) {
    const startedMs = performance.now();
    await call();
    histogram.recordMs(performance.now() - startedMs);
  }
  return histogram;
}

export async function countAll(channel: GrpcChannel): Promise<number> {
  const all = Buffer.from([0]);
  const request = RangeRequest.encode(RangeRequest.create({ key: all, rangeEnd: all, countOnly: true }));
  return RangeResponse.decode(await channel.unary(RANGE, request)).count;
}

/** A page of keys from `from` on, to the end of all keys. */
export async function page(channel: GrpcChannel, from: Buffer, limit: number): Promise<number> {
  const request = RangeRequest.encode(RangeRequest.create({ key: from, rangeEnd: Buffer.from([0]), limit }));
  return RangeResponse.decode(await channel.unary(RANGE, request)).kvs.length;
}

/** Puts at a steady rate, whatever their answers do; the latency counts from the moment a put was due. */
export class SteadyPuts {
  latencies = new Histogram();
  private readonly channel: GrpcChannel;
  private readonly perSecond: number;
  private readonly keys: number;
  private readonly value = Buffer.alloc(256, 'p');
  private readonly startedMs = performance.now();
  private sent = 0;
  private answered = 0;
  private failed = '';
  private readonly timer: NodeJS.Timeout;
  private isStopped = false;
  private finished: () => void = () => {};

  constructor(address: string, perSecond: number, keys = 10_000) {
    this.channel = connect(address);
    this.perSecond = perSecond;
    this.keys = keys;
    this.timer = setInterval(() => this.due(), 2);
  }

  private due(): void {
    const wanted = Math.floor(((performance.now() - this.startedMs) / 1000) * this.perSecond);
    while (this.sent < wanted) {
      this.sent++;
      const dueMs = this.startedMs + (this.sent / this.perSecond) * 1000;
      const key = keyOf('/steady/', (this.sent * 7919) % this.keys);
      const call = this.channel.start(PUT, {
        message: () => {},
        closed: (_call, code, text) => {
          if (code !== 0) this.failed = text;
          this.latencies.recordMs(performance.now() - dueMs);
          this.answered++;
          if (this.isStopped && this.answered === this.sent) this.finished();
        },
      });
      call.sendLast(PutRequest.encode(PutRequest.create({ key, value: this.value })));
    }
  }

  /** What was counted so far; counting begins anew. */
  take(): Histogram {
    const { latencies } = this;
    this.latencies = new Histogram();
    return latencies;
  }

  async stop(): Promise<Histogram> {
    clearInterval(this.timer);
    this.isStopped = true;
    if (this.answered < this.sent) await new Promise<void>((resolve) => (this.finished = resolve));
    this.channel.close();
    if (this.failed !== '') throw new Error(`a put failed: ${this.failed}`);
    return this.latencies;
  }
}
