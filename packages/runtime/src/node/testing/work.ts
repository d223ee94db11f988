/** Functions for the tests of workers. */
import { getCompileCacheDir } from 'node:module';

export function double(value: number): number {
  return value * 2;
}

export function fail(reason: string): never {
  throw new Error(reason);
}

export function lengthOf(buffer: ArrayBuffer): number {
  return buffer.byteLength;
}

export function never(): Promise<never> {
  return new Promise(() => {});
}

export function cacheDirectory(): string | undefined {
  return getCompileCacheDir();
}
