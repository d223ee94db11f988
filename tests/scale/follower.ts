/**
 * A follower that was away: how does its return weigh on the others? `node tests/scale/follower.ts --writes 100000`.
 * Puts come at a fixed rate, counted from when each was due. First all three members are there, then one is stopped while
 * the leader takes so many writes, then it comes back: once to a log that still has what it missed, once to one that does
 * not, so that it gets a snapshot.
 */
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Histogram } from '@etsd/bench';
import { PutRequest } from '@etsd/proto';
import type { CallReceiver, ClientCall, GrpcChannel } from '@etsd/rpc';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import type { Product } from '../support/server.ts';
import { callMany, connect, keyOf } from './client.ts';

const PUT = '/etcdserverpb.KV/Put';
const KEYS = 20_000;
const VALUE = Buffer.alloc(256, 'v');

const { values } = parseArgs({
  options: {
    writes: { type: 'string', default: '100000' },
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '10' },
    product: { type: 'string', default: 'etsd' },
    way: { type: 'string', default: 'log,snapshot' },
    // `pause` holds the process and lets it go on, so that the start of a program does not count.
    away: { type: 'string', default: 'kill' },
    // Prints the slowest put of each tenth of a second behind the return.
    timeline: { type: 'boolean', default: false },
  },
});

function put(number: number): Buffer {
  return PutRequest.encode(PutRequest.create({ key: keyOf('f', number % KEYS), value: VALUE }));
}

/** Puts at a rate until told to stop; latencies count from the moment a put was due. */
class Stream {
  latencies = new Histogram();
  failed = 0;
  /** The slowest put that was due in each tenth of a second, in milliseconds, since `mark`. */
  slowest: number[] = [];
  private markMs = 0;
  private readonly channel: GrpcChannel;
  private readonly rate: number;
  private readonly startedMs = performance.now();
  private sent = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(address: string, rate: number) {
    this.channel = connect(address);
    this.rate = rate;
    this.timer = setInterval(() => this.pace(), 1);
  }

  /** The slowest puts are noted from here on. */
  mark(): void {
    this.markMs = performance.now();
    this.slowest = [];
  }

  private note(dueMs: number, tookMs: number): void {
    this.latencies.recordMs(tookMs);
    const place = Math.floor((dueMs - this.markMs) / 100);
    if (this.markMs > 0 && place >= 0) this.slowest[place] = Math.max(this.slowest[place] ?? 0, Math.round(tookMs));
  }

  /** What was measured since the last time. */
  take(): Histogram {
    const taken = this.latencies;
    this.latencies = new Histogram();
    return taken;
  }

  stop(): void {
    clearInterval(this.timer);
    this.channel.close();
  }

  private pace(): void {
    for (;;) {
      const dueMs = this.startedMs + (this.sent / this.rate) * 1000;
      if (dueMs > performance.now()) return;
      const receiver: CallReceiver = {
        message: () => {},
        closed: (_call: ClientCall, code: number) => {
          if (code === 0) this.note(dueMs, performance.now() - dueMs);
          else this.failed++;
        },
      };
      this.channel.start(PUT, receiver).sendLast(put(this.sent++));
    }
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const brief = (histogram: Histogram) => ({
  count: histogram.count,
  p50: Number(histogram.percentileMs(50).toFixed(2)),
  p99: Number(histogram.percentileMs(99).toFixed(2)),
  max: Number(histogram.maxMs.toFixed(1)),
});

async function measure(product: Product, way: string): Promise<object> {
  const writes = Number(values.writes);
  const seconds = Number(values.seconds);
  const kept = way === 'log' ? String(writes * 10) : '10000';
  const flags = ['--snapshot-count', kept, '--experimental-snapshot-catchup-entries', '5000'];
  await using cluster = await TestCluster.start({ products: [product, product, product], flags });
  const leader = await cluster.agreed();
  const follower = cluster.members.find((member) => member !== leader) as ClusterMember;
  const channels = [connect(leader.address), connect(leader.address)];
  await callMany(channels, PUT, KEYS, 200, put);
  const stream = new Stream(leader.address, Number(values.rate));
  /** Asks how many entries the follower lacks, at least for so many seconds and until `isWaiting` says no. */
  const poll = async (atLeast: number, isWaiting: (passedMs: number, lag: number) => boolean): Promise<void> => {
    const startedMs = performance.now();
    for (let isDone = false; !isDone; ) {
      await sleep(100);
      const [own, other] = [await cluster.status(follower, 500), await cluster.status(leader, 500)];
      const lag = own === null || other === null ? Number.POSITIVE_INFINITY : other.applied - own.applied;
      const passedMs = performance.now() - startedMs;
      isDone = !isWaiting(passedMs, lag) && passedMs >= atLeast * 1000;
    }
  };
  // What this program left behind is not to be felt in what it measures.
  collectGarbage();
  await sleep(2000);
  stream.take();
  await poll(seconds, () => false);
  const before = stream.take();
  const isPaused = values.away === 'pause';
  if (isPaused) follower.pause();
  else await follower.kill();
  await callMany(channels, PUT, writes, 200, put);
  collectGarbage();
  await sleep(2000);
  stream.take();
  stream.mark();
  const ready = isPaused ? follower.resume() : follower.start();
  let caughtUpMs = 0;
  await poll(seconds, (passedMs, lag) => {
    // A few entries are always under way.
    if (caughtUpMs === 0 && lag < 100) caughtUpMs = passedMs;
    return caughtUpMs === 0;
  });
  const during = stream.take();
  await ready;
  const { failed, slowest } = stream;
  stream.stop();
  for (const channel of channels) channel.close();
  const hashes = await cluster.hashes(await cluster.caughtUp());
  return {
    product,
    way,
    away: values.away,
    writes,
    before: brief(before),
    during: brief(during),
    p99Growth: Number((during.percentileMs(99) / before.percentileMs(99)).toFixed(2)),
    caughtUpMs: Math.round(caughtUpMs),
    failed,
    ...(values.timeline ? { slowestOfEachTenth: slowest.join(' ') } : {}),
    hashesEqual: new Set([...hashes.values()].map(({ hash }) => hash)).size === 1,
  };
}

for (const product of values.product.split(',') as Product[]) {
  for (const way of values.way.split(',')) console.log(JSON.stringify(await measure(product, way)));
}
