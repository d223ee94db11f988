/** `raftpb.Entry` and `walpb.Record` from their parts, byte for byte as etcd 3.5 writes them (see schema/raft.proto). */
import { copyBytes, lengthDelimitedSize, varintSize, writeVarint } from '../wire.ts';

export function entrySize(term: number, index: number, dataLength: number): number {
  return (
    2 + 1 + varintSize(term) + 1 + varintSize(index) + (dataLength === 0 ? 0 : 1 + lengthDelimitedSize(dataLength))
  );
}

/** `type` is an `EntryType`. */
export function writeEntry(
  target: Buffer,
  offset: number,
  type: number,
  term: number,
  index: number,
  data: Buffer,
  dataStart: number,
  dataEnd: number,
): number {
  target[offset] = 0x08;
  target[offset + 1] = type;
  target[offset + 2] = 0x10;
  let at = writeVarint(target, offset + 3, term);
  target[at++] = 0x18;
  at = writeVarint(target, at, index);
  if (dataEnd !== dataStart) {
    target[at++] = 0x22;
    at = writeVarint(target, at, dataEnd - dataStart);
    at = copyBytes(target, at, data, dataStart, dataEnd);
  }
  return at;
}

/** Bytes of a record around `dataLength` bytes. */
export function walRecordSize(crc: number, dataLength: number): number {
  return 3 + varintSize(crc) + (dataLength === 0 ? 0 : 1 + lengthDelimitedSize(dataLength));
}

/**
 * Writes a record up to its data and returns where the `dataLength` bytes of data belong. `type` is below 128, `crc`
 * unsigned.
 */
export function writeWalRecordHead(
  target: Buffer,
  offset: number,
  type: number,
  crc: number,
  dataLength: number,
): number {
  target[offset] = 0x08;
  target[offset + 1] = type;
  target[offset + 2] = 0x10;
  let at = writeVarint(target, offset + 3, crc);
  if (dataLength !== 0) {
    target[at++] = 0x1a;
    at = writeVarint(target, at, dataLength);
  }
  return at;
}

export function writeWalRecord(
  target: Buffer,
  offset: number,
  type: number,
  crc: number,
  data: Buffer,
  dataStart: number,
  dataEnd: number,
): number {
  const at = writeWalRecordHead(target, offset, type, crc, dataEnd - dataStart);
  return copyBytes(target, at, data, dataStart, dataEnd);
}
