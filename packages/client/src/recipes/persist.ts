/** Steps that may be made again until the cluster answers. */
import { EtcdError, GrpcCode } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError, WatchCanceledError } from '../errors.ts';

/** What every recipe that waits takes: aborting gives up. For a limit in time use `AbortSignal.timeout(ms)`. */
export interface WaitOptions {
  readonly signal?: AbortSignal;
}

/** Pauses while nobody can be reached, at first and at most. */
const OUTAGE_PAUSE_MS = 20;
const OUTAGE_PAUSE_MAX_MS = 1_000;

/** Whether an error says only that nobody answered, so that the same step may succeed a little later. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return false;
  return error.code === GrpcCode.Unavailable || error.code === GrpcCode.DeadlineExceeded;
}

/** Whether a watch ended because what it still had to tell was compacted away: read anew, and watch on from there. */
export function isBehindCompaction(error: unknown): boolean {
  return error instanceof WatchCanceledError && error.compactRevision > 0;
}

export function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Resolves after `ms`; rejects with `CanceledError` as soon as the signal is aborted. */
export function pause(client: Client, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new CanceledError(signal.reason));
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(new CanceledError(signal?.reason));
    };
    const timer = client.world.timers.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Pauses that double, and of each a random part, so that those who collided do not collide again. */
export class Backoff {
  private readonly client: Client;
  private readonly firstMs: number;
  private readonly mostMs: number;
  private count = 0;

  constructor(client: Client, firstMs: number, mostMs: number) {
    this.client = client;
    this.firstMs = firstMs;
    this.mostMs = mostMs;
  }

  pause(signal?: AbortSignal): Promise<void> {
    const longestMs = Math.min(this.mostMs, this.firstMs * 2 ** Math.min(this.count++, 20));
    return pause(this.client, longestMs * this.client.world.random.float(), signal);
  }
}

/** Makes a step that does no harm when it is made twice, again and again until the cluster has answered. */
export async function persist<T>(client: Client, signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T> {
  const backoff = new Backoff(client, OUTAGE_PAUSE_MS, OUTAGE_PAUSE_MAX_MS);
  for (;;) {
    if (signal?.aborted === true) throw new CanceledError(signal.reason);
    try {
      return await step();
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
    await backoff.pause(signal);
  }
}

/** The outcome of the work, unless the signal is aborted before: the work then goes on by itself. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new CanceledError(signal.reason));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Never aborted. */
export const NEVER: AbortSignal = new AbortController().signal;

/** One that is aborted with any of them. */
export function anySignal(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
  const given = signals.filter((signal) => signal !== undefined);
  if (given.length === 0) return NEVER;
  return given.length === 1 ? (given[0] as AbortSignal) : AbortSignal.any(given);
}

/** Waits for the work, but no longer than this; the work goes on by itself. */
export async function atMost(client: Client, ms: number, work: Promise<unknown>): Promise<void> {
  const stop = new AbortController();
  const limit = pause(client, ms, stop.signal).catch(() => {});
  await Promise.race([work, limit]);
  stop.abort();
}
