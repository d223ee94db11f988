import { assert, type U64, U64_ZERO, u64FromNumber } from '@etsd/base';
import { type ConfState, Entry, EntryType, HardState, type Message, MessageType, type RaftSnapshot } from '@etsd/proto';
import { confChangeOf } from '../conf-change.ts';
import type { RaftOptions } from '../config.ts';
import type { PendingWrite } from '../log.ts';
import type { ReadState } from '../raft.ts';
import { RawNode } from '../raw-node.ts';

/** Members are called 1, 2, 3 … in tests. */
export function idOf(number: number): U64 {
  return u64FromNumber(number);
}

export function numberOf(id: U64): number {
  return id === U64_ZERO ? 0 : Number.parseInt(id, 16);
}

/** What survives a crash of a member. */
export class TestDisk {
  hardState: HardState | null = null;
  baseIndex = 0;
  baseTerm = 0;
  /** Entries baseIndex+1 …. */
  entries: Entry[] = [];
  /** The applied state and the configuration that belongs to it. */
  applied = 0;
  confState: ConfState | null = null;
}

interface WriteUnderWay {
  readonly write: PendingWrite;
  readonly hardState: HardState | null;
  readonly entries: Entry[];
  readonly snapshot: RaftSnapshot | null;
}

/** Is told what a member does, to check it. */
export interface Observer {
  applied(member: TestMember, entry: Entry): void;
  read(member: TestMember, state: ReadState): void;
}

/** One raft member with a disk that works when it is told to and a state machine that only notes what it is given. */
export class TestMember {
  readonly id: U64;
  readonly disk: TestDisk;
  node: RawNode;
  isUp = true;
  /** Messages it sent and nobody took yet. */
  outbox: Message[] = [];
  writes: WriteUnderWay[] = [];
  /** Handed out for application and not applied. */
  private toApply = 0;
  private readonly options: RaftOptions;
  private readonly observer: Observer;

  private readonly delaysCommits: boolean;

  constructor(options: RaftOptions, disk: TestDisk, observer: Observer, delaysCommits = false) {
    this.delaysCommits = delaysCommits;
    this.id = options.id;
    this.disk = disk;
    this.options = options;
    this.observer = observer;
    this.node = this.boot();
  }

  private boot(): RawNode {
    const { disk } = this;
    const node = new RawNode(this.options, {
      hardState: disk.hardState,
      baseIndex: disk.baseIndex,
      baseTerm: disk.baseTerm,
      entries: disk.entries.map((entry) => Entry.create(entry)),
      applied: disk.applied,
      confState: disk.confState,
    });
    node.delayCommits(this.delaysCommits);
    this.toApply = disk.applied;
    return node;
  }

  /** Takes what raft hands out: messages to the outbox, writes under way, entries to be applied. */
  pump(): boolean {
    if (!this.isUp || !this.node.hasReady()) return false;
    const ready = this.node.ready();
    this.outbox.push(...ready.messages);
    for (const state of ready.readStates) this.observer.read(this, state);
    if (ready.write !== null) {
      this.writes.push({
        write: ready.write,
        hardState: ready.hardState,
        entries: ready.entries.slice(ready.entriesFrom, ready.entriesTo),
        snapshot: ready.write.snapshotIndex > 0 ? ready.snapshot : null,
      });
    }
    this.toApply = ready.committedTo;
    return true;
  }

  /** The disk finishes the oldest write. */
  finishWrite(): boolean {
    const under = this.writes[0];
    if (under === undefined || !this.isUp) return false;
    this.writes = this.writes.slice(1);
    this.persist(under);
    this.node.written(under.write);
    return true;
  }

  private persist({ hardState, entries, snapshot }: WriteUnderWay): void {
    const { disk } = this;
    if (snapshot !== null) {
      const metadata = snapshot.metadata;
      assert(metadata !== null, 'a snapshot has a position');
      disk.baseIndex = metadata.index;
      disk.baseTerm = metadata.term;
      disk.entries = [];
      disk.applied = metadata.index;
      disk.confState = metadata.confState;
      // The log before the snapshot is gone, hence nothing that is committed may seem older than it.
      disk.hardState = HardState.create({ ...(disk.hardState ?? {}), commit: metadata.index });
      this.toApply = Math.max(this.toApply, metadata.index);
    }
    const first = entries[0];
    if (first !== undefined) {
      disk.entries.length = first.index - disk.baseIndex - 1;
      disk.entries.push(...entries);
    }
    if (hardState !== null) disk.hardState = hardState;
  }

  /** Applies up to `countMax` entries. */
  apply(countMax = Number.MAX_SAFE_INTEGER): boolean {
    if (!this.isUp || this.node.isInstalling) return false;
    const from = this.node.appliedIndex;
    const to = Math.min(this.toApply, from + countMax);
    if (to <= from) return false;
    for (let index = from + 1; index <= to; index++) {
      const entry = this.node.entryAt(index);
      this.observer.applied(this, entry);
      if (entry.type !== EntryType.EntryNormal) this.node.applyConfChange(confChangeOf(entry));
    }
    this.node.appliedTo(to);
    return true;
  }

  /** The applied state reaches the disk. */
  flushState(): void {
    // Applied entries are durable, but a snapshot being installed is ahead of the state.
    if (!this.isUp || this.node.appliedIndex < this.disk.applied) return;
    this.disk.applied = this.node.appliedIndex;
    this.disk.confState = this.node.confState;
  }

  /** Forgets the log up to `index`, as far as the state on disk has it. */
  compact(index: number): void {
    const { disk } = this;
    const to = Math.min(index, disk.applied);
    if (!this.isUp || to <= disk.baseIndex) return;
    const term = this.node.termAt(to);
    if (term < 0) return;
    this.node.compact(to);
    disk.entries = disk.entries.slice(to - disk.baseIndex);
    disk.baseIndex = to;
    disk.baseTerm = term;
  }

  /** Loses everything that is not durable. */
  crash(): void {
    this.isUp = false;
    this.outbox = [];
    this.writes = [];
  }

  restart(): void {
    this.isUp = true;
    this.node = this.boot();
  }

  step(message: Message): void {
    if (!this.isUp) return;
    this.node.step(message);
  }
}

/** One message as a line: `1->2 MsgApp term 2 log 1/3 commit 3 entries [2/4 "a"]`. */
export function describe(message: Message): string {
  const name = Object.entries(MessageType).find(([, value]) => value === message.type)?.[0] ?? String(message.type);
  const parts = [`${numberOf(message.from)}->${numberOf(message.to)} ${name}`];
  if (message.term > 0) parts.push(`term ${message.term}`);
  if (message.index > 0 || message.logTerm > 0) parts.push(`log ${message.logTerm}/${message.index}`);
  if (message.commit > 0) parts.push(`commit ${message.commit}`);
  if (message.entries.length > 0) parts.push(`entries [${message.entries.map(describeEntry).join(', ')}]`);
  if (message.reject) parts.push(message.rejectHint > 0 ? `refused, hint ${message.rejectHint}` : 'refused');
  const metadata = message.snapshot?.metadata;
  if (metadata) parts.push(`snapshot ${metadata.term}/${metadata.index}`);
  if (message.context.length > 0) parts.push(`context "${message.context.toString('latin1')}"`);
  return parts.join(' ');
}

/** One entry: `term/index "data"`. */
export function describeEntry(entry: Entry): string {
  const place = `${entry.term}/${entry.index}`;
  if (entry.type !== EntryType.EntryNormal) return `${place} change`;
  return entry.data.length === 0 ? place : `${place} "${entry.data.toString('latin1')}"`;
}
