import { assert } from '@etsd/base';

/** Added to the request limit for what the transport accepts: framing and the fields around the payload. */
export const REQUEST_OVERHEAD_BYTES = 512 * 1024;

const MEBIBYTE = 1024 * 1024;

/** Bytes of JSON in which a message of the request limit fits: base64 takes a third more, the rest is names and spaces. */
export function gatewayBodyBytes(maxRequestBytes: number): number {
  return Math.ceil(((maxRequestBytes + REQUEST_OVERHEAD_BYTES) * 3) / 2);
}

/** Names and values of JSON in one message of the gateway: a transaction has the most, some twenty an operation. */
export function gatewayValues(maxTxnOps: number): number {
  return Math.max(100_000, 60 * maxTxnOps);
}

/** Conditions and operations that a transaction of the HTTP API has in all its branches. */
export function apiOperations(maxTxnOps: number): number {
  return 8 * maxTxnOps;
}

export const DEFAULT_QUOTA_BYTES = 2 * 1024 * MEBIBYTE;

/**
 * Free bytes of a disk below which nothing more is added: the next segment of the log (64 MB, made ready ahead of its
 * use) and some batches of the store. What the store has not written yet comes on top.
 */
export const DISK_RESERVE_BYTES = 72 * MEBIBYTE;

/**
 * Operations the backend's open batch gathers at most: the engine is handed all of a batch in one go, at a microsecond
 * each. A larger `backend-batch-limit` has no effect.
 */
export const COMMIT_OPERATIONS_MAX = 2000;

/** Time a slice of a compaction may hold the event loop, in milliseconds. */
export const COMPACTION_SLICE_MS = 2;

/** What the store may keep in memory while its disk is full, in bytes; beyond it even deletions are refused. */
export const STORE_BACKLOG_BYTES_MAX = 64 * MEBIBYTE;

/** Every bound of a member that its API relies on. One object per member, checked once, never changed afterwards. */
export interface Limits {
  /** Largest log entry that a client's request may become, in bytes; above it `RequestTooLarge`. Flag `max-request-bytes`. */
  readonly maxRequestBytes: number;
  /** Largest number of compares, or of operations in one branch of a transaction. Flag `max-txn-ops`. */
  readonly maxTxnOps: number;
  /** Bytes of the backend at which writes are refused; `Infinity` where there is no quota. Flag `quota-backend-bytes`. */
  readonly quotaBytes: number;
  /** Entries committed and not yet applied above which proposals are refused with `TooManyRequests`. */
  readonly maxApplyGap: number;
  /** Longest a request waits for its result, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Time a slice of a long read may hold the event loop, in milliseconds. */
  readonly sliceMs: number;
  /** Bytes of a range response above which it is made in slices instead of in one go. */
  readonly directResponseBytes: number;
  /** Bytes of a chunked answer that may wait in the transport before its producer pauses. */
  readonly responseWindowBytes: number;
  /** Bytes of large ranges that a member holds ready; beyond them it reads its answers a second time as they are sent. */
  readonly gatheredBytes: number;
  /** Watch streams, health watchers and other calls that stay open, per member. */
  readonly maxHealthWatchers: number;
}

/** What the operator can choose; everything else has one value. Absent means the default. */
export interface LimitOptions {
  readonly maxRequestBytes?: number;
  readonly maxTxnOps?: number;
  /** As the flag has it: 0 is the default quota, below 0 no quota. */
  readonly quotaBackendBytes?: number;
  readonly electionMs?: number;
}

/** The limits of a member, their relations asserted. */
export function makeLimits(options: LimitOptions = {}): Limits {
  const quota = options.quotaBackendBytes ?? 0;
  const limits: Limits = {
    maxRequestBytes: options.maxRequestBytes ?? 1.5 * MEBIBYTE,
    maxTxnOps: options.maxTxnOps ?? 128,
    quotaBytes: quota === 0 ? DEFAULT_QUOTA_BYTES : quota < 0 ? Number.POSITIVE_INFINITY : quota,
    maxApplyGap: 5000,
    requestTimeoutMs: 5000 + 2 * (options.electionMs ?? 1000),
    sliceMs: 1,
    directResponseBytes: 256 * 1024,
    responseWindowBytes: 4 * MEBIBYTE,
    gatheredBytes: 16 * MEBIBYTE,
    maxHealthWatchers: 1000,
  };
  assert(limits.maxRequestBytes > 0, 'the request limit must be above zero');
  assert(limits.maxTxnOps > 0, 'the operations limit must be above zero');
  assert(limits.directResponseBytes < limits.responseWindowBytes, 'a direct response must fit the response window');
  assert(limits.sliceMs < 10, 'a slice must stay under the bound of the event loop');
  return limits;
}
