/**
 * `mvccpb.KeyValue`, the record as stored and as sent: fields in ascending order, zeros left out, so that equal records
 * are equal bytes on every member and in etcd.
 */
import { type Key, keyFromBytes, type U64, U64_ZERO } from '@etsd/base';
import {
  copyBytes,
  intSize,
  lengthDelimitedSize,
  u64Size,
  varintSize,
  writeInt,
  writeLatin1,
  writeU64,
  writeVarint,
} from '../wire.ts';
import { sharedReader } from './reader.ts';

export function keyValueSize(
  keyLength: number,
  createRevision: number,
  modRevision: number,
  version: number,
  valueLength: number,
  lease: U64,
): number {
  let size = keyLength === 0 ? 0 : 1 + lengthDelimitedSize(keyLength);
  if (createRevision !== 0) size += 1 + intSize(createRevision);
  if (modRevision !== 0) size += 1 + intSize(modRevision);
  if (version !== 0) size += 1 + intSize(version);
  if (valueLength !== 0) size += 1 + lengthDelimitedSize(valueLength);
  if (lease !== U64_ZERO) size += 1 + u64Size(lease);
  return size;
}

/** Writes a record whose value is `value[valueStart, valueEnd)`; returns the offset behind it. */
export function writeKeyValue(
  target: Buffer,
  offset: number,
  key: Key,
  createRevision: number,
  modRevision: number,
  version: number,
  value: Buffer,
  valueStart: number,
  valueEnd: number,
  lease: U64,
): number {
  let at = offset;
  if (key.length !== 0) {
    target[at++] = 0x0a;
    at = writeVarint(target, at, key.length);
    at = writeLatin1(target, at, key);
  }
  if (createRevision !== 0) {
    target[at++] = 0x10;
    at = writeInt(target, at, createRevision);
  }
  if (modRevision !== 0) {
    target[at++] = 0x18;
    at = writeInt(target, at, modRevision);
  }
  if (version !== 0) {
    target[at++] = 0x20;
    at = writeInt(target, at, version);
  }
  if (valueEnd !== valueStart) {
    target[at++] = 0x2a;
    at = writeVarint(target, at, valueEnd - valueStart);
    at = copyBytes(target, at, value, valueStart, valueEnd);
  }
  if (lease !== U64_ZERO) {
    target[at++] = 0x30;
    at = writeU64(target, at, lease);
  }
  return at;
}

/** A record of its own, for those who keep it. */
export function encodeKeyValue(
  key: Key,
  createRevision: number,
  modRevision: number,
  version: number,
  value: Buffer,
  valueStart: number,
  valueEnd: number,
  lease: U64,
): Buffer {
  const size = keyValueSize(key.length, createRevision, modRevision, version, valueEnd - valueStart, lease);
  const record = Buffer.allocUnsafe(size);
  writeKeyValue(record, 0, key, createRevision, modRevision, version, value, valueStart, valueEnd, lease);
  return record;
}

/** Where in a buffer the parts of a record are. Reusable. */
export class KeyValueView {
  keyStart = 0;
  keyEnd = 0;
  createRevision = 0;
  modRevision = 0;
  version = 0;
  valueStart = 0;
  valueEnd = 0;
  lease: U64 = U64_ZERO;

  parse(bytes: Buffer, start = 0, end = bytes.length): void {
    const reader = sharedReader;
    reader.reset(bytes, start, end);
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = start;
    this.createRevision = this.modRevision = this.version = 0;
    this.lease = U64_ZERO;
    while (reader.at < end) {
      const tag = reader.tag();
      switch (tag) {
        case 0x0a:
          this.keyEnd = reader.span();
          this.keyStart = reader.spanStart;
          break;
        case 0x10:
          this.createRevision = reader.int();
          break;
        case 0x18:
          this.modRevision = reader.int();
          break;
        case 0x20:
          this.version = reader.int();
          break;
        case 0x2a:
          this.valueEnd = reader.span();
          this.valueStart = reader.spanStart;
          break;
        case 0x30:
          this.lease = reader.u64();
          break;
        default:
          reader.skip(tag);
      }
    }
  }

  /** The key, taken from the buffer that was parsed. */
  key(bytes: Buffer): Key {
    return keyFromBytes(bytes, this.keyStart, this.keyEnd);
  }

  /** The value as a view of the buffer that was parsed. */
  value(bytes: Buffer): Buffer {
    return bytes.subarray(this.valueStart, this.valueEnd);
  }
}

const scratch = new KeyValueView();

/** Bytes of the value with its tag and length, as the writer above made them. */
function valueFieldSize(view: KeyValueView): number {
  const length = view.valueEnd - view.valueStart;
  return length === 0 ? 0 : 1 + varintSize(length) + length;
}

/** Bytes of the stored record `bytes[start, end)` without its value, as a keys_only range sends it. */
export function keyValueWithoutValueSize(bytes: Buffer, start: number, end: number): number {
  scratch.parse(bytes, start, end);
  return end - start - valueFieldSize(scratch);
}

/** Copies the stored (hence canonical) record `source[start, end)` without its value; returns the offset behind it. */
export function writeKeyValueWithoutValue(
  target: Buffer,
  offset: number,
  source: Buffer,
  start: number,
  end: number,
): number {
  scratch.parse(source, start, end);
  const omitted = valueFieldSize(scratch);
  if (omitted === 0) return copyBytes(target, offset, source, start, end);
  const at = copyBytes(target, offset, source, start, scratch.valueEnd - omitted);
  return copyBytes(target, at, source, scratch.valueEnd, end);
}
