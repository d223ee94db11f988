/**
 * CRC-32C of what lies in memory of its own, at three to five times the pace of `crc32c`: sixteen bytes at a time, by
 * instructions for vectors, which JavaScript reaches through WebAssembly only.
 *
 * A checksum is linear. A byte may be struck out of a message if its remainder is added (by exclusive or) further back: the
 * byte b, 64 bytes before the place of a remainder of 4 bytes, is worth b · x^(8 · 67) modulo the polynomial, and that is the sum
 * of what its two halves are worth. So a block of 64 bytes is folded into the one behind it by eight tables of sixteen bytes:
 * one for each half of a byte and each byte of its remainder, and a table of sixteen bytes is what one instruction looks up.
 *
 * ```
 *   block   … b₀ b₁ b₂ b₃ …          64 bytes
 *   next    … r₀ r₁ r₂ r₃ …          remainder of b₀, added to the 4 bytes that lie 64 behind it;
 *              r₀ r₁ r₂ r₃ …         that of b₁ one further, and so on: those of the last three bytes
 *                                    reach into the block after that (`over`)
 * ```
 * Of the last block, of what reaches over and of the rest of the message the ordinary checksum is taken.
 */
import { crc32c } from './crc32c.ts';

interface Memory {
  readonly buffer: ArrayBuffer;
}

/** What is used of it; the types of TypeScript have it for browsers only. */
interface Wasm {
  readonly Memory: new (size: { initial: number }) => Memory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
  validate(bytes: Uint8Array): boolean;
}

declare const WebAssembly: Wasm | undefined;

const BLOCK_BYTES = 64;
const VECTOR_BYTES = 16;
const REMAINDER_BYTES = 4;
/** Of a message's end, no more than fits into the last vectors is left; no less than what reaches over. */
const REST_MIN_BYTES = VECTOR_BYTES;
const REST_MAX_BYTES = BLOCK_BYTES + REST_MIN_BYTES;
const LAST_BYTES = BLOCK_BYTES + REST_MAX_BYTES;
/** Shorter runs are not worth it. */
const FOLDED_MIN_BYTES = 4 * BLOCK_BYTES;
const PAGE_BYTES = 65536;

/** Memory whose checksums are taken faster than those of any other. */
export class Crc32cMemory {
  readonly bytes: Buffer;
  /** Behind `bytes`: the end of the message as it is after folding. */
  private readonly last: Buffer;
  private readonly fold: Fold | null;

  constructor(size: number) {
    const all = size + LAST_BYTES;
    const { buffer, fold } = newFolding?.(all) ?? { buffer: new ArrayBuffer(all), fold: null };
    this.fold = fold;
    this.bytes = Buffer.from(buffer, 0, size);
    this.last = Buffer.from(buffer, size, LAST_BYTES);
  }

  /** As `crc32c` of `bytes`. */
  crc(start: number, end: number, seed: number): number {
    if (this.fold === null || end - start < FOLDED_MIN_BYTES) return crc32c(this.bytes, start, end, seed);
    const at = this.fold(start, end, ~seed, this.bytes.length);
    // The register at the beginning went into the first block.
    return crc32c(this.last, 0, BLOCK_BYTES + end - at, 0xffff_ffff);
  }
}

/** Folds [start, end) with what is in the register, puts its end to `last`, and gives from where on it was not folded. */
type Fold = (start: number, end: number, register: number, last: number) => number;

// ── the program ───────────────────────────────────────────────────────────────────────────────────────────────────────

const I32 = 0x7f;
const V128 = 0x7b;
/** Instructions (WebAssembly 3.0, chapter 5.4). */
const BLOCK = [0x02, 0x40];
const LOOP = [0x03, 0x40];
const BR = 0x0c;
const BR_IF = 0x0d;
const END = 0x0b;
const I32_CONST = 0x41;
const I32_ADD = 0x6a;
const I32_SUB = 0x6b;
const I32_LT_S = 0x48;
const vector = (code: number): number[] => [0xfd, ...leb(code)];
const LOAD = vector(0x00);
const STORE = vector(0x0b);
const CONST = vector(0x0c);
const SHUFFLE = vector(0x0d);
const REPLACE_I32_LANE = [...vector(0x1c), 0];
const AND = vector(0x4e);
const XOR = vector(0x51);
const SHIFT_BYTES_RIGHT = vector(0x6d);
/** The indices are below 16, where all processors agree. */
const LOOK_UP = vector(0x100);

function leb(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128);
  return [...bytes, left];
}

/** Small numbers only. */
const number = (value: number): number[] => [I32_CONST, ...(value < 64 ? [value] : [(value & 127) | 128, value >>> 7])];
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const load = (address: number, offset: number): number[] => [...get(address), ...LOAD, 0, ...leb(offset)];
const store = (address: number, offset: number, value: readonly number[]): number[] => [
  ...get(address),
  ...value,
  ...STORE,
  0,
  ...leb(offset),
];
const xor = (...values: readonly (readonly number[])[]): number[] =>
  values.flatMap((value, at) => (at === 0 ? value : [...value, ...XOR]));
const constant = (bytes: readonly number[]): number[] => [...CONST, ...bytes];
const ZERO = constant(Array<number>(VECTOR_BYTES).fill(0));

/** The bytes of `right`, `by` places later, behind the last ones of `left`. */
const later = (left: readonly number[], right: readonly number[], by: number): number[] => {
  const places = Array.from({ length: VECTOR_BYTES }, (_, at) => VECTOR_BYTES - by + at);
  return [...left, ...right, ...SHUFFLE, ...places];
};

// Locals: arguments, the block, what reaches over, remainders (four vectors for each of their bytes), halves, tables.
const [START, STOP, REGISTER, LAST] = [0, 1, 2, 3];
const VECTORS = BLOCK_BYTES / VECTOR_BYTES;
const FIRST_VECTOR = 4;
const block = (at: number): number => FIRST_VECTOR + at;
const OVER = block(VECTORS);
const remainder = (byte: number, at: number): number => OVER + 1 + byte * VECTORS + at;
const LOW = remainder(REMAINDER_BYTES, 0);
const HIGH = LOW + 1;
const table = (half: number, byte: number): number => HIGH + 1 + half * REMAINDER_BYTES + byte;
const LOCALS = table(2, 0) - FIRST_VECTOR;

/** What a byte is worth 67 bytes further. */
function worth(byte: number): number {
  const message = Buffer.alloc(REMAINDER_BYTES + BLOCK_BYTES);
  message[0] = byte;
  return ~crc32c(message, 0, BLOCK_BYTES, 0xffff_ffff);
}

function setTables(): number[] {
  const code: number[] = [];
  for (let half = 0; half < 2; half++) {
    for (let byte = 0; byte < REMAINDER_BYTES; byte++) {
      const bytes = Array.from({ length: 16 }, (_, index) => (worth(index << (4 * half)) >>> (8 * byte)) & 255);
      code.push(...constant(bytes), ...set(table(half, byte)));
    }
  }
  return code;
}

/** Sets the remainders of the block's bytes. */
function setRemainders(): number[] {
  const code: number[] = [];
  for (let at = 0; at < VECTORS; at++) {
    code.push(...get(block(at)), ...constant(Array<number>(VECTOR_BYTES).fill(15)), ...AND, ...set(LOW));
    code.push(...get(block(at)), ...number(4), ...SHIFT_BYTES_RIGHT, ...set(HIGH));
    for (let byte = 0; byte < REMAINDER_BYTES; byte++) {
      const low = [...get(table(0, byte)), ...get(LOW), ...LOOK_UP];
      const high = [...get(table(1, byte)), ...get(HIGH), ...LOOK_UP];
      code.push(...xor(low, high), ...set(remainder(byte, at)));
    }
  }
  return code;
}

/** Adds them to the block at `START`, which is the present one then. */
function addRemainders(): number[] {
  const code: number[] = [];
  const moved = (at: number): number[][] =>
    [1, 2, 3].map((byte) =>
      later(at === 0 ? ZERO : get(remainder(byte, at - 1)), at === VECTORS ? ZERO : get(remainder(byte, at)), byte),
    );
  for (let at = 0; at < VECTORS; at++) {
    const over = at === 0 ? [get(OVER)] : [];
    const sum = xor(load(START, at * VECTOR_BYTES), get(remainder(0, at)), ...moved(at), ...over);
    code.push(...sum, ...set(block(at)));
  }
  return [...code, ...xor(...moved(VECTORS)), ...set(OVER)];
}

const step = [...get(START), ...number(BLOCK_BYTES), I32_ADD, ...set(START)];

function program(): number[] {
  const code = [...setTables(), ...ZERO, ...set(OVER)];
  for (let at = 0; at < VECTORS; at++) {
    const bytes = load(START, at * VECTOR_BYTES);
    const first = [...ZERO, ...get(REGISTER), ...REPLACE_I32_LANE];
    code.push(...(at === 0 ? xor(bytes, first) : bytes), ...set(block(at)));
  }
  // Until less than a block and the least rest are left.
  const isEnd = [...get(STOP), ...get(START), I32_SUB, ...number(REST_MAX_BYTES), I32_LT_S];
  code.push(...step, ...BLOCK, ...LOOP, ...isEnd, BR_IF, 1);
  code.push(...setRemainders(), ...addRemainders(), ...step, BR, 0, END, END);
  // What is loaded beyond the end of the message is within the memory, and does not count.
  for (let at = 0; at < VECTORS; at++) code.push(...store(LAST, at * VECTOR_BYTES, get(block(at))));
  for (let at = 0; at * VECTOR_BYTES < REST_MAX_BYTES; at++) {
    const rest = load(START, at * VECTOR_BYTES);
    code.push(...store(LAST, BLOCK_BYTES + at * VECTOR_BYTES, at === 0 ? xor(rest, get(OVER)) : rest));
  }
  return [...code, ...get(START), END];
}

function moduleBytes(): Uint8Array<ArrayBuffer> {
  const list = (...entries: readonly (readonly number[])[]): number[] => [...leb(entries.length), ...entries.flat()];
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
  const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
  const section = (id: number, ...entries: readonly (readonly number[])[]): number[] => [
    id,
    ...sized(list(...entries)),
  ];
  return Uint8Array.from([
    ...Buffer.from('\0asm\x01\0\0\0', 'latin1'),
    ...section(1, [0x60, ...list([I32], [I32], [I32], [I32]), ...list([I32])]),
    ...section(2, [...name('m'), ...name('m'), 0x02, 0x00, 1]),
    ...section(3, [0]),
    ...section(7, [...name('f'), 0x00, 0]),
    ...section(10, sized([...list([...leb(LOCALS), V128]), ...program()])),
  ]);
}

/** Null where there is no WebAssembly, or one without these instructions. */
function prepared(): ((size: number) => { buffer: ArrayBuffer; fold: Fold }) | null {
  if (typeof WebAssembly === 'undefined') return null;
  const bytes = moduleBytes();
  if (!WebAssembly.validate(bytes)) return null;
  const { Instance, Memory } = WebAssembly;
  const module = new WebAssembly.Module(bytes);
  return (size) => {
    const memory = new Memory({ initial: Math.ceil(size / PAGE_BYTES) });
    const { exports } = new Instance(module, { m: { m: memory } });
    return { buffer: memory.buffer, fold: exports['f'] as Fold };
  };
}

const newFolding = prepared();
