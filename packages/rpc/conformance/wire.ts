/** Frames and header blocks as plain bytes, right or wrong: nothing here checks what it is given. */

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Bit = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

export const Code = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
} as const;

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

export const NOTHING = Buffer.alloc(0);

export function frame(type: number, flags: number, stream: number, payload: Buffer = NOTHING): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([header, payload]);
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}

export function settings(...pairs: (readonly [number, number])[]): Buffer {
  const payload = pairs.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), u32(value)]));
  return frame(Type.SETTINGS, 0, 0, Buffer.concat(payload));
}

export const SETTINGS_ACK = frame(Type.SETTINGS, Bit.ACK, 0);

export function ping(text = 'ping-me!', flags = 0): Buffer {
  return frame(Type.PING, flags, 0, Buffer.from(text.padEnd(8).slice(0, 8)));
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(Type.WINDOW_UPDATE, 0, stream, u32(increment));
}

export function rstStream(stream: number, code: number): Buffer {
  return frame(Type.RST_STREAM, 0, stream, u32(code));
}

export function data(stream: number, payload: Buffer, flags: number = Bit.END_STREAM): Buffer {
  return frame(Type.DATA, flags, stream, payload);
}

/** Priority fields: dependency, weight. */
export function priority(dependency: number, weight = 15): Buffer {
  return Buffer.concat([u32(dependency), Buffer.from([weight])]);
}

export function continuation(stream: number, block: Buffer, flags: number = Bit.END_HEADERS): Buffer {
  return frame(Type.CONTINUATION, flags, stream, block);
}

/** An integer of RFC 7541 section 5.1 with `bits` bits of prefix, under the pattern `first`. */
export function integer(first: number, bits: number, value: number): Buffer {
  const full = (1 << bits) - 1;
  if (value < full) return Buffer.from([first | value]);
  const out = [first | full];
  let left = value - full;
  while (left >= 128) {
    out.push((left % 128) | 128);
    left = Math.floor(left / 128);
  }
  out.push(left);
  return Buffer.from(out);
}

/** A string without Huffman coding (RFC 7541 section 5.2). */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(0, 7, bytes.length), bytes]);
}

export type Field = readonly [name: string, value: string];

/** Literal fields with new names, not indexed (RFC 7541 section 6.2.2): a block that touches no table. */
export function literal(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** Literal fields with new names that enter the dynamic table (RFC 7541 section 6.2.1). */
export function indexed(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0x40]), text(name), text(value)]));
}
