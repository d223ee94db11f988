/** The messages of `test.proto`, read and written by hand: there are few, and this package knows no generated ones. */

/** One field of a message: a varint as a number, or bytes. */
interface WireField {
  readonly number: number;
  readonly value: number;
  readonly bytes: Buffer;
}

const NO_BYTES = Buffer.alloc(0);

function readVarint(bytes: Buffer, at: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let next = at; next < bytes.length && next < at + 10; next++) {
    const byte = bytes[next] as number;
    value += (byte & 127) * scale;
    if (byte < 128) return { value, next: next + 1 };
    scale *= 128;
  }
  throw new Error('a varint that does not end');
}

function* fieldsOf(bytes: Buffer): Generator<WireField> {
  let at = 0;
  while (at < bytes.length) {
    const tag = readVarint(bytes, at);
    const number = tag.value >>> 3;
    const kind = tag.value & 7;
    const size = kind === 1 ? 8 : kind === 5 ? 4 : -1;
    if (size >= 0) {
      at = tag.next + size;
      continue;
    }
    if (kind !== 0 && kind !== 2) throw new Error(`wire type ${kind}`);
    const { value, next } = readVarint(bytes, tag.next);
    at = next;
    if (kind === 0) yield { number, value, bytes: NO_BYTES };
    else {
      at = next + value;
      if (at > bytes.length) throw new Error('a field longer than its message');
      yield { number, value: 0, bytes: bytes.subarray(next, at) };
    }
  }
}

function first(bytes: Buffer, number: number): WireField | undefined {
  for (const field of fieldsOf(bytes)) if (field.number === number) return field;
  return undefined;
}

function readBool(field: WireField | undefined): boolean | null {
  return field === undefined ? null : (first(field.bytes, 1)?.value ?? 0) !== 0;
}

export interface EchoStatus {
  readonly code: number;
  readonly message: string;
}

function readStatus(field: WireField | undefined): EchoStatus | null {
  if (field === undefined) return null;
  return { code: first(field.bytes, 1)?.value ?? 0, message: first(field.bytes, 2)?.bytes.toString('utf8') ?? '' };
}

export interface SimpleRequest {
  readonly responseSize: number;
  readonly responseCompressed: boolean;
  readonly status: EchoStatus | null;
  /** Null where the client does not care. */
  readonly expectCompressed: boolean | null;
}

export function readSimpleRequest(bytes: Buffer): SimpleRequest {
  return {
    responseSize: first(bytes, 2)?.value ?? 0,
    responseCompressed: readBool(first(bytes, 6)) === true,
    status: readStatus(first(bytes, 7)),
    expectCompressed: readBool(first(bytes, 8)),
  };
}

export interface ResponseParameters {
  readonly size: number;
  readonly intervalUs: number;
  readonly compressed: boolean;
}

export interface StreamingOutputRequest {
  readonly responses: readonly ResponseParameters[];
  readonly status: EchoStatus | null;
}

export function readStreamingOutputRequest(bytes: Buffer): StreamingOutputRequest {
  const responses: ResponseParameters[] = [];
  for (const field of fieldsOf(bytes)) {
    if (field.number !== 2) continue;
    responses.push({
      size: first(field.bytes, 1)?.value ?? 0,
      intervalUs: first(field.bytes, 2)?.value ?? 0,
      compressed: readBool(first(field.bytes, 3)) === true,
    });
  }
  return { responses, status: readStatus(first(bytes, 7)) };
}

export interface StreamingInputRequest {
  readonly payloadBytes: number;
  readonly expectCompressed: boolean | null;
}

export function readStreamingInputRequest(bytes: Buffer): StreamingInputRequest {
  const payload = first(bytes, 1)?.bytes ?? NO_BYTES;
  return { payloadBytes: first(payload, 2)?.bytes.length ?? 0, expectCompressed: readBool(first(bytes, 2)) };
}

function varint(value: number): Buffer {
  const out: number[] = [];
  let left = value;
  while (left >= 128) {
    out.push((left % 128) | 128);
    left = Math.floor(left / 128);
  }
  out.push(left);
  return Buffer.from(out);
}

function lengthDelimited(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(content.length), content]);
}

/** SimpleResponse and StreamingOutputCallResponse: a payload of zeros in field 1. */
export function writePayloadResponse(size: number): Buffer {
  return lengthDelimited(1, lengthDelimited(2, Buffer.alloc(size)));
}

export function writeStreamingInputResponse(payloadBytes: number): Buffer {
  return payloadBytes === 0 ? NO_BYTES : Buffer.concat([Buffer.from([0x08]), varint(payloadBytes)]);
}
