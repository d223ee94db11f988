/**
 * Transactions written as if nobody else were there: read, reckon, write; done again where somebody else was. The
 * idea is that of software transactional memory (Shavit and Touitou, 1995); the levels are those of etcd's Go client.
 */
import { type Compare, ErrCompacted } from '@etsd/proto';
import type { Client } from '../core.ts';
import { isError } from '../errors.ts';
import type { CallOptions } from '../options.ts';
import { ConflictError, LostError } from './errors.ts';
import { Memory } from './memory.ts';
import { Backoff } from './persist.ts';

/**
 * What a transaction may see of others, and what makes it try again:
 *
 * - `serializable-snapshot`: all reads are of one revision, and nothing that was read or is written may have changed since.
 * - `serializable`: all reads are of one revision, and nothing that was read may have changed since.
 * - `repeatable-reads`: a key read twice reads the same, each was the newest when it was read first, and nothing that was
 *   read may have changed. What is written is as good as with `serializable`; what `work` sees may be of several revisions.
 * - `read-committed`: each read is the newest, nothing is checked, what is written is written as one revision.
 */
export type Isolation = 'serializable-snapshot' | 'serializable' | 'repeatable-reads' | 'read-committed';

export interface AtomicOptions extends CallOptions {
  /** Default `serializable-snapshot`. */
  readonly isolation?: Isolation;
  /** What has to hold besides, such as `lock.held`; `LostError` says that it does not. */
  readonly conditions?: readonly Compare[];
  /** Gives up with `ConflictError` after so many attempts. Default: goes on until the signal is aborted. */
  readonly attempts?: number;
}

/** Pauses after a conflict, at first and at most. */
const CONFLICT_PAUSE_MS = 1;
const CONFLICT_PAUSE_MAX_MS = 100;

/**
 * Runs `work` and writes what it wrote as one revision, if nothing that it relied on has changed meanwhile; otherwise runs
 * it again. So it must do nothing but read and write through its argument. What it throws ends the transaction, and
 * nothing is written. Answers what it returned.
 *
 * A server takes no more than `--max-txn-ops` (128) keys read, and as many written.
 *
 * `UnavailableError` leaves open whether it was written.
 */
export async function atomically<T>(
  client: Client,
  work: (memory: Memory) => T | Promise<T>,
  options: AtomicOptions = {},
): Promise<T> {
  const { attempts = Number.POSITIVE_INFINITY, conditions = [], isolation = 'serializable-snapshot' } = options;
  const backoff = new Backoff(client, CONFLICT_PAUSE_MS, CONFLICT_PAUSE_MAX_MS);
  let before: Memory | null = null;
  for (let attempt = 1; ; attempt++) {
    const memory: Memory = new Memory(client, isolation, before, options);
    try {
      const result = await work(memory);
      const outcome = await memory.commit(conditions);
      if (outcome === 'done') return result;
      if (outcome === 'condition') throw new LostError('a condition of the transaction does not hold');
      before = memory;
    } catch (error) {
      // The revision of the first read is gone: the next attempt has a newer one.
      if (!isError(error, ErrCompacted)) throw error;
      before = null;
    }
    if (attempt >= attempts) throw new ConflictError(attempt);
    await backoff.pause(options.signal);
  }
}
