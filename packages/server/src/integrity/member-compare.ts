import { type Logger, type U64, u64ToHex } from '@etsd/base';
import type { TimerHandle } from '../context.ts';
import type { PeerRequests } from '../duties/member-versions.ts';
import {
  compareReports,
  type Difference,
  type MemberReport,
  readReport,
  type StateHash,
  writeReport,
} from './compare.ts';
import type { WindowDigests } from './window-digests.ts';

/** Where a member tells what it holds, and where it is asked to read all of it. */
export const REPORT_PATH = '/etsd/integrity';
export const STATE_CHECK_PATH = '/etsd/state-check';

/** How often members compare, in milliseconds. */
export const COMPARE_INTERVAL_MS = 5000;
const ANSWER_TIMEOUT_MS = 3000;
/** A member that does not know the question (real etcd, or an older version) is asked again after so many rounds. */
const STRANGER_ROUNDS = 24;

export interface MemberCompareParts {
  readonly memberId: U64;
  readonly windows: WindowDigests;
  readonly states: () => readonly StateHash[];
  readonly peers: PeerRequests;
  /** The members that vote. */
  readonly voters: () => readonly U64[];
  readonly isQuarantined: () => boolean;
  readonly every: (ms: number, callback: () => void) => TimerHandle;
  readonly logger: Logger;
  /** This member differs from a majority. */
  readonly differs: (difference: Difference) => void;
}

/** Compares what this member holds with what the others hold, all the time, and says where this one is alone. */
export class MemberCompare {
  /** Rounds in which some member differed. */
  differencesTotal = 0;
  /** End of the last window of which all members were heard. */
  comparedIndex = 0;
  private readonly parts: MemberCompareParts;
  private timer: TimerHandle | null = null;
  private isAsking = false;
  private round = 0;
  /** By member: the round in which it may be asked again. */
  private readonly strangers = new Map<U64, number>();
  /** The difference that was told last among others, so that it is told once. */
  private toldDiffering = false;

  constructor(parts: MemberCompareParts) {
    this.parts = parts;
  }

  start(): void {
    this.timer = this.parts.every(COMPARE_INTERVAL_MS, this.compare);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** The state is another one: what was compared is forgotten. */
  reset(): void {
    this.parts.windows.reset();
    this.comparedIndex = 0;
  }

  /** What another member is told: windows behind the index in its question. */
  report(question: Buffer): string {
    const { isQuarantined, states, windows } = this.parts;
    return writeReport({ windows: windows.after(indexIn(question)), states: states() }, isQuarantined());
  }

  private readonly compare = (): void => {
    const { isQuarantined, memberId, peers, states, voters, windows } = this.parts;
    if (this.isAsking || isQuarantined()) return;
    this.round++;
    const own: MemberReport = { windows: windows.after(this.comparedIndex), states: states() };
    const all = voters();
    const asked = all.filter((id) => id !== memberId && (this.strangers.get(id) ?? 0) <= this.round);
    // Without a majority of others nothing can be said of this member, with nothing to compare neither.
    if (asked.length < Math.floor(all.length / 2) + 1 || own.windows.length + own.states.length === 0) return;
    this.isAsking = true;
    const others = new Map<U64, MemberReport>();
    let left = asked.length;
    const body = Buffer.from(JSON.stringify({ after: this.comparedIndex }));
    for (const id of asked) {
      peers.request(id, 'GET', REPORT_PATH, body, 'application/json', ANSWER_TIMEOUT_MS, (error, status, answer) => {
        const report = error === null && status === 200 ? readReport(answer) : null;
        if (report !== null) others.set(id, report);
        else if (error === null && status === 404) this.strangers.set(id, this.round + STRANGER_ROUNDS);
        if (--left === 0) this.judge(own, others, all.length, others.size === asked.length);
      });
    }
  };

  private judge(own: MemberReport, others: ReadonlyMap<U64, MemberReport>, voters: number, isComplete: boolean): void {
    const { differs, isQuarantined, logger } = this.parts;
    this.isAsking = false;
    if (this.timer === null || isQuarantined()) return;
    const { differing, difference } = compareReports(own, others, voters);
    if (differing > 0) this.differencesTotal++;
    if (differing > 0 && difference === null && !this.toldDiffering) {
      logger.log('warn', 'members differ, and it is not this one that a majority disagrees with', {
        'members-heard': [...others.keys()].map(u64ToHex),
        differing,
      });
    }
    this.toldDiffering = differing > 0;
    if (isComplete) this.advance(own, others);
    if (difference !== null) differs(difference);
  }

  /** Windows that everybody has told are not looked at again. */
  private advance(own: MemberReport, others: ReadonlyMap<U64, MemberReport>): void {
    let common = own.windows.at(-1)?.end ?? this.comparedIndex;
    for (const { windows } of others.values()) common = Math.min(common, windows.at(-1)?.end ?? this.comparedIndex);
    this.comparedIndex = Math.max(this.comparedIndex, common);
  }
}

function indexIn(question: Buffer): number {
  try {
    const { after } = JSON.parse(question.toString('utf8')) as { after?: unknown };
    return Number.isSafeInteger(after) ? (after as number) : 0;
  } catch {
    // Whoever asks for nothing in particular is told everything.
    return 0;
  }
}
