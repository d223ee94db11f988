/**
 * What clients of a cluster saw, as plain data: one object per operation, watch, hash. It is written as lines of JSON and
 * read back, so nothing here is a class. Keys and values are strings with one character per byte; leases are the
 * decimal strings of the protocol; times are milliseconds of one monotonic clock.
 *
 * A history starts with an empty store at revision 1, and no two puts have the same value: with that, what a client reads
 * says which write it saw.
 */

import type { TenurePart } from './tenure-records.ts';

/** A key with its value as a member returned it. */
export interface KeyRecord {
  readonly key: string;
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  /** '0' for none. */
  readonly lease: string;
}

export interface Compare {
  readonly key: string;
  readonly target: 'value' | 'mod' | 'create' | 'version';
  readonly result: '=' | '!=' | '>' | '<';
  /** Text for `value`, a number for the others. */
  readonly operand: string | number;
}

/** `end` as in the protocol: '' a single key, '\0' open. */
export type Step =
  | { readonly do: 'put'; readonly key: string; readonly value: string; readonly lease: string }
  | { readonly do: 'delete'; readonly key: string; readonly end: string }
  /** `revision` 0 means the newest; `limit` 0 none. */
  | {
      readonly do: 'range';
      readonly key: string;
      readonly end: string;
      readonly revision: number;
      readonly limit: number;
    };

export interface StepResult {
  /** Of a range: what it returned. */
  readonly kvs: readonly KeyRecord[];
  /** Of a range: how many there are without the limit. */
  readonly count: number;
  /** Of a delete: how many keys it removed. */
  readonly deleted: number;
}

/** `failed`: the answer says that nothing was done. `unknown`: no answer, or one that says nothing. */
export type Outcome = 'ok' | 'failed' | 'unknown';

/** A put, delete, range or transaction; the first three are transactions of one step without a condition. */
export interface KvOperation {
  readonly type: 'kv';
  readonly client: number;
  /** Name of the member that was asked, and the number of its process: a restarted member may know less. */
  readonly member: string;
  readonly run: number;
  readonly start: number;
  /** When the client stopped waiting. What happened to an unknown operation may come later still. */
  readonly end: number;
  /** A single range that any member may answer from what it has. */
  readonly serializable: boolean;
  readonly compares: readonly Compare[];
  readonly success: readonly Step[];
  readonly failure: readonly Step[];
  readonly outcome: Outcome;
  /** The error of an operation that was not `ok`; else ''. */
  readonly error: string;
  /** Of the answer's header; 0 without one. */
  readonly revision: number;
  readonly term: number;
  /** Which branch was taken. */
  readonly succeeded: boolean;
  /** One per step of that branch. */
  readonly results: readonly StepResult[];
}

export interface LeaseOperation {
  readonly type: 'lease';
  readonly do: 'grant' | 'renew' | 'revoke';
  readonly lease: string;
  /** Seconds that the answer granted; of a renewal 0 says that there is no such lease. */
  readonly ttl: number;
  readonly start: number;
  readonly end: number;
  readonly outcome: Outcome;
  readonly error: string;
}

export interface CompactOperation {
  readonly type: 'compact';
  readonly revision: number;
  readonly start: number;
  readonly end: number;
  readonly outcome: Outcome;
  readonly error: string;
}

export interface WatchEvent {
  readonly type: 'put' | 'delete';
  /** Of a delete: key and revision, all else empty. */
  readonly kv: KeyRecord;
  readonly previous: KeyRecord | null;
}

/** One message of a watch. Without events it is a bookmark: everything up to `revision` has been sent. */
export interface WatchResponse {
  readonly at: number;
  readonly revision: number;
  readonly events: readonly WatchEvent[];
}

/** One watch on one stream. A client that goes on after a lost connection makes a new one. */
export interface WatchRecord {
  readonly type: 'watch';
  readonly id: number;
  readonly member: string;
  readonly run: number;
  readonly key: string;
  readonly end: string;
  /** As asked for: 0 = from now on. */
  readonly startRevision: number;
  /** Of the answer that it was created; 0 if there was none, and then there is nothing else either. */
  createdRevision: number;
  readonly previous: boolean;
  /** Kinds of event that it does not want. */
  readonly without: readonly ('put' | 'delete')[];
  readonly responses: WatchResponse[];
  /** Why there are no more: `open` it was working to the end, `lost` with its connection, `compacted` cancelled. */
  ended: 'open' | 'lost' | 'compacted';
  /** Of a cancellation: the revision it gave as the oldest there is. */
  compactRevision: number;
}

/** A member's digest of everything up to a revision. */
export interface HashRecord {
  readonly type: 'hash';
  readonly member: string;
  readonly revision: number;
  readonly compactRevision: number;
  readonly hash: number;
}

/** Something done to the cluster; for the reader, and to know when it was whole. */
export interface FaultRecord {
  readonly type: 'fault';
  readonly at: number;
  readonly text: string;
}

export type HistoryRecord =
  | KvOperation
  | LeaseOperation
  | CompactOperation
  | WatchRecord
  | HashRecord
  | FaultRecord
  | TenurePart;

/** A promise that a history breaks. */
export interface Violation {
  /** Short name of the promise. */
  readonly rule: string;
  readonly text: string;
}

/** One line for people. */
export function describeOperation(operation: KvOperation): string {
  const { start, end, member, run, client, outcome, revision, succeeded } = operation;
  const when = `${start.toFixed(1)}–${outcome === 'unknown' ? '?' : end.toFixed(1)} ms`;
  const compares = operation.compares.map((one) => `${one.key}.${one.target}${one.result}${one.operand}`).join(' ');
  const branch = outcome !== 'ok' || succeeded ? operation.success : operation.failure;
  const steps = branch.map((step) => {
    if (step.do === 'put') return `put ${step.key}=${step.value}${step.lease === '0' ? '' : ` lease ${step.lease}`}`;
    return `${step.do} ${step.key}${step.end === '' ? '' : `…${JSON.stringify(step.end)}`}`;
  });
  const condition = compares === '' ? '' : `if ${compares} ${outcome === 'ok' ? `(${succeeded}) ` : ''}`;
  const answer = outcome === 'ok' ? `→ revision ${revision}` : `→ ${outcome} ${operation.error}`;
  return `[client ${client} at ${member}#${run}, ${when}] ${condition}${steps.join(', ')} ${answer}`;
}
