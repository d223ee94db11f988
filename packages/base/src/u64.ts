/**
 * 64-bit ids without bigint: a `U64` is always 16 lowercase hexadecimal digits, so that equality, ordering and use as a
 * map key are those of a short string, and both halves can be had as numbers. This is the one file that may touch BigInt,
 * for the edges where people read and write decimal numbers.
 */
export type U64 = string;

export const U64_ZERO: U64 = '0000000000000000';

const BYTE_HEX: string[] = [];
for (let byte = 0; byte < 256; byte++) BYTE_HEX.push(byte.toString(16).padStart(2, '0'));

function half(value: number): string {
  return (
    (BYTE_HEX[(value >>> 24) & 255] as string) +
    (BYTE_HEX[(value >>> 16) & 255] as string) +
    (BYTE_HEX[(value >>> 8) & 255] as string) +
    (BYTE_HEX[value & 255] as string)
  );
}

/** From the two 32-bit halves; either may be given signed or unsigned. */
export function u64FromHalves(high: number, low: number): U64 {
  if (high === 0 && low === 0) return U64_ZERO;
  return half(high) + half(low);
}

/** The upper 32 bits, unsigned. */
export function u64High(id: U64): number {
  return Number.parseInt(id.slice(0, 8), 16);
}

/** The lower 32 bits, unsigned. */
export function u64Low(id: U64): number {
  return Number.parseInt(id.slice(8), 16);
}

/** From a safe, non-negative integer. */
export function u64FromNumber(value: number): U64 {
  return u64FromHalves(Math.floor(value / 0x1_0000_0000), value >>> 0);
}

/** Eight bytes, big-endian, from `offset`. */
export function u64FromBytes(bytes: Buffer, offset = 0): U64 {
  return u64FromHalves(bytes.readUInt32BE(offset), bytes.readUInt32BE(offset + 4));
}

/** Writes eight bytes, big-endian, and returns the offset behind them. */
export function u64WriteBytes(id: U64, target: Buffer, offset: number): number {
  target.writeUInt32BE(u64High(id), offset);
  target.writeUInt32BE(u64Low(id), offset + 4);
  return offset + 8;
}

/** Hexadecimal without leading zeros, as etcd prints ids (`%x`). */
export function u64ToHex(id: U64): string {
  const trimmed = id.replace(/^0+/, '');
  return trimmed === '' ? '0' : trimmed;
}

/** From 1 to 16 hexadecimal digits of either case; `undefined` for anything else. */
export function u64FromHex(text: string): U64 | undefined {
  if (!/^[0-9a-fA-F]{1,16}$/.test(text)) return undefined;
  return text.toLowerCase().padStart(16, '0');
}

/** Unsigned decimal. */
export function u64ToDecimal(id: U64): string {
  return BigInt(`0x${id}`).toString();
}

/** Decimal of the same bits read as a signed 64-bit number, as JSON shows a lease id. */
export function u64ToSignedDecimal(id: U64): string {
  return BigInt.asIntN(64, BigInt(`0x${id}`)).toString();
}

/** From a decimal number, signed or unsigned, that fits 64 bits; `undefined` for anything else. */
export function u64FromDecimal(text: string): U64 | undefined {
  if (!/^-?[0-9]{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  if (value < -(2n ** 63n) || value >= 2n ** 64n) return undefined;
  return BigInt.asUintN(64, value).toString(16).padStart(16, '0');
}

/** Whether the bits, read as a signed number, are below zero. */
export function u64IsNegative(id: U64): boolean {
  return id.charCodeAt(0) >= 0x38;
}
