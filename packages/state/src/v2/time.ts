/**
 * Moments as etcd 2 keeps them: nanoseconds since 1970 as a signed 64-bit integer, which a double can not hold. Here they
 * are `U64`s; the order of positive ones is that of their texts.
 */
import { type U64, U64_ZERO, u64FromHalves, u64High, u64IsNegative, u64Low } from '@etsd/base';

const TWO_16 = 0x1_0000;
const TWO_32 = 0x1_0000_0000;
const NANOS = 1_000_000_000;
/** Behind this many seconds a signed 64-bit number of nanoseconds ends (the year 2262). */
const SECONDS_MAX = 9_223_372_036;
/** Moments before the year 2000 mean that something never expires. */
const EARLIEST_SECONDS = 946_684_800;

/** Something that never expires. */
export const NEVER: U64 = U64_ZERO;

/** From whole seconds and nanoseconds; `NEVER` for what is out of range. */
export function momentOf(seconds: number, nanos: number): U64 {
  if (seconds < EARLIEST_SECONDS || seconds >= SECONDS_MAX) return NEVER;
  const upper = Math.floor(seconds / TWO_16) * NANOS;
  const low = (upper % TWO_16) * TWO_16 + (seconds % TWO_16) * NANOS + nanos;
  return u64FromHalves(Math.floor(upper / TWO_16) + Math.floor(low / TWO_32), (low % TWO_32) | 0);
}

/** From milliseconds of the wall clock. */
export function momentOfMs(ms: number): U64 {
  const seconds = Math.floor(ms / 1000);
  return momentOf(seconds, Math.round((ms - seconds * 1000) * 1000) * 1000);
}

/** What an entry says of an expiry: `NEVER` where that is so long ago that it means never. */
export function expiryOf(nanos: U64): U64 {
  if (nanos === U64_ZERO || u64IsNegative(nanos)) return NEVER;
  return secondsOf(nanos).seconds < EARLIEST_SECONDS ? NEVER : nanos;
}

function secondsOf(moment: U64): { seconds: number; nanos: number } {
  let seconds = 0;
  let rest = 0;
  for (const half of [u64High(moment), u64Low(moment)]) {
    for (const digit of [Math.floor(half / TWO_16), half % TWO_16]) {
      const current = rest * TWO_16 + digit;
      seconds = seconds * TWO_16 + Math.floor(current / NANOS);
      rest = current % NANOS;
    }
  }
  return { seconds, nanos: rest };
}

/** Nanoseconds as a double: good for order and waiting, not to the nanosecond. */
export function approximately(moment: U64): number {
  return u64High(moment) * TWO_32 + u64Low(moment);
}

/** Seconds until then, begun ones counted whole; of what is past, only whole ones, negative. */
export function secondsUntil(moment: U64, nowMs: number): number {
  const { seconds, nanos } = secondsOf(moment);
  const left = seconds - nowMs / 1000 + nanos / NANOS;
  // Not -0, which is no JSON number.
  return left > 0 ? Math.ceil(left) : Math.ceil(left) + 0;
}

/** As Go prints it: UTC, as many digits behind the second as there are. */
export function momentText(moment: U64): string {
  const { seconds, nanos } = secondsOf(moment);
  const date = new Date(seconds * 1000).toISOString().slice(0, 19);
  const fraction = nanos === 0 ? '' : `.${String(nanos).padStart(9, '0').replace(/0+$/, '')}`;
  return `${date}${fraction}Z`;
}

const TEXT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/;

/** From such a text, of any time zone; `NEVER` for what is none, or long ago. */
export function momentFromText(text: string): U64 {
  const match = TEXT.exec(text);
  if (match === null) return NEVER;
  const ms = Date.parse(`${match[1]}${match[3]}`);
  return Number.isNaN(ms) ? NEVER : momentOf(ms / 1000, Number((match[2] ?? '').padEnd(9, '0')));
}
