import { crc32c, type U64 } from '@etsd/base';
import type { ConfChange, ConfChangeV2, ConfState, Entry, Message } from '@etsd/proto';
import { type Applier, PassingApplier, type Waiter } from '@etsd/replication';
import type { Releases } from './releases.ts';

/** One entry as some leader's log had it. */
interface SeenEntry {
  readonly term: number;
  readonly digest: number;
  readonly termBefore: number;
}

/**
 * What must hold among all members and all their lives, looked at whenever one applies an entry or sends a message
 * (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", figure 3): one leader a term; logs that
 * have the same entry have the same past; a new leader has everything that was applied anywhere; the same entry at the same
 * index for everybody.
 */
export class Observer {
  /** By term. */
  private readonly leaders = new Map<number, U64>();
  /** By index: every entry that a leader has sent there. */
  private readonly sent = new Map<number, SeenEntry[]>();
  /** By index, as whoever came first applied it. */
  private readonly applied: { readonly term: number; readonly digest: number }[] = [];
  /** By index: the revision behind it, as whoever came first had it. */
  private readonly revisions: number[] = [];
  private readonly broke: (rule: string, text: string) => void;
  private readonly led: (id: U64, term: number) => void;
  /** Null where all members are of one release. */
  releases: Releases | null = null;

  constructor(broke: (rule: string, text: string) => void, led: (id: U64, term: number) => void) {
    this.broke = broke;
    this.led = led;
  }

  get appliedMax(): number {
    return this.applied.length - 1;
  }

  get terms(): number {
    return this.leaders.size;
  }

  /** A leader sends, under its own name. */
  leads(id: U64, term: number): void {
    const known = this.leaders.get(term);
    if (known === id) return;
    if (known !== undefined) {
      this.broke('election safety', `${known} and ${id} both lead in term ${term}`);
      return;
    }
    this.leaders.set(term, id);
    this.led(id, term);
  }

  appends(message: Message): void {
    let termBefore = message.logTerm;
    for (const entry of message.entries) {
      this.sees(message, entry, termBefore);
      termBefore = entry.term;
    }
  }

  private sees({ from, term }: Message, entry: Entry, termBefore: number): void {
    let seen = this.sent.get(entry.index);
    if (seen === undefined) {
      seen = [];
      this.sent.set(entry.index, seen);
    }
    for (const other of seen) {
      if (other.term !== entry.term) continue;
      const digest = crc32c(entry.data);
      if (other.digest !== digest || other.termBefore !== termBefore) {
        this.broke(
          'log matching',
          `${from} has another entry ${entry.index} of term ${entry.term} than was sent before`,
        );
      }
      return;
    }
    seen.push({ term: entry.term, digest: crc32c(entry.data), termBefore });
    // The first entry of its own term: everything before it is what this leader was elected with.
    if (entry.term !== term || termBefore === term) return;
    // Terms in a log never fall. What later leaders had applied before this one, which had won long ago, got to say so,
    // it need not have.
    const there = this.applied[entry.index];
    if (there !== undefined && there.term < term) {
      this.broke(
        'leader completeness',
        `${from} leads in term ${term} up to ${entry.index}, ${this.appliedMax} was applied`,
      );
    }
  }

  /** The store's revision behind an entry is the same for everybody: else members hold different things from there on. */
  leaves(who: string, index: number, revision: number): void {
    const known = this.revisions[index];
    if (known === undefined) this.revisions[index] = revision;
    else if (known !== revision) {
      this.broke('state agreement', `${who} is at revision ${revision} behind entry ${index}, others at ${known}`);
    }
  }

  /** So is the version of the cluster, by which members are let in or refused. */
  settles(who: string, index: number, { version, downgradeEnabled, downgradeTarget }: AppliedVersion): void {
    const state = downgradeEnabled ? `${version}, going down to ${downgradeTarget}` : version;
    const difference = this.releases?.leaves(who, index, state, version) ?? null;
    if (difference !== null) this.broke('state agreement', difference);
  }

  applies(who: string, index: number, term: number, digest: number): void {
    const known = this.applied[index];
    if (known === undefined) {
      if (index > this.applied.length && this.applied.length > 0) {
        this.broke('state machine safety', `${who} applied ${index} before anybody applied ${this.applied.length}`);
      }
      this.applied[index] = { term, digest };
    } else if (known.term !== term || known.digest !== digest) {
      this.broke(
        'state machine safety',
        `${who} applied another entry at ${index} (term ${term}, others ${known.term})`,
      );
    }
  }
}

/** What applies entries in a whole member. */
export type AppliedState = Applier & {
  readonly store: { readonly revision: number };
  readonly version: AppliedVersion;
};

/** Which release the cluster goes by, as one member has applied it. */
export interface AppliedVersion {
  readonly version: string;
  readonly downgradeEnabled: boolean;
  readonly downgradeTarget: string;
}

/** Stands between the log and the state of one life of a member. */
export class ObservedApplier extends PassingApplier<AppliedState> {
  private readonly observer: Observer;
  private readonly who: string;
  private readonly confDigest = Buffer.alloc(0);

  constructor(inner: AppliedState, observer: Observer, who: string) {
    super(inner);
    this.observer = observer;
    this.who = who;
  }

  override apply(index: number, term: number, data: Buffer, waiter: Waiter | null): void {
    this.observer.applies(this.who, index, term, crc32c(data));
    const { inner } = this;
    const isNew = inner.appliedIndex < index;
    inner.apply(index, term, data, waiter);
    if (!isNew) return;
    this.observer.leaves(this.who, index, inner.store.revision);
    if (this.observer.releases !== null) this.observer.settles(this.who, index, inner.version);
  }

  override applyEmpty(index: number, term: number): void {
    this.observer.applies(this.who, index, term, crc32c(this.confDigest));
    super.applyEmpty(index, term);
  }

  override applyConfChange(
    index: number,
    term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.observer.applies(this.who, index, term, crc32c(Buffer.from(`${change.type} ${change.nodeId}`)));
    super.applyConfChange(index, term, change, toRaft, waiter);
  }

  override applyWideChange(
    index: number,
    term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.observer.applies(this.who, index, term, crc32c(change.context));
    super.applyWideChange(index, term, change, toRaft, waiter);
  }
}
