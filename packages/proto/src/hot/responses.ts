/**
 * Responses of the hottest requests, written straight into a connection's buffer. Each is a size, which the frame needs
 * first, and a writer that must be given the same arguments. Records are stored bytes and are copied as they are.
 */
import { type U64, U64_ZERO } from '@etsd/base';
import { copyBytes, intSize, lengthDelimitedSize, u64Size, writeInt, writeU64, writeVarint } from '../wire.ts';
import type { HeaderTemplate } from './header.ts';
import { keyValueWithoutValueSize, writeKeyValueWithoutValue } from './key-value.ts';

// -- put --------------------------------------------------------------------------------------------------------------

/** `previous` is the record before, if asked for and there was one. */
export function putResponseSize(
  header: HeaderTemplate,
  revision: number,
  term: number,
  previous: Buffer | null,
): number {
  return header.size(revision, term) + (previous === null ? 0 : 1 + lengthDelimitedSize(previous.length));
}

export function writePutResponse(
  target: Buffer,
  offset: number,
  header: HeaderTemplate,
  revision: number,
  term: number,
  previous: Buffer | null,
): number {
  const at = header.write(target, offset, revision, term);
  return previous === null ? at : writeRecord(target, at, 0x12, previous);
}

function writeRecord(target: Buffer, offset: number, tag: number, record: Buffer): number {
  target[offset] = tag;
  const at = writeVarint(target, offset + 1, record.length);
  return copyBytes(target, at, record, 0, record.length);
}

// -- range ------------------------------------------------------------------------------------------------------------

/** Bytes of a range response behind its header: the first `recordCount` of `records`, `more` and `count`. */
export function rangeBodySize(
  records: readonly Buffer[],
  recordCount: number,
  keysOnly: boolean,
  more: boolean,
  count: number,
): number {
  let size = (more ? 2 : 0) + (count === 0 ? 0 : 1 + intSize(count));
  for (let index = 0; index < recordCount; index++) {
    const record = records[index] as Buffer;
    const length = keysOnly ? keyValueWithoutValueSize(record, 0, record.length) : record.length;
    size += 1 + lengthDelimitedSize(length);
  }
  return size;
}

export function writeRangeBody(
  target: Buffer,
  offset: number,
  records: readonly Buffer[],
  recordCount: number,
  keysOnly: boolean,
  more: boolean,
  count: number,
): number {
  let at = offset;
  for (let index = 0; index < recordCount; index++) {
    const record = records[index] as Buffer;
    at = keysOnly ? writeBareRecord(target, at, record) : writeRecord(target, at, 0x12, record);
  }
  if (more) {
    target[at++] = 0x18;
    target[at++] = 1;
  }
  if (count !== 0) {
    target[at++] = 0x20;
    at = writeInt(target, at, count);
  }
  return at;
}

function writeBareRecord(target: Buffer, offset: number, record: Buffer): number {
  target[offset] = 0x12;
  const at = writeVarint(target, offset + 1, keyValueWithoutValueSize(record, 0, record.length));
  return writeKeyValueWithoutValue(target, at, record, 0, record.length);
}

/** A range over one key that exists: what most reads are. */
export function singleRangeResponseSize(
  header: HeaderTemplate,
  revision: number,
  term: number,
  record: Buffer,
): number {
  return header.size(revision, term) + 3 + lengthDelimitedSize(record.length);
}

export function writeSingleRangeResponse(
  target: Buffer,
  offset: number,
  header: HeaderTemplate,
  revision: number,
  term: number,
  record: Buffer,
): number {
  const at = writeRecord(target, header.write(target, offset, revision, term), 0x12, record);
  target[at] = 0x20;
  target[at + 1] = 1;
  return at + 2;
}

// -- delete -----------------------------------------------------------------------------------------------------------

/** Bytes of a delete response behind its header: how many went, and the records that were asked for. */
export function deleteRangeBodySize(deleted: number, previous: readonly Buffer[]): number {
  let size = deleted === 0 ? 0 : 1 + intSize(deleted);
  for (let index = 0; index < previous.length; index++) {
    size += 1 + lengthDelimitedSize((previous[index] as Buffer).length);
  }
  return size;
}

export function writeDeleteRangeBody(
  target: Buffer,
  offset: number,
  deleted: number,
  previous: readonly Buffer[],
): number {
  let at = offset;
  if (deleted !== 0) {
    target[at++] = 0x10;
    at = writeInt(target, at, deleted);
  }
  for (let index = 0; index < previous.length; index++) {
    at = writeRecord(target, at, 0x1a, previous[index] as Buffer);
  }
  return at;
}

// -- lease keep-alive -------------------------------------------------------------------------------------------------

/** `ttlSeconds` of zero says that the lease is gone. */
export function keepAliveResponseSize(
  header: HeaderTemplate,
  revision: number,
  term: number,
  id: U64,
  ttlSeconds: number,
): number {
  const idSize = id === U64_ZERO ? 0 : 1 + u64Size(id);
  return header.size(revision, term) + idSize + (ttlSeconds === 0 ? 0 : 1 + intSize(ttlSeconds));
}

export function writeKeepAliveResponse(
  target: Buffer,
  offset: number,
  header: HeaderTemplate,
  revision: number,
  term: number,
  id: U64,
  ttlSeconds: number,
): number {
  let at = header.write(target, offset, revision, term);
  if (id !== U64_ZERO) {
    target[at++] = 0x10;
    at = writeU64(target, at, id);
  }
  if (ttlSeconds !== 0) {
    target[at++] = 0x18;
    at = writeInt(target, at, ttlSeconds);
  }
  return at;
}
