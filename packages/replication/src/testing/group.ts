import { silentLogger, type U64 } from '@etsd/base';
import { Message, MessageType, type RaftSnapshot } from '@etsd/proto';
import { emptyState, type StoredState } from '@etsd/raft';
import { foundingEntry, type IdentifiedMember, identify } from '../membership.ts';
import { ReplicationNode } from '../node.ts';
import type { ReplicationOptions } from '../options.ts';
import { fixedRandom, ManualTime, MemoryLog, RecordingApplier, RecordingWaiter } from './fakes.ts';

/** One member of a group. */
export class GroupMember {
  readonly id: U64;
  readonly log: MemoryLog;
  readonly applier: RecordingApplier;
  readonly node: ReplicationNode;
  isUp = true;
  /** Its disk finishes nothing. */
  hangs = false;

  constructor(id: U64, log: MemoryLog, applier: RecordingApplier, node: ReplicationNode) {
    this.id = id;
    this.log = log;
    this.applier = applier;
    this.node = node;
  }

  propose(text: string): RecordingWaiter {
    const waiter = new RecordingWaiter();
    this.node.propose(Buffer.from(text), waiter);
    return waiter;
  }

  read(): RecordingWaiter {
    const waiter = new RecordingWaiter();
    this.node.readBarrier(waiter);
    return waiter;
  }
}

/** Several members that share time and a network in the test's hands. The id of a request is its text. */
export class Group {
  readonly time = new ManualTime();
  readonly members: GroupMember[] = [];
  private readonly founders: readonly IdentifiedMember[];
  private mail: Message[] = [];
  /** Snapshots being installed. */
  installs: (() => void)[] = [];
  /** A member cannot go on. */
  onFatal: (error: Error) => void = (error) => {
    throw error;
  };
  /** Whether installing ends by itself. */
  isInstalling = true;
  private readonly isolated: Set<U64> = new Set();
  /** Since when members are connected, as transports tell it; null: they are not. Without an entry: from the beginning. */
  readonly activeSince: Map<U64, number | null> = new Map();
  /** Up to where the state of a member is on disk; without an entry: all of it. */
  readonly stateOnDisk: Map<U64, number> = new Map();
  /** How many messages of each type were sent. */
  readonly sent: Map<number, number> = new Map();
  private readonly options: Partial<ReplicationOptions>;

  constructor(count: number, options: Partial<ReplicationOptions> = {}) {
    this.options = options;
    const names = Array.from({ length: count }, (_, place) => `m${place}`);
    this.founders = identify(
      names.map((name) => ({ name, peerUrls: [`http://${name}:2380`] })),
      'group',
    );
    for (const [place, founder] of this.founders.entries()) {
      this.members.push(this.boot(founder.id, place, new MemoryLog(), new RecordingApplier(), null));
    }
    for (const member of this.members) member.node.start();
  }

  private boot(
    id: U64,
    place: number,
    log: MemoryLog,
    applier: RecordingApplier,
    stored: StoredState | null,
  ): GroupMember {
    // Election time-outs far enough apart that the first in the list wins.
    const random = { ...fixedRandom, float: () => place / this.founders.length };
    const node = new ReplicationNode({
      world: { clock: this.time, timers: this.time, random },
      logger: silentLogger,
      log,
      start: {
        memberId: id,
        clusterId: 'c'.repeat(16),
        stored: stored ?? emptyState(),
        bootstrap: stored === null ? this.founders.map(foundingEntry) : null,
      },
      applier,
      durableIndex: () => this.stateOnDisk.get(id) ?? applier.appliedIndex,
      onFatal: (error) => this.onFatal(error),
      transport: {
        send: (messages) => {
          for (const message of messages) {
            this.sent.set(message.type, (this.sent.get(message.type) ?? 0) + 1);
            this.mail.push(Message.decode(Message.encode(message)));
          }
        },
        activeSince: (other) => (this.activeSince.has(other) ? (this.activeSince.get(other) ?? null) : 0),
        close: async () => {},
      },
      installer: { install: (snapshot, done) => this.install(applier, snapshot, done) },
      requestKeyOf: (data) => data.toString(),
      snapshotCount: 20,
      catchUpEntries: 5,
      electionTickAdvance: false,
      ...this.options,
    });
    return new GroupMember(id, log, applier, node);
  }

  /** The state of a snapshot is that of whoever was at least as far; a test may let it wait. */
  private install(applier: RecordingApplier, snapshot: RaftSnapshot, done: (error: Error | null) => void): void {
    const index = snapshot.metadata?.index ?? 0;
    const source = this.members.find((member) => member.applier.appliedIndex >= index);
    if (source === undefined) throw new Error('nobody has the state of the snapshot');
    this.installs.push(() => {
      applier.seen.length = 0;
      applier.seen.push(...source.applier.history.slice(0, index));
      applier.history.length = 0;
      applier.history.push(...applier.seen);
      applier.appliedIndex = index;
      applier.confState = snapshot.metadata?.confState ?? null;
      done(null);
    });
  }

  /** Turns, syncs and deliveries until nothing is left to do. */
  settle(): void {
    for (let busy = true; busy; ) {
      busy = this.time.hasTurnWork;
      this.time.endTurn();
      for (const member of this.members) if (member.isUp && !member.hangs && member.log.finish()) busy = true;
      const mail = this.mail;
      this.mail = [];
      for (const message of mail) {
        busy = true;
        this.deliver(message);
      }
      if (this.isInstalling) for (const install of this.installs.splice(0)) install();
    }
  }

  private deliver(message: Message): void {
    const target = this.members.find((member) => member.id === message.to);
    const isCut = this.isolated.has(message.to) || this.isolated.has(message.from);
    const isLost = target === undefined || !target.isUp || isCut;
    if (message.type === MessageType.MsgSnap) {
      this.members.find((member) => member.id === message.from)?.node.reportSnapshot(message.to, isLost);
    }
    if (!isLost) target.node.step(message);
  }

  /** Lets time pass, tick by tick. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 100) {
      this.time.advance(100);
      this.settle();
    }
  }

  get leader(): GroupMember {
    const leading = this.members.filter((member) => member.isUp && member.node.isLeader);
    leading.sort((left, right) => right.node.term - left.node.term);
    const leader = leading[0];
    if (leader === undefined) throw new Error('nobody leads');
    return leader;
  }

  follower(place = 0): GroupMember {
    const leader = this.leader;
    return this.members.filter((member) => member.isUp && member !== leader)[place] as GroupMember;
  }

  isolate(member: GroupMember): void {
    this.isolated.add(member.id);
  }

  reconnect(): void {
    this.isolated.clear();
  }

  /** Loses everything that is not durable, and takes part no more. */
  crash(member: GroupMember): void {
    member.isUp = false;
    member.log.freeze();
    void member.node.stop();
  }

  /** A new life with what was durable and a state machine that lost all. */
  restart(member: GroupMember): GroupMember {
    const place = this.members.indexOf(member);
    const log = new MemoryLog();
    log.durable = [...member.log.durable];
    log.hardState = member.log.hardState;
    log.snapshots = [...member.log.snapshots];
    const applier = new RecordingApplier();
    const { index: baseIndex, term: baseTerm } = log.snapshots[log.snapshots.length - 1] ?? { index: 0, term: 0 };
    if (baseIndex > 0) {
      // What the snapshot record speaks of is in the state on disk.
      applier.history.push(...member.applier.history.slice(0, baseIndex));
      applier.seen.push(...applier.history);
      applier.appliedIndex = baseIndex;
      applier.confState = log.snapshots[log.snapshots.length - 1]?.confState ?? null;
    }
    const entries = log.durable.filter((entry) => entry.index > baseIndex);
    const { confState } = applier;
    const stored = { hardState: log.hardState, baseIndex, baseTerm, entries, applied: baseIndex, confState };
    const reborn = this.boot(member.id, place, log, applier, stored);
    this.members[place] = reborn;
    reborn.node.start();
    return reborn;
  }
}
