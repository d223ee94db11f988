/**
 * What applying an entry tells whoever waits for it. These objects are reused from entry to entry: they are valid only
 * while `Waiter.done` runs, and what must outlive it is copied there.
 */
import type { AlarmMember, EtcdError } from '@etsd/proto';
import type { MemberRecord } from './members.ts';

/** Who waits for an entry's result; the same shape as the log's own interface. */
export interface Waiter {
  done(result: unknown): void;
  fail(error: EtcdError): void;
}

/** Of a put. */
export class PutResult {
  /** The store's revision after it. */
  revision = 0;
  /** The record it replaced (an encoded KeyValue), where the request asked for it and there was one. */
  previous: Buffer | null = null;
}

/** Of a range deletion. */
export class DeleteResult {
  revision = 0;
  deleted = 0;
  /** The records deleted, by key, where the request asked for them. */
  previous: Buffer[] = [];
}

/** Of a compaction. */
export class CompactResult {
  /** The store's current revision. */
  revision = 0;
  /** What was compacted to, for those who wait until the space is free. */
  compactRevision = 0;
}

/** Which operation an `OpResult` answers. `none` is an operation without content, which only old log entries have. */
export type OpKind = 'none' | 'range' | 'put' | 'delete' | 'txn';

/** Of one operation within a transaction. One shape for all kinds; what a kind does not use stays at its default. */
export class OpResult {
  readonly kind: OpKind;
  /** Revision for the operation's own header; of a nested transaction always 0, as etcd has it. */
  revision = 0;
  /** range: the records found; delete: those deleted. */
  records: Buffer[] = [];
  /** range: keys in the range; delete: keys deleted. */
  count = 0;
  more = false;
  keysOnly = false;
  /** put: the record it replaced, where asked for. */
  previous: Buffer | null = null;
  /** txn: which branch ran. */
  succeeded = false;
  /** txn: results of the branch's operations in order. */
  ops: OpResult[] = NO_OPS;
  /** Scratch of the encoder: bytes of the content. */
  size = 0;

  constructor(kind: OpKind) {
    this.kind = kind;
  }
}

export const NO_OPS: OpResult[] = [];

/** Of a whole transaction. */
export class TxnResult {
  revision = 0;
  succeeded = false;
  ops: OpResult[] = NO_OPS;
  /** What it read is more than an answer may have; records are missing here. It was applied as any other. */
  isTooLarge = false;
}

/** Of an alarm request. */
export class AlarmResult {
  revision = 0;
  alarms: AlarmMember[] = [];
}

/** Of a membership change: the members after it, by id. */
export class MembersResult {
  members: MemberRecord[] = [];
}
