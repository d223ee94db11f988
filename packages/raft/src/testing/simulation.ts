import { assert, type Prng, type U64, U64_ZERO } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeType,
  ConfChangeV2,
  Entry,
  EntryType,
  HardState,
  Message,
  MessageType,
} from '@etsd/proto';
import { RAFT_DEFAULTS } from '../config.ts';
import type { ReadState } from '../raft.ts';
import { describeEntry, idOf, type Observer, TestDisk, TestMember } from './member.ts';

/** How often each thing happens in a run, drawn from the seed: some runs have no crashes, some hardly any disk. */
interface Weights {
  readonly deliver: number;
  readonly tick: number;
  readonly finishWrite: number;
  readonly apply: number;
  readonly propose: number;
  readonly read: number;
  readonly crash: number;
  readonly restart: number;
  readonly cut: number;
  readonly mend: number;
  readonly change: number;
  readonly transfer: number;
  readonly compact: number;
  readonly flush: number;
  readonly report: number;
  readonly pace: number;
}

type EventName = keyof Weights;

/** Of a committed entry: its own term, and that of the member which was first seen to know that it is committed. */
interface CommittedTerms {
  readonly entry: number;
  readonly seen: number;
}

function drawWeights(random: Prng): Weights {
  // Logs that are cut at once make snapshots the rule.
  const isForgetful = random.chance(0.25);
  const rare = (weight: number): number => (random.chance(0.3) ? 0 : random.float() * weight);
  return {
    deliver: 40 + random.below(60),
    tick: 10 + random.below(30),
    finishWrite: 5 + random.below(40),
    apply: 5 + random.below(40),
    propose: 1 + random.below(20),
    read: rare(8),
    crash: rare(1),
    restart: 2,
    cut: rare(1.5),
    mend: 2,
    change: rare(2),
    transfer: rare(1.5),
    compact: isForgetful ? 30 : rare(6),
    flush: isForgetful ? 30 : rare(12),
    report: rare(1),
    pace: rare(2),
  };
}

function foundingEntry(number: number): Entry {
  const change = ConfChange.create({ type: ConfChangeType.ConfChangeAddNode, nodeId: idOf(number) });
  const data = ConfChange.encode(change);
  return Entry.create({ type: EntryType.EntryConfChange, index: number, term: 1, data });
}

/** A cluster ruled by one generator, and the properties it must keep. */
export class Simulation implements Observer {
  readonly members: TestMember[] = [];
  /** Who led in a term (election safety: one at most). */
  readonly leaders: Map<number, U64> = new Map();
  /** What was applied at an index, by whoever came first (state machine safety: the same for all). */
  readonly agreed: Map<number, string> = new Map();
  events = 0;
  snapshots = 0;
  changes = 0;
  readsConfirmed = 0;
  private readonly random: Prng;
  private readonly weights: Weights;
  private readonly lossRate: number;
  private readonly copyRate: number;
  private network: Message[] = [];
  /** Pairs between which nothing passes, as "from to". */
  private readonly cuts: Set<string> = new Set();
  /** Highest index committed anywhere, and of every committed entry that was still held then the terms below. */
  private committed = 0;
  private readonly committedTerms: Map<number, CommittedTerms> = new Map();
  /** Reads under way: context to the index that was committed when they were asked. */
  private readonly reads: Map<string, number> = new Map();
  /** What each member asked last. */
  private readonly asked: Map<TestMember, string> = new Map();
  private proposals = 0;

  constructor(random: Prng) {
    this.random = random;
    this.weights = drawWeights(random);
    this.lossRate = random.chance(0.3) ? 0 : random.float() * 0.2;
    this.copyRate = random.chance(0.5) ? 0 : random.float() * 0.1;
    const total = 5;
    const founders = random.pick([1, 2, 3, 3, 3, 4, 5, 5]);
    const electionTicks = random.between(2, 8);
    const preVote = random.chance(0.7);
    const checkQuorum = random.chance(0.8);
    const inflightMax = random.pick([1, 2, 4, 512]);
    const appendBytesMax = random.pick([40, 100, 1024 * 1024]);
    const behindEntries = random.pick([1, 5, 2000]);
    for (let number = 1; number <= total; number++) {
      const disk = new TestDisk();
      if (number <= founders) {
        // The founders add themselves one by one in the first entries, as a new cluster does.
        disk.entries = Array.from({ length: founders }, (_, place) => foundingEntry(place + 1));
        disk.hardState = HardState.create({ term: 1, commit: founders });
      }
      const draw = (bound: number): number => random.below(bound);
      const options = {
        ...RAFT_DEFAULTS,
        id: idOf(number),
        electionTicks,
        preVote,
        checkQuorum,
        inflightMax,
        appendBytesMax,
        behindEntries,
        pieceBytes: 100,
        draw,
      };
      this.members.push(new TestMember(options, disk, this, random.chance(0.5)));
    }
    this.committed = founders;
    for (let index = 1; index <= founders; index++) this.committedTerms.set(index, { entry: 1, seen: 1 });
  }

  run(events: number): void {
    for (let count = 0; count < events; count++) this.event(this.draw());
  }

  private draw(): EventName {
    const entries = Object.entries(this.weights) as [EventName, number][];
    let total = 0;
    for (const [, weight] of entries) total += weight;
    let at = this.random.float() * total;
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return 'tick';
  }

  private event(name: EventName): void {
    this.events++;
    const member = this.random.pick(this.members);
    switch (name) {
      case 'deliver':
        this.deliverOne();
        break;
      case 'tick':
        if (member.isUp) member.node.tick();
        break;
      case 'finishWrite':
        member.finishWrite();
        break;
      case 'apply':
        member.apply(this.random.between(1, 10));
        break;
      case 'propose':
        if (member.isUp) member.node.propose(Buffer.from(`p${++this.proposals}`));
        break;
      case 'read':
        this.ask(member);
        break;
      case 'crash':
        member.crash();
        break;
      case 'restart':
        if (!member.isUp) member.restart();
        break;
      case 'cut':
        this.cut();
        break;
      case 'mend':
        if (this.random.chance(0.2)) this.cuts.clear();
        break;
      case 'change':
        this.change(member);
        break;
      case 'transfer':
        if (member.isUp) member.node.transferLeader(this.random.pick(this.members).id);
        break;
      case 'compact':
        member.compact(member.disk.applied - this.random.below(3));
        break;
      case 'flush':
        member.flushState();
        if (member.isUp) member.node.tellCommits();
        break;
      case 'report':
        this.report(member);
        break;
      case 'pace':
        this.pace(member);
        break;
    }
    this.afterEvent();
  }

  private afterEvent(): void {
    for (const member of this.members) {
      while (member.pump());
      for (const message of member.outbox) this.post(message);
      member.outbox = [];
      if (member.isUp) this.check(member);
    }
  }

  private post(message: Message): void {
    if (message.type === MessageType.MsgSnap) this.snapshots++;
    if (this.random.chance(this.lossRate)) {
      this.reportFate(message, true);
      return;
    }
    this.network.push(message);
    if (this.random.chance(this.copyRate)) this.network.push(message);
  }

  /** Any message may be next: the network keeps no order. What travels is bytes, so nothing is shared. */
  private deliverOne(): void {
    if (this.network.length === 0) return;
    // Mostly the oldest ones, so that there is progress.
    const place = this.random.chance(0.7) ? 0 : this.random.below(this.network.length);
    const [message] = this.network.splice(place, 1);
    if (message === undefined) return;
    const target = this.members.find((member) => member.id === message.to);
    const isCut = this.cuts.has(`${message.from} ${message.to}`) || target === undefined || !target.isUp;
    this.reportFate(message, isCut);
    if (!isCut) target.step(Message.decode(Message.encode(message)));
  }

  /** Whoever sends a snapshot is told what became of it, sooner or later. */
  private reportFate(message: Message, failed: boolean): void {
    if (message.type !== MessageType.MsgSnap) return;
    const sender = this.members.find((member) => member.id === message.from);
    if (sender?.isUp) sender.node.reportSnapshot(message.to, failed);
  }

  private cut(): void {
    const lonely = this.random.pick(this.members).id;
    const isOneWay = this.random.chance(0.3);
    for (const other of this.members) {
      if (other.id === lonely || this.random.chance(0.3)) continue;
      this.cuts.add(`${lonely} ${other.id}`);
      if (!isOneWay) this.cuts.add(`${other.id} ${lonely}`);
    }
  }

  /** Followers that are behind get pieces or not, and go on or not. */
  private pace(member: TestMember): void {
    if (!member.isUp) return;
    member.node.pace(this.random.chance(0.7));
    if (this.random.chance(0.7)) member.node.goOn(this.random.pick(this.members).id, 100);
  }

  private ask(member: TestMember): void {
    if (!member.isUp) return;
    const known = this.asked.get(member);
    if (known !== undefined && this.random.chance(0.4)) {
      // No answer came, or it is on its way: asked again, under the same name.
      member.node.readIndex(Buffer.from(known));
      return;
    }
    const context = `r${this.reads.size}`;
    this.reads.set(context, this.committed);
    this.asked.set(member, context);
    member.node.readIndex(Buffer.from(context));
  }

  private change(member: TestMember): void {
    if (!member.isUp || !member.node.isLeader) return;
    const change = new ConfChangeV2();
    const count = this.random.chance(0.3) ? this.random.between(1, 3) : 1;
    const chosen = new Set<U64>();
    for (let place = 0; place < count; place++) {
      const single = new ConfChangeSingle();
      single.nodeId = this.random.pick(this.members).id;
      if (chosen.has(single.nodeId)) continue;
      chosen.add(single.nodeId);
      single.type = this.random.pick([
        ConfChangeType.ConfChangeAddNode,
        ConfChangeType.ConfChangeAddNode,
        ConfChangeType.ConfChangeAddLearnerNode,
        ConfChangeType.ConfChangeRemoveNode,
      ]);
      change.changes.push(single);
    }
    // Two voters at least stay: a change that would leave none could not be applied.
    const { voters } = member.node.confState;
    const left = new Set(voters);
    for (const { type, nodeId } of change.changes) {
      if (type === ConfChangeType.ConfChangeAddNode) left.add(nodeId);
      else left.delete(nodeId);
    }
    if (left.size === 0) return;
    if (member.node.proposeConfChange(EntryType.EntryConfChangeV2, ConfChangeV2.encode(change)) > 0) this.changes++;
  }

  /** The transport reports troubles, rightly or wrongly. */
  private report(member: TestMember): void {
    if (!member.isUp) return;
    const other = this.random.pick(this.members).id;
    if (this.random.chance(0.5)) member.node.reportUnreachable(other);
    else member.node.reportSnapshot(other, this.random.chance(0.5));
  }

  applied(member: TestMember, entry: Entry): void {
    const text = describeEntry(entry) + entry.data.toString('hex');
    const known = this.agreed.get(entry.index);
    if (known === undefined) this.agreed.set(entry.index, text);
    else assert(known === text, `state machine safety: ${member.id} applied ${text} where another applied ${known}`);
  }

  read(_member: TestMember, state: ReadState): void {
    const asked = this.reads.get(state.context.toString());
    assert(asked !== undefined, 'a read was answered that nobody asked for');
    assert(state.index >= asked, `linearizable reads: index ${state.index}, but ${asked} was committed when asked`);
    this.readsConfirmed++;
  }

  private check(member: TestMember): void {
    const { node } = member;
    if (node.isLeader) this.checkLeader(member);
    if (node.commitIndex > this.committed) {
      for (let index = this.committed + 1; index <= node.commitIndex; index++) {
        const term = node.termAt(index);
        if (term >= 0) this.committedTerms.set(index, { entry: term, seen: node.term });
      }
      this.committed = node.commitIndex;
      this.checkLogs();
    }
  }

  private checkLeader(member: TestMember): void {
    const { node } = member;
    const known = this.leaders.get(node.term);
    assert(known === undefined || known === member.id, `election safety: two leaders in term ${node.term}`);
    if (known !== undefined) return;
    this.leaders.set(node.term, member.id);
    // Whoever wins a term late, when a later one has begun, owes nothing to that one: nobody listens to it.
    for (const [index, { entry, seen }] of this.committedTerms) {
      if (seen > node.term) continue;
      assert(node.lastIndex >= index, `leader completeness: ${member.id} lacks entry ${index}`);
      const own = node.termAt(index);
      assert(own < 0 || own === entry, `leader completeness: ${member.id} has another entry at ${index}`);
    }
  }

  /** Log matching: where two logs agree on the term of an entry, they agree on everything before it. */
  private checkLogs(): void {
    for (const left of this.members) {
      for (const right of this.members) {
        if (left.id >= right.id) continue;
        let index = Math.min(left.node.lastIndex, right.node.lastIndex);
        while (index > 0 && left.node.termAt(index) !== right.node.termAt(index)) index--;
        const first = Math.max(left.node.firstIndex, right.node.firstIndex);
        for (; index >= first; index--) {
          const [a, b] = [left.node.entryAt(index), right.node.entryAt(index)];
          assert(a.term === b.term && a.data.equals(b.data), `log matching: ${left.id} and ${right.id} at ${index}`);
        }
      }
    }
  }

  /** Faults stop: there must be a leader, and what it is given must be applied by everybody it counts on. */
  heal(): void {
    this.cuts.clear();
    for (const member of this.members) if (!member.isUp) member.restart();
    let leader: TestMember | null = null;
    for (let round = 0; round < 400; round++) {
      this.quietRound();
      leader = this.settledLeader();
      if (leader !== null && round > 30 && this.isCaughtUp(leader)) break;
    }
    assert(leader !== null, 'liveness: no leader after the faults stopped');
    const index = leader.node.propose(Buffer.from('last'));
    assert(index > 0, 'liveness: the leader takes no proposal');
    for (let round = 0; round < 100 && !this.isCaughtUp(leader); round++) this.quietRound();
    assert(this.isCaughtUp(leader), `liveness: not everybody applied entry ${index}`);
  }

  private quietRound(): void {
    for (const { node } of this.members) {
      node.tick();
      // Whoever paces is told, as a driver does, that followers may go on.
      for (const { id } of this.members) node.goOn(id, 100);
    }
    for (let busy = true; busy; ) {
      busy = false;
      for (const member of this.members) {
        while (member.pump() || member.finishWrite() || member.apply()) busy = true;
        this.network.push(...member.outbox);
        member.outbox = [];
        this.check(member);
      }
      const network = this.network;
      this.network = [];
      for (const message of network) {
        this.members.find((member) => member.id === message.to)?.step(Message.decode(Message.encode(message)));
        this.reportFate(message, false);
        busy = true;
      }
    }
  }

  private settledLeader(): TestMember | null {
    const leading = this.members.filter((member) => member.node.isLeader && member.node.transferee === U64_ZERO);
    leading.sort((left, right) => right.node.term - left.node.term);
    return leading[0] ?? null;
  }

  private isCaughtUp(leader: TestMember): boolean {
    const { voters, learners, votersOutgoing } = leader.node.confState;
    const counted = new Set([...voters, ...learners, ...votersOutgoing]);
    if (votersOutgoing.length > 0) return false;
    return this.members.every(
      (member) => !counted.has(member.id) || member.node.appliedIndex === leader.node.lastIndex,
    );
  }
}
