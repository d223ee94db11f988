import type { Message } from '../support/client.ts';

/** One step of a differential run. It is plain data: the same step goes to both servers. */
export type Op =
  /** One unary call, whatever its outcome. */
  | { kind: 'call'; method: string; request: Message }
  /** A lease whose id the server chooses; it is revoked at once, since the two ids differ. */
  | { kind: 'grant-auto'; ttl: string }
  /** A lease with so short a time that it is revoked before it could expire on one side first. */
  | { kind: 'grant-short'; id: string; ttl: string }
  | { kind: 'keep-alive'; ids: string[] }
  | { kind: 'watch-open' }
  | { kind: 'watch-create'; stream: number; request: Message }
  | { kind: 'watch-cancel'; stream: number; id: string }
  | { kind: 'watch-progress'; stream: number }
  | { kind: 'watch-close'; stream: number }
  /** Waits until every watcher has had every event it must have had, and compares them. */
  | { kind: 'settle' }
  /** Both servers end (by SIGKILL when `hard`) and come back on the same data. */
  | { kind: 'restart'; hard: boolean };

/** What the generator may know of the servers' state: only what both have agreed upon. */
export interface View {
  revision: number;
  /** 0 while nothing was compacted. */
  compactRevision: number;
  /** Open watch streams: for each the ids of its live watchers. */
  streams: { slot: number; watchers: string[] }[];
}

/** One line that shows an operation with its odd bytes. */
export function describe(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (part !== null && typeof part === 'object' && 'type' in part && 'data' in part && part.type === 'Buffer') {
      return printable(Buffer.from(part.data as number[]));
    }
    return part;
  });
}

/** ASCII as it is, other bytes as \xNN, long runs cut. */
export function printable(bytes: Buffer): string {
  let out = '';
  for (const byte of bytes.subarray(0, 40)) {
    out += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return bytes.length > 40 ? `${out}…(${bytes.length} bytes)` : out;
}
