/** The response to a transaction, written in one go: a pass that finds the sizes and leaves them in the results, and one that writes. */
import {
  copyBytes,
  deleteRangeBodySize,
  type HeaderTemplate,
  innerHeaderSize,
  lengthDelimitedSize,
  rangeBodySize,
  writeDeleteRangeBody,
  writeInnerHeader,
  writeRangeBody,
  writeVarint,
} from '@etsd/proto';
import type { OpResult, TxnResult } from '@etsd/state';

export function txnResponseSize(result: TxnResult, header: HeaderTemplate, term: number): number {
  return header.size(result.revision, term) + bodySize(result.succeeded, result.ops);
}

/** `txnResponseSize` must have been called on this result. */
export function writeTxnResponse(
  target: Buffer,
  offset: number,
  result: TxnResult,
  header: HeaderTemplate,
  term: number,
): number {
  return writeBody(target, header.write(target, offset, result.revision, term), result.succeeded, result.ops);
}

function bodySize(succeeded: boolean, ops: readonly OpResult[]): number {
  let size = succeeded ? 2 : 0;
  for (const op of ops) {
    op.size = contentSize(op);
    const wrapped = op.kind === 'none' ? 0 : 1 + lengthDelimitedSize(op.size);
    size += 1 + lengthDelimitedSize(wrapped);
  }
  return size;
}

function contentSize(op: OpResult): number {
  switch (op.kind) {
    case 'range':
      return (
        innerHeaderSize(op.revision) + rangeBodySize(op.records, op.records.length, op.keysOnly, op.more, op.count)
      );
    case 'put':
      return innerHeaderSize(op.revision) + (op.previous === null ? 0 : 1 + lengthDelimitedSize(op.previous.length));
    case 'delete':
      return innerHeaderSize(op.revision) + deleteRangeBodySize(op.count, op.records);
    case 'txn':
      return innerHeaderSize(op.revision) + bodySize(op.succeeded, op.ops);
    case 'none':
      return 0;
  }
}

function writeBody(target: Buffer, offset: number, succeeded: boolean, ops: readonly OpResult[]): number {
  let at = offset;
  if (succeeded) {
    target[at++] = 0x10;
    target[at++] = 1;
  }
  for (const op of ops) {
    target[at++] = 0x1a;
    if (op.kind === 'none') {
      target[at++] = 0;
      continue;
    }
    at = writeVarint(target, at, 1 + lengthDelimitedSize(op.size));
    target[at++] = tagOf(op);
    at = writeContent(target, writeVarint(target, at, op.size), op);
  }
  return at;
}

function tagOf(op: OpResult): number {
  return op.kind === 'range' ? 0x0a : op.kind === 'put' ? 0x12 : op.kind === 'delete' ? 0x1a : 0x22;
}

function writeContent(target: Buffer, offset: number, op: OpResult): number {
  const at = writeInnerHeader(target, offset, op.revision);
  switch (op.kind) {
    case 'range':
      return writeRangeBody(target, at, op.records, op.records.length, op.keysOnly, op.more, op.count);
    case 'put': {
      const previous = op.previous;
      if (previous === null) return at;
      target[at] = 0x12;
      return copyBytes(target, writeVarint(target, at + 1, previous.length), previous, 0, previous.length);
    }
    case 'delete':
      return writeDeleteRangeBody(target, at, op.count, op.records);
    default:
      return writeBody(target, at, op.succeeded, op.ops);
  }
}
