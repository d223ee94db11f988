import { EventType } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError } from '../errors.ts';
import { type Bytes, type KeyRange, prefix, toBytes } from '../keys.ts';
import { UnreadableError } from './errors.ts';
import { follow, type News } from './follow.ts';
import { Latest } from './latest.ts';
import { anySignal, Backoff, isAborted, type WaitOptions } from './persist.ts';

/** Keys without the prefix, and their values as text. */
export type Entries = Readonly<Record<string, string>>;

export interface ConfigOptions<T> extends WaitOptions {
  /** Makes the configuration of what is stored, or throws what is wrong with it: `shape({…})`, a schema's `parse`, your own. */
  readonly parse: (entries: Entries) => T;
  /** What counts until what is stored is in order. Without it `open` throws `UnreadableError` if it is not. */
  readonly fallback?: T;
}

const RETRY_PAUSE_MS = 100;
const RETRY_PAUSE_MAX_MS = 5_000;

/**
 * A configuration that is at every moment what its keys say: changed by whoever writes them, checked before it counts.
 * Changes made by one transaction show together. What does not pass the check is not taken: the last that did stays, and
 * `error` says what is wrong.
 * ```ts
 * const parse = shape({ level: oneOf('debug', 'info'), workers: optional(wholeNumber(1, 64), 4) });
 * await using config = await LiveConfig.open(client, 'app/config/', { parse });
 * config.current.workers;
 * ```
 * Keys: `PREFIX…`, one for each setting, values as text.
 */
export class LiveConfig<T> implements AsyncDisposable {
  private readonly client: Client;
  private readonly range: KeyRange;
  private readonly prefix: Buffer;
  private readonly parse: (entries: Entries) => T;
  private readonly entries = new Map<string, string>();
  private readonly stop = new AbortController();
  /** Aborted by `close`, and with the signal given. */
  private readonly signal: AbortSignal;
  private latest: Latest<T> | null = null;
  private following: Promise<void> = Promise.resolve();
  /** What is wrong with what is stored, or with reaching it; null if nothing is. */
  error: Error | null = null;
  /** As of which revision of the store `current` is. */
  revision = 0;

  private constructor(client: Client, keys: Bytes, { parse, signal }: ConfigOptions<T>) {
    this.client = client;
    this.range = prefix(keys);
    this.prefix = toBytes(keys);
    this.parse = parse;
    this.signal = anySignal(this.stop.signal, signal);
  }

  /** Resolves when the configuration is known. */
  static async open<T>(client: Client, keys: Bytes, options: ConfigOptions<T>): Promise<LiveConfig<T>> {
    const config = new LiveConfig(client, keys, options);
    const { signal } = config;
    const news = follow(client, config.range, { signal });
    try {
      if (options.fallback !== undefined) config.latest = new Latest(options.fallback);
      const first = await news.next();
      if (first.done === true) throw new CanceledError(signal.reason);
      config.learn(first.value);
      if (config.latest === null) throw config.error;
    } catch (error) {
      config.stop.abort();
      await news.return();
      throw error;
    }
    config.following = config.run(news);
    return config;
  }

  get current(): T {
    return (this.latest as Latest<T>).current;
  }

  /** The configuration after each change from now on. */
  changes(options: WaitOptions = {}): AsyncGenerator<T, void, undefined> {
    return (this.latest as Latest<T>).changes(options);
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.following;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async run(news: AsyncGenerator<News, void, undefined>): Promise<void> {
    const { signal } = this;
    const backoff = new Backoff(this.client, RETRY_PAUSE_MS, RETRY_PAUSE_MAX_MS);
    let current = news;
    while (!isAborted(signal)) {
      try {
        for await (const each of current) this.learn(each);
      } catch (error) {
        this.error = error as Error;
        await backoff.pause(signal).catch(() => {});
      }
      current = follow(this.client, this.range, { signal });
    }
    this.latest?.end();
  }

  private learn(news: News): void {
    if (news.kind === 'all') {
      this.entries.clear();
      for (const { key, value } of news.records) this.entries.set(this.nameOf(key), value.toString());
    } else {
      for (const { kv, type } of news.events) {
        if (kv === null) continue;
        if (type === EventType.DELETE) this.entries.delete(this.nameOf(kv.key));
        else this.entries.set(this.nameOf(kv.key), kv.value.toString());
      }
    }
    let value: T;
    try {
      value = this.parse(Object.fromEntries(this.entries));
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      this.error = new UnreadableError(this.prefix, `holds no valid configuration: ${what}`, error);
      return;
    }
    this.error = null;
    this.revision = news.revision;
    if (this.latest === null) this.latest = new Latest(value);
    else this.latest.set(value);
  }

  private nameOf(at: Buffer): string {
    return at.subarray(this.prefix.length).toString();
  }
}
