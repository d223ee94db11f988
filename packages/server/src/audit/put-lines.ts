/**
 * Lines about puts on their way to the audit log. While a put is answered only what its line needs is noted; the lines are
 * written many at a time, behind the answers of a turn: clients do not wait for them, and the code and all it touches is in
 * the processor's caches and stays there. In columns, used again and again: nothing is made for a put.
 *
 *     heads    │ Head │ Head │ …        numbers │ end, µs, revision │ …
 *     codes    │ 0    │ 0    │ …        keys    │ app/1app/2…        (ends: where each ends)
 */
import type { AuditBuffer, LineSource } from './audit-buffer.ts';
import { durationUs, type Head, type LineWriter, lineBytesMax, WORD_BYTES } from './line-writer.ts';
import { ESCAPE_BYTES_MAX, PLAIN_KEY_BYTES_MAX, writeKey } from './request-fields.ts';

/**
 * Puts noted at which lines are due at the end of the turn, and which are noted at most. Those of nearly every busy turn are
 * due: the columns' first kilobytes are used again and again then, which are likelier to stay in the processor's caches.
 */
const PUTS_DUE = 16;
const PUTS_MAX = 2048;
/** Bytes of their keys at which the lines are written at once. */
const KEYS_BYTES = 128 * 1024;
const KEY_BYTES_MAX = PLAIN_KEY_BYTES_MAX * ESCAPE_BYTES_MAX;
const NUMBERS = 3;

export class PutLines implements LineSource {
  bytesMax = 0;
  private readonly writer: LineWriter;
  private readonly buffer: AuditBuffer;
  private count = 0;
  private readonly heads: Head[] = [];
  private readonly codes = new Uint8Array(PUTS_MAX);
  private readonly ends = new Uint32Array(PUTS_MAX);
  private readonly numbers = new Float64Array(PUTS_MAX * NUMBERS);
  private readonly keys = new Uint8Array(KEYS_BYTES + KEY_BYTES_MAX + WORD_BYTES);
  private readonly keysView = new DataView(this.keys.buffer);
  private keysEnd = 0;

  constructor(writer: LineWriter, buffer: AuditBuffer) {
    this.writer = writer;
    this.buffer = buffer;
    buffer.source = this;
  }

  /** Notes a put of the key `bytes[start, end)`, `PLAIN_KEY_BYTES_MAX` long at most. */
  add(
    head: Head,
    bytes: Buffer,
    start: number,
    end: number,
    code: number,
    sinceMs: number,
    endMs: number,
    revision: number,
  ): void {
    const { numbers, count, keysEnd: keyStart } = this;
    const keyEnd = writeKey(bytes, start, end, this.keys, keyStart);
    this.keysEnd = keyEnd;
    this.ends[count] = keyEnd;
    this.heads[count] = head;
    this.codes[count] = code;
    const at = count * NUMBERS;
    numbers[at] = endMs;
    numbers[at + 1] = durationUs(sinceMs, endMs);
    numbers[at + 2] = revision;
    this.bytesMax += lineBytesMax(head, keyEnd - keyStart);
    this.count = count + 1;
    if (count === 0) this.buffer.gather();
    else if (count === PUTS_DUE) this.buffer.beDue();
    else if (count + 1 === PUTS_MAX || keyEnd >= KEYS_BYTES) this.flush();
  }

  flush(): void {
    const { count, writer, heads, keysView, ends, codes, numbers } = this;
    if (count === 0) return;
    this.count = this.keysEnd = this.bytesMax = 0;
    let start = 0;
    for (let place = 0; place < count; place++) {
      const end = ends[place] as number;
      const at = place * NUMBERS;
      const endMs = numbers[at] as number;
      const us = numbers[at + 1] as number;
      const revision = numbers[at + 2] as number;
      writer.writeKeyed(heads[place] as Head, keysView, start, end, codes[place] as number, endMs, us, revision);
      start = end;
    }
  }
}
