import { checkHashes } from './hashes.ts';
import type {
  CompactOperation,
  HashRecord,
  HistoryRecord,
  KvOperation,
  LeaseOperation,
  Violation,
  WatchRecord,
} from './history.ts';
import { checkLeases, type LeaseLimits } from './leases.ts';
import { checkRegisters } from './register.ts';
import { logFromWatches } from './revision-log.ts';
import { checkRevisions } from './revisions.ts';
import { checkStoreOrder } from './store-order.ts';
import { checkTenures } from './tenures.ts';
import { checkWatches, checkWatchesReach } from './watch-rules.ts';

export interface Verdict {
  readonly violations: Violation[];
  /** What was judged, for the report: a verdict about nothing is worth nothing. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface CheckOptions {
  /** The revision of the store at the end, which every watch still open must have reached; 0 = do not ask. */
  readonly finalRevision: number;
  /** Null: do not ask about lateness. */
  readonly leases: LeaseLimits | null;
}

/** Every promise at once. The log of what was committed is what the watches saw, so some must have covered everything. */
export function checkHistory(records: readonly HistoryRecord[], options: CheckOptions): Verdict {
  const operations: KvOperation[] = [];
  const leases: LeaseOperation[] = [];
  const compactions: CompactOperation[] = [];
  const watches: WatchRecord[] = [];
  const hashes: HashRecord[] = [];
  for (const record of records) {
    if (record.type === 'kv') operations.push(record);
    else if (record.type === 'lease') leases.push(record);
    else if (record.type === 'compact') compactions.push(record);
    else if (record.type === 'watch') watches.push(record);
    else if (record.type === 'hash') hashes.push(record);
  }
  const { log, violations } = logFromWatches(watches);
  const order = checkStoreOrder(operations, log, watches);
  violations.push(...order.violations, ...checkRegisters(operations), ...checkRevisions(operations));
  violations.push(...checkWatches(watches, log, compactions), ...checkHashes(hashes));
  const limits: LeaseLimits = options.leases ?? { calmSince: 0, lateMs: 0, lookedAt: 0, alive: new Set<string>() };
  const { fastestClock = 1 } = limits;
  const tenures = checkTenures({ records, operations, compactions, log, order, fastestClock });
  violations.push(...tenures.violations);
  violations.push(...checkLeases(leases, [...order.leaseEnds, ...tenures.leaseEnds], limits));
  if (options.finalRevision > 0) {
    if (log.last !== options.finalRevision) {
      violations.push({
        rule: 'durability',
        text: `the store is at ${options.finalRevision}, the log ends at ${log.last}`,
      });
    }
    violations.push(...checkWatchesReach(watches, options.finalRevision));
  }
  const counts = countsOf(records, operations, watches, log.last, order.leaseEnds.length);
  return { violations, counts: { ...counts, ...tenures.counts } };
}

function countsOf(
  records: readonly HistoryRecord[],
  operations: readonly KvOperation[],
  watches: readonly WatchRecord[],
  revisions: number,
  leaseEnds: number,
): Record<string, number> {
  const of = (test: (operation: KvOperation) => boolean): number => operations.filter(test).length;
  return {
    operations: operations.length,
    answered: of((one) => one.outcome === 'ok'),
    refused: of((one) => one.outcome === 'failed'),
    unknown: of((one) => one.outcome === 'unknown'),
    serializable: of((one) => one.serializable && one.outcome === 'ok'),
    revisions,
    watches: watches.length,
    events: watches.reduce((sum, watch) => sum + watch.responses.reduce((n, one) => n + one.events.length, 0), 0),
    leaseEnds,
    hashes: records.filter((one) => one.type === 'hash').length,
    faults: records.filter((one) => one.type === 'fault').length,
  };
}
