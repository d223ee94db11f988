import { Cursor, type JsonFields } from '@etsd/proto';

/** Bytes of a field's tag and length, at most. */
const FIELD_HEAD_BYTES = 20;

/** A message whose bytes come in parts, cut anywhere, turned into JSON field by field. */
export class GrowingMessage {
  private readonly fields: JsonFields;
  private rest = Buffer.alloc(0);

  constructor(fields: JsonFields) {
    this.fields = fields;
  }

  /** Takes the next bytes; they are not kept. Returns the text of all fields that are complete with them. */
  push(bytes: Buffer): string {
    const held = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const cursor = new Cursor(held, 0, held.length);
    let text = '';
    while (endOfField(held, cursor.at) <= held.length) text += this.fields.field(cursor);
    this.rest = Buffer.from(held.subarray(cursor.at));
    return text;
  }

  close(): string {
    return this.fields.close();
  }
}

/** Where the field at `start` ends; beyond the end of `bytes` where not even its length is there. */
function endOfField(bytes: Buffer, start: number): number {
  const nowhere = bytes.length + 1;
  if (start === bytes.length) return nowhere;
  const cursor = new Cursor(bytes, start, bytes.length);
  if (!hasVarint(bytes, cursor.at)) return nowhere;
  const wireType = cursor.varint() & 7;
  if (!hasVarint(bytes, cursor.at)) return nowhere;
  const value = cursor.varint();
  return wireType === 2 ? cursor.at + value : cursor.at;
}

function hasVarint(bytes: Buffer, start: number): boolean {
  for (let at = start; at < bytes.length; at++) {
    if ((bytes[at] as number) < 0x80) return true;
    if (at - start > FIELD_HEAD_BYTES) return true;
  }
  return false;
}
