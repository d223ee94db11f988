/**
 * The wire bytes of a message as JSON text by protobuf's mapping, with the names of the schema: 64-bit integers as text,
 * bytes in standard base64, enumerations by name, defaults left out. It trusts the bytes to be a message that one of our
 * writers made: fields by ascending number, each value once.
 */
import { u64FromHalves, u64ToDecimal, u64ToSignedDecimal } from '@etsd/base';
import { ProtoError } from '../wire.ts';
import type { FieldPlan, MessagePlan } from './plan.ts';

/** How the text is set. */
export interface JsonStyle {
  /** Between members and between elements. */
  readonly comma: ', ' | ',';
  /** Escape what would be markup in a page. */
  readonly escapesMarkup: boolean;
}

/** Single answers: the space is thrown in by etcd's library, by a coin thrown when it was built. */
export const SPACED: JsonStyle = { comma: ', ', escapesMarkup: false };
/** Messages of a stream, which are set a second time, without spaces. */
export const COMPACT: JsonStyle = { comma: ',', escapesMarkup: true };

const TWO_32 = 0x1_0000_0000;

/** The whole message as text. */
export function wireToJson(plan: MessagePlan, bytes: Buffer, style: JsonStyle, start = 0, end = bytes.length): string {
  const writer = new JsonFields(plan, style);
  const cursor = new Cursor(bytes, start, end);
  let text = '{';
  while (cursor.at < end) text += writer.field(cursor);
  return `${text}${writer.close()}}`;
}

/** The fields of one message, one after the other: what a list has still open is closed by the next field or `close`. */
export class JsonFields {
  private readonly plan: MessagePlan;
  private readonly style: JsonStyle;
  private last: FieldPlan | null = null;
  private isListOpen = false;

  constructor(plan: MessagePlan, style: JsonStyle) {
    this.plan = plan;
    this.style = style;
  }

  /** Takes one field from the cursor. */
  field(cursor: Cursor): string {
    const tag = cursor.varint();
    const field = this.plan.byNumber(tag >>> 3);
    if (field === undefined) {
      cursor.skip(tag & 7);
      return '';
    }
    if (field.repeated) return this.listField(field, cursor, tag & 7);
    const value = valueText(field, cursor, this.style);
    return value === null ? '' : this.begin(field) + value;
  }

  close(): string {
    return this.isListOpen ? ']' : '';
  }

  private listField(field: FieldPlan, cursor: Cursor, wireType: number): string {
    let text = this.isListOpen && this.last === field ? this.style.comma : `${this.begin(field)}[`;
    this.isListOpen = true;
    if (field.isLengthDelimited || wireType !== 2) return text + elementText(field, cursor, this.style);
    const end = cursor.length() + cursor.at;
    let separator = '';
    while (cursor.at < end) {
      text += separator + elementText(field, cursor, this.style);
      separator = this.style.comma;
    }
    return text;
  }

  /** The name, and what has to stand before it. */
  private begin(field: FieldPlan): string {
    const before = this.last === null ? '' : this.isListOpen ? `]${this.style.comma}` : this.style.comma;
    this.last = field;
    this.isListOpen = false;
    return before + field.label;
  }
}

/** Reads wire bytes. */
export class Cursor {
  readonly bytes: Buffer;
  readonly end: number;
  at: number;
  /** The upper 32 bits of the last varint. */
  high = 0;
  low = 0;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** The nearest number; the exact bits are in `high` and `low`. */
  varint(): number {
    const { bytes } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw new ProtoError('unexpected end of message');
      const byte = bytes[this.at++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else high |= bits << 31;
      if (byte < 0x80) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        return this.high * TWO_32 + this.low;
      }
    }
    throw new ProtoError('varint overflows 64 bits');
  }

  /** A length that lies within the bytes. */
  length(): number {
    const length = this.varint();
    if (length > this.end - this.at) throw new ProtoError('unexpected end of message');
    return length;
  }

  skip(wireType: number): void {
    if (wireType === 0) this.varint();
    else if (wireType === 2) this.at += this.length();
    else throw new ProtoError('illegal wire type');
  }
}

/** Null where it is the default, which is left out. */
function valueText(field: FieldPlan, cursor: Cursor, style: JsonStyle): string | null {
  const isExplicit = field.oneof >= 0 || field.kind === 'message';
  const start = cursor.at;
  const text = elementText(field, cursor, style);
  if (isExplicit) return text;
  // A default is one byte long on the wire: a zero, or the length of nothing.
  return cursor.at - start === 1 && cursor.bytes[start] === 0 ? null : text;
}

function elementText(field: FieldPlan, cursor: Cursor, style: JsonStyle): string {
  if (field.isLengthDelimited) {
    const from = cursor.length() + 0;
    const start = cursor.at;
    const end = start + from;
    cursor.at = end;
    if (field.kind === 'message') return wireToJson(field.message, cursor.bytes, style, start, end);
    if (field.kind === 'bytes') return `"${cursor.bytes.toString('base64', start, end)}"`;
    return jsonString(cursor.bytes.toString('utf8', start, end), style);
  }
  const number = cursor.varint();
  switch (field.kind) {
    case 'bool':
      return number === 0 ? 'false' : 'true';
    case 'enum': {
      const name = field.nameOf.get(cursor.low | 0);
      return name === undefined ? String(cursor.low | 0) : `"${name}"`;
    }
    case 'int32':
      return String(cursor.low | 0);
    case 'uint32':
      return String(cursor.low);
    default:
      return `"${cursor.high < 0x20_0000 ? String(number) : wideText(field, cursor)}"`;
  }
}

function wideText(field: FieldPlan, cursor: Cursor): string {
  const id = u64FromHalves(cursor.high, cursor.low);
  return field.signed ? u64ToSignedDecimal(id) : u64ToDecimal(id);
}

const NEEDS_CARE = /[^ -~]|["\\<>&]/;
const MARKUP = /[<>&\u2028\u2029]/g;

/** A text between quotes. */
export function jsonString(text: string, style: JsonStyle): string {
  if (!NEEDS_CARE.test(text)) return `"${text}"`;
  const quoted = JSON.stringify(text);
  if (!style.escapesMarkup) return quoted;
  return quoted.replace(MARKUP, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
