/**
 * Fan-out of events: many watchers on few keys, and puts on those keys. Counted is what arrives; the latency of an event
 * is the time from the sending of its put. Without a rate the next put starts when every watcher has seen the last.
 */
import { PutRequest, Reader, WatchCreateRequest, WatchRequest } from '@etsd/proto';
import type { CallReceiver, LoadCall, LoadChannel } from './channel.ts';
import { Histogram } from './histogram.ts';
import { KeySpace } from './keys.ts';
import type { LoadOptions } from './options.ts';

const EVENTS_TAG = 0x5a;
const CREATED_TAG = 0x18;
const CANCELED_TAG = 0x20;

export interface WatchResult {
  puts: number;
  events: number;
  seconds: number;
  histogram: Histogram;
  errors: number;
  firstError: string;
}

/** One watch stream: counts what comes, in one pass over each response's tags. */
class WatchStream implements CallReceiver {
  private readonly load: WatchLoad;
  private readonly call: LoadCall;

  constructor(load: WatchLoad, channel: LoadChannel) {
    this.load = load;
    this.call = channel.start('/etcdserverpb.Watch/Watch', this);
  }

  watch(key: Buffer, prevKv: boolean): void {
    const createRequest = WatchCreateRequest.create({ key, prevKv });
    this.call.send(WatchRequest.encode(WatchRequest.create({ createRequest })));
  }

  message(_call: LoadCall, bytes: Buffer, start: number, end: number): void {
    const reader = new Reader(bytes, start, end);
    let events = 0;
    while (reader.at < end) {
      const tag = reader.tag();
      if (tag === EVENTS_TAG) events++;
      if (tag === CREATED_TAG) this.load.created();
      if (tag === CANCELED_TAG) this.load.fail('a watcher was cancelled');
      reader.skip(tag);
    }
    if (events > 0) this.load.arrived(events);
  }

  closed(_call: LoadCall, code: number, message: string): void {
    this.load.streamClosed(code, message);
  }

  stop(): void {
    this.call.cancel();
  }
}

class PutReceiver implements CallReceiver {
  private readonly load: WatchLoad;

  constructor(load: WatchLoad) {
    this.load = load;
  }

  message(): void {}

  closed(_call: LoadCall, code: number, message: string): void {
    if (code !== 0) this.load.fail(`put: ${message} (code ${code})`);
  }
}

class WatchLoad {
  private readonly options: LoadOptions;
  private readonly watchers: number;
  private readonly putChannel: LoadChannel;
  private readonly putReceiver = new PutReceiver(this);
  private readonly keys: KeySpace;
  private readonly streams: WatchStream[] = [];
  private readonly histogram = new Histogram();
  /** When each put was sent whose events are still to come, oldest first; its watchers answer in that order. */
  private readonly sentMs: number[] = [];
  private sentHead = 0;
  private waitingFor = 0;
  private leftOfOldest = 0;
  private puts = 0;
  private events = 0;
  private errors = 0;
  private firstError = '';
  private startedMs = 0;
  private stopping = false;
  private pacer: NodeJS.Timeout | null = null;
  private ready: (() => void) | null = null;
  private finish: ((result: WatchResult) => void) | null = null;

  constructor(options: LoadOptions, channels: readonly LoadChannel[], putChannel: LoadChannel) {
    this.options = options;
    this.putChannel = putChannel;
    this.watchers = options.streams * options.watchPerStream;
    this.keys = new KeySpace(options.watchedKeyTotal, options.keySize, true);
    for (let index = 0; index < options.streams; index++) {
      this.streams.push(new WatchStream(this, channels[index % channels.length] as LoadChannel));
    }
  }

  /** Watchers on each key. */
  private get perKey(): number {
    return Math.floor(this.watchers / this.keys.size);
  }

  prepare(): Promise<void> {
    return new Promise((resolve) => {
      this.ready = resolve;
      this.waitingFor = this.watchers;
      let number = 0;
      for (const stream of this.streams) {
        for (let left = this.options.watchPerStream; left > 0; left--) {
          stream.watch(this.keys.key(number++ % this.keys.size), this.options.prevKv);
        }
      }
    });
  }

  created(): void {
    if (--this.waitingFor === 0) this.ready?.();
  }

  run(): Promise<WatchResult> {
    return new Promise((resolve) => {
      this.finish = resolve;
      this.startedMs = performance.now();
      if (this.stopping) this.endIfDone(this.startedMs);
      else if (this.options.putRate > 0) this.pacer = setInterval(() => this.pace(), 1);
      else this.put(this.startedMs);
    });
  }

  private over(nowMs: number): boolean {
    if (this.stopping) return true;
    const { putTotal, seconds } = this.options;
    return (seconds === 0 || putTotal > 0 ? this.puts >= putTotal : false) || this.tooLate(nowMs);
  }

  private tooLate(nowMs: number): boolean {
    return this.options.seconds > 0 && nowMs - this.startedMs >= this.options.seconds * 1000;
  }

  private put(dueMs: number): void {
    const key = this.keys.key(this.keys.next());
    const value = Buffer.alloc(this.options.valSize, 0x76);
    if (this.sentHead === this.sentMs.length) this.leftOfOldest = this.perKey;
    this.sentMs.push(dueMs);
    this.puts++;
    const call = this.putChannel.start('/etcdserverpb.KV/Put', this.putReceiver);
    call.sendLast(PutRequest.encode(PutRequest.create({ key, value })));
  }

  private pace(): void {
    const nowMs = performance.now();
    while (!this.over(nowMs)) {
      const dueMs = this.startedMs + (this.puts / this.options.putRate) * 1000;
      if (dueMs > nowMs) break;
      this.put(dueMs);
    }
    this.endIfDone(nowMs);
  }

  arrived(count: number): void {
    const nowMs = performance.now();
    for (let left = count; left > 0; left--) {
      this.events++;
      // Which put an event belongs to follows from the count: exact for one put under way, an average for several.
      this.histogram.recordMs(nowMs - (this.sentMs[this.sentHead] ?? nowMs));
      if (--this.leftOfOldest > 0) continue;
      this.sentHead++;
      this.leftOfOldest = this.perKey;
      if (this.options.putRate === 0 && !this.over(nowMs)) this.put(nowMs);
    }
    this.endIfDone(nowMs);
  }

  fail(text: string): void {
    this.errors++;
    if (this.firstError === '') this.firstError = text;
    this.stopping = true;
    this.ready?.();
    this.endIfDone(performance.now());
  }

  streamClosed(code: number, message: string): void {
    if (this.finish !== null || this.ready !== null) this.fail(`watch stream: ${message} (code ${code})`);
  }

  private endIfDone(nowMs: number): void {
    const drained = this.events >= this.puts * this.perKey;
    if (this.finish === null || !this.over(nowMs) || !(drained || this.errors > 0)) return;
    if (this.pacer !== null) clearInterval(this.pacer);
    const finish = this.finish;
    this.finish = null;
    this.ready = null;
    for (const stream of this.streams) stream.stop();
    finish({
      puts: this.puts,
      events: this.events,
      seconds: (nowMs - this.startedMs) / 1000,
      histogram: this.histogram,
      errors: this.errors,
      firstError: this.firstError,
    });
  }
}

/** Creates the watchers, calls `measuring` when all of them stand, then runs the puts. */
export async function runWatch(
  channels: readonly LoadChannel[],
  putChannel: LoadChannel,
  options: LoadOptions,
  measuring: () => void,
): Promise<WatchResult> {
  const load = new WatchLoad(options, channels, putChannel);
  await load.prepare();
  measuring();
  return load.run();
}
