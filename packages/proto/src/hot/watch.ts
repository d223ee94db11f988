/**
 * A watch response in two pieces: the head, which is each watcher's own, and the events, which are encoded once and
 * copied to every watcher that shall have them. One after the other they are a complete `etcdserverpb.WatchResponse`.
 *
 *   │ header │ watch_id │ fragment │ events … │
 *   └───────── head ───────────────┴ shared ──┘
 */
import { copyBytes, intSize, lengthDelimitedSize, writeInt, writeVarint } from '../wire.ts';
import type { HeaderTemplate } from './header.ts';

/** `fragment`: more of the same revision follows in another response. */
export function watchHeadSize(
  header: HeaderTemplate,
  revision: number,
  term: number,
  watchId: number,
  fragment: boolean,
): number {
  return header.size(revision, term) + (watchId === 0 ? 0 : 1 + intSize(watchId)) + (fragment ? 2 : 0);
}

export function writeWatchHead(
  target: Buffer,
  offset: number,
  header: HeaderTemplate,
  revision: number,
  term: number,
  watchId: number,
  fragment: boolean,
): number {
  let at = header.write(target, offset, revision, term);
  if (watchId !== 0) {
    target[at++] = 0x10;
    at = writeInt(target, at, watchId);
  }
  if (fragment) {
    target[at++] = 0x38;
    target[at++] = 1;
  }
  return at;
}

function eventLength(deleted: boolean, recordLength: number, previousLength: number): number {
  return (
    (deleted ? 2 : 0) +
    1 +
    lengthDelimitedSize(recordLength) +
    (previousLength === 0 ? 0 : 1 + lengthDelimitedSize(previousLength))
  );
}

/** Bytes of one event as a field of the response. A `previousLength` of zero means there is no record before. */
export function eventFieldSize(deleted: boolean, recordLength: number, previousLength: number): number {
  return 1 + lengthDelimitedSize(eventLength(deleted, recordLength, previousLength));
}

/** Writes one event as a field of the response, from encoded records; returns the offset behind it. */
export function writeEventField(
  target: Buffer,
  offset: number,
  deleted: boolean,
  record: Buffer,
  previous: Buffer | null,
): number {
  const previousLength = previous === null ? 0 : previous.length;
  target[offset] = 0x5a;
  let at = writeVarint(target, offset + 1, eventLength(deleted, record.length, previousLength));
  if (deleted) {
    target[at++] = 0x08;
    target[at++] = 1;
  }
  target[at++] = 0x12;
  at = writeVarint(target, at, record.length);
  at = copyBytes(target, at, record, 0, record.length);
  if (previous !== null && previousLength !== 0) {
    target[at++] = 0x1a;
    at = writeVarint(target, at, previousLength);
    at = copyBytes(target, at, previous, 0, previousLength);
  }
  return at;
}
