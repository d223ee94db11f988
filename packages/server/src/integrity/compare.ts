import type { U64 } from '@etsd/base';
import type { WindowDigest } from './window-digests.ts';

/** The hash of the keys at a revision (HashKV), as a member computed it. */
export interface StateHash {
  readonly revision: number;
  readonly compactRevision: number;
  readonly hash: number;
}

/** What a member says of itself. */
export interface MemberReport {
  readonly windows: readonly WindowDigest[];
  readonly states: readonly StateHash[];
}

/** Where this member alone differs. */
export interface Difference {
  readonly what: 'changes' | 'state';
  /** Revisions among which the difference lies; the first may be lower where older differences were not compared. */
  readonly fromRevision: number;
  readonly toRevision: number;
  /** Of the members that agree on something else. */
  readonly others: readonly U64[];
}

/** What one round of comparing has shown. */
export interface Verdict {
  /** Windows and states where not all that were heard agree. */
  readonly differing: number;
  /** The first one where a majority of the voters, without this member, agrees on something else than it. */
  readonly difference: Difference | null;
}

/**
 * Compares what this member says of itself with what other voters say. `voters` is how many there are in the cluster: this
 * member is wrong only where a majority of all of them holds one other value; whoever does not answer counts for nobody.
 */
export function compareReports(own: MemberReport, others: ReadonlyMap<U64, MemberReport>, voters: number): Verdict {
  const quorum = Math.floor(voters / 2) + 1;
  const tally = new Tally(quorum);
  const windows = new Map<number, Map<number, U64[]>>();
  const states = new Map<string, Map<number, U64[]>>();
  for (const [id, report] of others) {
    for (const { end, digest } of report.windows) note(windows, end, digest, id);
    for (const state of report.states) note(states, stateKey(state), state.hash, id);
  }
  for (const { end, digest, fromRevision, toRevision } of own.windows) {
    const holders = tally.count(digest, windows.get(end));
    if (holders !== null) tally.differs({ what: 'changes', fromRevision, toRevision, others: holders });
  }
  for (const state of own.states) {
    const holders = tally.count(state.hash, states.get(stateKey(state)));
    const fromRevision = Math.max(1, state.compactRevision);
    if (holders !== null) tally.differs({ what: 'state', fromRevision, toRevision: state.revision, others: holders });
  }
  return tally;
}

class Tally implements Verdict {
  differing = 0;
  difference: Difference | null = null;
  private readonly quorum: number;

  constructor(quorum: number) {
    this.quorum = quorum;
  }

  /** The members of a majority that holds another value, or null. */
  count(own: number, values: ReadonlyMap<number, U64[]> | undefined): readonly U64[] | null {
    if (values === undefined) return null;
    let majority: readonly U64[] | null = null;
    for (const [value, holders] of values) {
      if (value !== own && holders.length >= this.quorum) majority = holders;
    }
    if (values.size > 1 || !values.has(own)) this.differing++;
    return majority;
  }

  differs(difference: Difference): void {
    this.difference ??= difference;
  }
}

function stateKey({ revision, compactRevision }: StateHash): string {
  return `${revision}/${compactRevision}`;
}

function note<K>(table: Map<K, Map<number, U64[]>>, key: K, value: number, id: U64): void {
  let values = table.get(key);
  if (values === undefined) {
    values = new Map();
    table.set(key, values);
  }
  const holders = values.get(value);
  if (holders === undefined) values.set(value, [id]);
  else holders.push(id);
}

// -- on the wire ------------------------------------------------------------------------------------------------------

/** Changes whenever digests are made otherwise: those of other versions are not compared. */
const FORMAT = 1;

/** The report as JSON; `isQuarantined`: this member's word counts for nothing. */
export function writeReport({ windows, states }: MemberReport, isQuarantined: boolean): string {
  return JSON.stringify({
    format: FORMAT,
    quarantined: isQuarantined,
    windows: windows.map(({ end, digest, fromRevision, toRevision }) => [end, digest, fromRevision, toRevision]),
    states: states.map(({ revision, compactRevision, hash }) => [revision, compactRevision, hash]),
  });
}

/** What another member said; null where it is not to be compared. */
export function readReport(body: Buffer): MemberReport | null {
  let said: unknown;
  try {
    said = JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
  const { format, quarantined, windows, states } = (said ?? {}) as Record<string, unknown>;
  if (format !== FORMAT || quarantined !== false || !areRows(windows, 4) || !areRows(states, 3)) return null;
  return {
    windows: windows.map(([end, digest, fromRevision, toRevision]) => ({
      end: end as number,
      digest: digest as number,
      fromRevision: fromRevision as number,
      toRevision: toRevision as number,
    })),
    states: states.map(([revision, compactRevision, hash]) => ({
      revision: revision as number,
      compactRevision: compactRevision as number,
      hash: hash as number,
    })),
  };
}

function areRows(rows: unknown, length: number): rows is number[][] {
  if (!Array.isArray(rows)) return false;
  return rows.every(
    (row: unknown) => Array.isArray(row) && row.length === length && row.every((cell) => Number.isSafeInteger(cell)),
  );
}
