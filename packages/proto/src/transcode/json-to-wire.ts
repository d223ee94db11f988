/**
 * JSON into the wire bytes of a message, by protobuf's mapping (https://protobuf.dev/programming-guides/json): names of
 * the schema or lowerCamelCase, 64-bit integers as numbers or text, bytes in either base64, enumerations by name or
 * number, null for a default. Unknown names are passed over. Fields are written by ascending number and defaults left
 * out, as every other writer of these messages does; no object is made of what the names of the input would say.
 */
import { U64_ZERO, u64FromDecimal, u64IsNegative } from '@etsd/base';
import {
  DEPTH_MAX,
  intSize,
  lengthDelimitedSize,
  stringSize,
  u64Size,
  varintSize,
  writeBytes,
  writeInt,
  writeString,
  writeU64,
  writeVarint,
} from '../wire.ts';
import { isSpace, JSON_VALUES_MAX, JsonScanner, ScanStep } from './json-scanner.ts';
import { JsonError, JsonTokens, PREFIX } from './json-tokens.ts';
import type { FieldPlan, MessagePlan } from './plan.ts';

const EMPTY_MESSAGE = Buffer.alloc(0);

/**
 * The message of the first JSON value in `bytes`; what follows it is not looked at. Nothing but space makes an empty
 * message. `valuesMax` bounds the names and values in the text. Throws `JsonError`.
 */
export function jsonToWire(plan: MessagePlan, bytes: Buffer, valuesMax = JSON_VALUES_MAX): Buffer {
  const end = bytes.length;
  let from = 0;
  while (from < end && isSpace(bytes[from] as number)) from++;
  if (from === end) return EMPTY_MESSAGE;
  const tokens = new JsonTokens(bytes, from, end, valuesMax);
  try {
    return readMessage(plan, tokens, 0);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    // What is no JSON at all is refused for that, wherever in the value it shows.
    throw grammarError(bytes, from, valuesMax) ?? error;
  }
}

function grammarError(bytes: Buffer, start: number, valuesMax: number): JsonError | null {
  const scanner = new JsonScanner(valuesMax);
  scanner.scan(bytes, start, bytes.length);
  if (scanner.outcome === ScanStep.ERROR) return new JsonError(scanner.error);
  if (scanner.outcome === ScanStep.CONTINUE && !scanner.isCompleteAtEnd) return new JsonError('unexpected EOF');
  return null;
}

/** Fields as they come, each with its place among the fields of the message. */
class Gathered {
  readonly parts: Buffer[] = [];
  readonly places: number[] = [];
  private isSorted = true;

  add(place: number, bytes: Buffer): void {
    const last = this.places.length - 1;
    if (last >= 0 && (this.places[last] as number) > place) this.isSorted = false;
    this.places.push(place);
    this.parts.push(bytes);
  }

  join(): Buffer {
    if (this.parts.length === 0) return EMPTY_MESSAGE;
    if (this.parts.length === 1) return this.parts[0] as Buffer;
    if (this.isSorted) return Buffer.concat(this.parts);
    const order = this.places.map((_, index) => index);
    order.sort((a, b) => (this.places[a] as number) - (this.places[b] as number) || a - b);
    return Buffer.concat(order.map((index) => this.parts[index] as Buffer));
  }
}

function readMessage(plan: MessagePlan, tokens: JsonTokens, depth: number): Buffer {
  if (depth > DEPTH_MAX) throw new JsonError(`${PREFIX}exceeded max recursion depth`);
  if (tokens.peek() !== 0x7b) tokens.unexpectedToken();
  tokens.open();
  const gathered = new Gathered();
  if (tokens.peek() === 0x7d) {
    tokens.at++;
    return EMPTY_MESSAGE;
  }
  const seen = new Uint8Array(plan.fields.length);
  const oneofs = new Uint8Array(plan.oneofs);
  do {
    if (tokens.peek() !== 0x22) tokens.unexpectedToken();
    tokens.scalar();
    const nameAt = tokens.tokenStart;
    const field = plan.byName(tokens.text);
    if (field === undefined) {
      tokens.expect(0x3a);
      tokens.skip();
      continue;
    }
    if (seen[field.index] === 1) tokens.refuse(nameAt, `duplicate field ${tokens.raw}`);
    seen[field.index] = 1;
    const name = field.oneof < 0 ? '' : tokens.raw;
    tokens.expect(0x3a);
    if (tokens.peek() === 0x6e) {
      tokens.scalar();
      continue;
    }
    if (field.oneof >= 0) {
      if (oneofs[field.oneof] === 1) {
        tokens.refuse(nameAt, `error parsing ${name}, oneof ${field.oneofName} is already set`);
      }
      oneofs[field.oneof] = 1;
    }
    if (field.repeated) readList(field, tokens, gathered, depth);
    else readSingle(field, tokens, gathered, depth);
  } while (tokens.another(0x7d));
  return gathered.join();
}

function readSingle(field: FieldPlan, tokens: JsonTokens, gathered: Gathered, depth: number): void {
  if (field.kind === 'message') {
    addMessage(field, readMessage(field.message, tokens, depth + 1), gathered);
    return;
  }
  const value = readScalar(field, tokens);
  if (value === null || (field.oneof < 0 && isDefault(value))) return;
  gathered.add(field.index, tagged(field, value));
}

function readList(field: FieldPlan, tokens: JsonTokens, gathered: Gathered, depth: number): void {
  if (tokens.peek() !== 0x5b) tokens.unexpectedToken();
  tokens.open();
  if (tokens.peek() === 0x5d) {
    tokens.at++;
    return;
  }
  const packed: Buffer[] = [];
  do {
    if (field.kind === 'message') addMessage(field, readMessage(field.message, tokens, depth + 1), gathered);
    else {
      const value = readScalar(field, tokens);
      if (value === null) continue;
      if (field.isLengthDelimited) gathered.add(field.index, tagged(field, value));
      else packed.push(untagged(field, value));
    }
  } while (tokens.another(0x5d));
  if (packed.length > 0) addMessage(field, Buffer.concat(packed), gathered);
}

/** Bytes behind their tag and length. */
function addMessage(field: FieldPlan, body: Buffer, gathered: Gathered): void {
  const { tag } = field;
  const head = Buffer.allocUnsafe(tag.length + varintSize(body.length));
  writeVarint(head, tag.copy(head), body.length);
  gathered.add(field.index, head);
  if (body.length > 0) gathered.add(field.index, body);
}

// ── scalars ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** As the wire needs it: ids and integers beyond 2^53 as 16 hexadecimal digits. */
type Scalar = number | boolean | Buffer | Text | Wide;

class Text {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A 64-bit integer that a number can not hold exactly. */
class Wide {
  readonly digits: string;
  constructor(digits: string) {
    this.digits = digits;
  }
}

function isDefault(value: Scalar): boolean {
  if (value instanceof Buffer) return value.length === 0;
  if (value instanceof Text) return value.text === '';
  if (value instanceof Wide) return value.digits === U64_ZERO;
  return value === 0 || value === false;
}

/** Null for the name of an enumeration's value that is not known, which is passed over. */
function readScalar(field: FieldPlan, tokens: JsonTokens): Scalar | null {
  const next = tokens.peek();
  if (next === 0x7b || next === 0x5b) {
    const shown = String.fromCharCode(next);
    return tokens.refuse(tokens.at, `invalid value for ${field.kindName} field ${field.jsonName}: ${shown}`);
  }
  const first = tokens.scalar();
  const value = scalarOf(field, tokens, first);
  if (value !== undefined) return value;
  const message = `invalid value for ${field.kindName} field ${field.jsonName}: ${tokens.raw}`;
  return tokens.refuse(tokens.tokenStart, message);
}

function scalarOf(field: FieldPlan, tokens: JsonTokens, first: number): Scalar | null | undefined {
  const isString = first === 0x22;
  const isNumber = first === 0x2d || (first >= 0x30 && first <= 0x39);
  switch (field.kind) {
    case 'bool':
      return isString || isNumber || first === 0x6e ? undefined : first === 0x74;
    case 'string':
      return isString ? new Text(tokens.text) : undefined;
    case 'bytes':
      return isString ? decodeBase64(tokens.text) : undefined;
    case 'enum':
      if (isString) return field.numberOf.get(tokens.text) ?? null;
      return isNumber ? integer(tokens.raw, 32, true) : undefined;
    default: {
      if (!isString && !isNumber) return undefined;
      const text = isString ? tokens.text : tokens.raw;
      return integer(text, field.kind === 'int32' || field.kind === 'uint32' ? 32 : 64, field.signed);
    }
  }
}

const JSON_NUMBER = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?$/;
/** Digits of the largest 64-bit integer. */
const DIGITS_MAX = 20;

/** An integer from the text of a JSON number, also one with an exponent; undefined where it is none or does not fit. */
function integer(text: string, bits: 32 | 64, signed: boolean): number | Wide | undefined {
  const digits = /^-?(?:0|[1-9][0-9]{0,15})$/.test(text) ? text : integerDigits(text);
  if (digits === null) return undefined;
  const number = Number(digits);
  if (!signed && number < 0) return undefined;
  if (bits === 32) {
    const fits = signed ? number === (number | 0) : number === number >>> 0;
    return fits ? number + 0 : undefined;
  }
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number;
  const id = u64FromDecimal(digits);
  if (id === undefined || (signed && u64IsNegative(id) !== number < 0)) return undefined;
  return new Wide(id);
}

/** Plain digits of a number that is whole. */
function integerDigits(text: string): string | null {
  const match = JSON_NUMBER.exec(text);
  if (match === null) return null;
  const [, sign, whole, fraction = '', exponent = '0'] = match as unknown as [string, string, string, string?, string?];
  const intPart = whole === '0' ? '' : whole;
  const fracPart = fraction.replace(/0+$/, '');
  if (intPart === '' && fracPart === '') return '0';
  const shift = Number(exponent);
  if (shift >= 0) {
    if (fracPart.length > shift || intPart.length + shift > DIGITS_MAX) return null;
    return trimmed(sign, `${intPart}${fracPart.padEnd(shift, '0')}`);
  }
  const kept = intPart.length + shift;
  if (fracPart !== '' || kept < 0 || /[^0]/.test(intPart.slice(kept))) return null;
  return trimmed(sign, intPart.slice(0, kept));
}

function trimmed(sign: string, digits: string): string {
  const significant = digits.replace(/^0+/, '');
  return significant === '' ? '0' : `${sign}${significant}`;
}

/** Standard or URL-safe, padded or not, line breaks passed over; undefined for anything else. */
function decodeBase64(text: string): Buffer | undefined {
  const isPadded = text.length % 4 === 0;
  const solid = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, '') : text;
  if (isPadded ? solid.length % 4 !== 0 : solid.length % 4 === 1) return undefined;
  const shape = /[-_]/.test(solid)
    ? isPadded
      ? /^[A-Za-z0-9_-]*={0,2}$/
      : /^[A-Za-z0-9_-]*$/
    : isPadded
      ? /^[A-Za-z0-9+/]*={0,2}$/
      : /^[A-Za-z0-9+/]*$/;
  return shape.test(solid) ? Buffer.from(solid, 'base64') : undefined;
}

// ── wire ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

function tagged(field: FieldPlan, value: Scalar): Buffer {
  const { tag } = field;
  const target = Buffer.allocUnsafe(tag.length + sizeOf(field, value));
  write(field, value, target, tag.copy(target));
  return target;
}

function untagged(field: FieldPlan, value: Scalar): Buffer {
  const target = Buffer.allocUnsafe(sizeOf(field, value));
  write(field, value, target, 0);
  return target;
}

function sizeOf(field: FieldPlan, value: Scalar): number {
  if (typeof value === 'number') return isSignedOnWire(field) ? intSize(value) : varintSize(value);
  if (typeof value === 'boolean') return 1;
  if (value instanceof Text) return stringSize(value.text);
  return value instanceof Wide ? u64Size(value.digits) : lengthDelimitedSize(value.length);
}

function write(field: FieldPlan, value: Scalar, target: Buffer, offset: number): number {
  if (typeof value === 'number') {
    return isSignedOnWire(field) ? writeInt(target, offset, value) : writeVarint(target, offset, value);
  }
  if (typeof value === 'boolean') return writeVarint(target, offset, value ? 1 : 0);
  if (value instanceof Text) return writeString(target, offset, value.text);
  return value instanceof Wide ? writeU64(target, offset, value.digits) : writeBytes(target, offset, value);
}

function isSignedOnWire(field: FieldPlan): boolean {
  return field.signed || field.kind === 'enum';
}
