/** What only a program without types, or one that reads its settings from somewhere, can get wrong: found before it is sent. */
import { type U64, U64_ZERO, u64FromHex } from '@etsd/base';
import type { CallOptions, ClientOptions } from './options.ts';

/** Timers of JavaScript that are to wait longer do not wait at all. */
export const TIME_MS_MAX = 2 ** 31 - 1;

const TIMES = [
  'timeoutMs',
  'attemptTimeoutMs',
  'autoSyncMs',
  'dialTimeoutMs',
  'keepaliveMs',
  'keepaliveTimeoutMs',
] as const satisfies readonly (keyof ClientOptions)[];

/** Throws `RangeError` for what is no time; 0 has its own meaning with each option. */
function checkTime(name: string, ms: number | undefined): void {
  if (ms === undefined || (ms >= 0 && ms <= TIME_MS_MAX)) return;
  throw new RangeError(`${name} is a time from 0 to ${TIME_MS_MAX} ms; this is ${String(ms)}`);
}

/** Throws `RangeError` for a time that is none, `TypeError` for two ways to log in. */
export function checkClientOptions(options: ClientOptions): void {
  for (const name of TIMES) checkTime(name, options[name]);
  if (options.user !== undefined && (options.token ?? '') !== '') {
    throw new TypeError('give a user, who logs in, or a token, not both');
  }
}

export function checkCallOptions(options: CallOptions): void {
  checkTime('timeoutMs', options.timeoutMs);
  checkTime('attemptTimeoutMs', options.attemptTimeoutMs);
}

/** From 1 to 16 hexadecimal digits, since etcd's tools print ids without leading zeros. Throws `TypeError` for others. */
export function toId(id: U64): U64 {
  if (id === U64_ZERO) return id;
  const whole = typeof id === 'string' ? u64FromHex(id) : undefined;
  if (whole === undefined) throw new TypeError(`ids are 1 to 16 hexadecimal digits; this is ${JSON.stringify(id)}`);
  return whole;
}

/** Throws `RangeError` for what is none. */
export function toWhole(name: string, value: number): number {
  if (Number.isSafeInteger(value)) return value;
  throw new RangeError(`${name} is a whole number; this is ${String(value)}`);
}
