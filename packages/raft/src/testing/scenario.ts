import { assert, type U64 } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfChangeV2,
  Entry,
  EntryType,
  HardState,
  Message,
} from '@etsd/proto';
import { RAFT_DEFAULTS } from '../config.ts';
import { PROBE, REPLICATE } from '../progress.ts';
import { LEADER, type ReadState, ROLE_NAMES } from '../raft.ts';
import { DROPPED } from '../raw-node.ts';
import { describe, describeEntry, idOf, numberOf, type Observer, TestDisk, TestMember } from './member.ts';

/**
 * A cluster played by commands, one a line, which tells as text what happens. The commands are those of `run`; words of
 * the form `name=value` are options. Election time-outs are not random here: member n waits electionTicks + n − 1 ticks.
 */
export class Scenario implements Observer {
  private members: TestMember[] = [];
  private network: Message[] = [];
  private readonly cuts: Set<string> = new Set();
  private out: string[] = [];
  private readonly known: Map<U64, string> = new Map();

  /** Plays commands and returns what happened. */
  run(lines: readonly string[]): string {
    this.out = [];
    for (const line of lines) {
      const words = line.split(/\s+/).filter((word) => word !== '');
      const options = new Map<string, string>();
      const plain: string[] = [];
      for (const word of words.slice(1)) {
        const [name, value] = word.split('=');
        if (value === undefined) plain.push(word);
        else options.set(name as string, value);
      }
      this.command(words[0] as string, plain, options);
      this.pumpAll();
    }
    return this.out.length === 0 ? 'ok' : this.out.join('\n');
  }

  private command(name: string, words: string[], options: Map<string, string>): void {
    const member = (): TestMember => this.member(words[0]);
    switch (name) {
      case 'cluster':
        this.cluster(words, options);
        return;
      case 'join':
        this.add(Number(words[0]), [], options);
        return;
      case 'campaign':
        member().node.campaign();
        return;
      case 'tell':
        member().node.tellCommits();
        return;
      case 'pace':
        member().node.pace(words[1] === 'on');
        return;
      case 'go-on':
        member().node.goOn(idOf(Number(words[1])), 60);
        return;
      case 'tick':
        for (let count = 0; count < Number(words[1] ?? 1); count++) member().node.tick();
        return;
      case 'propose':
        this.propose(member(), words.slice(1));
        return;
      case 'change':
        this.change(member(), options);
        return;
      case 'transfer':
        member().node.transferLeader(idOf(Number(options.get('to'))));
        return;
      case 'read':
        for (const context of words.slice(1)) member().node.readIndex(Buffer.from(context));
        return;
      case 'deliver':
        this.deliver(options);
        return;
      case 'write':
        this.write(member());
        return;
      case 'apply':
        member().apply();
        return;
      case 'settle':
        this.settle(options);
        return;
      default:
        this.faultOrReport(name, words);
    }
  }

  private faultOrReport(name: string, words: string[]): void {
    const member = (): TestMember => this.member(words[0]);
    switch (name) {
      case 'crash':
        member().crash();
        return;
      case 'restart':
        member().restart();
        return;
      case 'flush':
        member().flushState();
        return;
      case 'compact':
        member().flushState();
        member().compact(Number(words[1]));
        return;
      case 'cut':
        for (const other of words.slice(1)) this.cut(Number(words[0]), Number(other));
        return;
      case 'mend':
        this.cuts.clear();
        return;
      case 'drop':
        this.say(`dropped ${this.network.length}`);
        this.network = [];
        return;
      case 'unreachable':
        member().node.reportUnreachable(idOf(Number(words[1])));
        return;
      case 'snapshot-status':
        member().node.reportSnapshot(idOf(Number(words[1])), words[2] === 'failed');
        return;
      case 'status':
        this.status();
        return;
      case 'log':
        this.log(member());
        return;
      case 'progress':
        this.progress(member());
        return;
      case 'network':
        for (const message of this.network) this.say(describe(message));
        return;
      default:
        throw new Error(`no such command: ${name}`);
    }
  }

  private say(line: string): void {
    this.out.push(line);
  }

  private member(word: string | undefined): TestMember {
    const found = this.members.find((member) => member.id === idOf(Number(word)));
    assert(found !== undefined, `no member ${word}`);
    return found;
  }

  // -- commands -------------------------------------------------------------------------------------------------------

  private cluster(words: string[], options: Map<string, string>): void {
    const numbers = words.map(Number);
    for (const number of numbers) this.add(number, numbers, options);
  }

  private add(number: number, founders: number[], options: Map<string, string>): void {
    const disk = new TestDisk();
    const learners = (options.get('learners') ?? '').split(',').filter((word) => word !== '');
    if (founders.length > 0) {
      disk.entries = founders.map((founder, place) =>
        foundingEntry(founder, place + 1, learners.includes(`${founder}`)),
      );
      disk.hardState = HardState.create({ term: 1, commit: founders.length });
    }
    const raftOptions = {
      ...RAFT_DEFAULTS,
      id: idOf(number),
      electionTicks: Number(options.get('election') ?? 3),
      preVote: options.get('prevote') !== 'off',
      checkQuorum: options.get('checkquorum') !== 'off',
      inflightMax: Number(options.get('inflight') ?? 512),
      inflightBytesMax: Number(options.get('inflight-bytes') ?? 0),
      appendBytesMax: Number(options.get('append-bytes') ?? 1024 * 1024),
      behindEntries: Number(options.get('behind') ?? RAFT_DEFAULTS.behindEntries),
      pieceBytes: Number(options.get('piece-bytes') ?? RAFT_DEFAULTS.pieceBytes),
      draw: (bound: number) => (number - 1) % bound,
    };
    const member = new TestMember(raftOptions, disk, this, options.get('delay-commits') === 'yes');
    this.members.push(member);
    const out = this.out;
    this.out = [];
    while (member.pump() || member.apply());
    member.flushState();
    this.out = out;
    this.known.set(member.id, this.stateOf(member));
  }

  private propose(member: TestMember, data: string[]): void {
    for (const text of data) {
      const index = member.node.propose(Buffer.from(text));
      if (index <= 0) this.say(`${numberOf(member.id)} ${index === 0 ? 'forwards' : 'drops'} "${text}"`);
    }
  }

  private change(member: TestMember, options: Map<string, string>): void {
    const change = new ConfChangeV2();
    const kinds: [string, number][] = [
      ['add', ConfChangeType.ConfChangeAddNode],
      ['learner', ConfChangeType.ConfChangeAddLearnerNode],
      ['remove', ConfChangeType.ConfChangeRemoveNode],
    ];
    for (const [word, type] of kinds) {
      for (const number of (options.get(word) ?? '').split(',').filter((part) => part !== '')) {
        const single = new ConfChangeSingle();
        single.type = type;
        single.nodeId = idOf(Number(number));
        change.changes.push(single);
      }
    }
    if (options.get('joint') === 'explicit') {
      change.transition = ConfChangeTransition.ConfChangeTransitionJointExplicit;
    } else if (options.get('joint') === 'implicit') {
      change.transition = ConfChangeTransition.ConfChangeTransitionJointImplicit;
    }
    const index = member.node.proposeConfChange(EntryType.EntryConfChangeV2, ConfChangeV2.encode(change));
    if (index < 0) this.say(`${numberOf(member.id)} ${index === DROPPED ? 'has no time for' : 'refuses'} the change`);
  }

  /** Delivers what is on its way now, in order; options `to` and `from` choose, `drop` loses it instead. */
  private deliver(options: Map<string, string>): void {
    const chosen = (message: Message): boolean =>
      (!options.has('to') || message.to === idOf(Number(options.get('to')))) &&
      (!options.has('from') || message.from === idOf(Number(options.get('from'))));
    const now = this.network.filter(chosen);
    this.network = this.network.filter((message) => !chosen(message));
    for (const message of now) this.deliverOne(message, options.get('drop') === 'yes');
    this.pumpAll();
  }

  private deliverOne(message: Message, isLost: boolean): void {
    const target = this.members.find((member) => member.id === message.to);
    const isCut = this.cuts.has(`${message.from} ${message.to}`);
    if (isLost || isCut || target === undefined || !target.isUp) {
      this.say(`lost: ${describe(message)}`);
      return;
    }
    this.say(describe(message));
    target.step(Message.decode(Message.encode(message)));
    this.pump(target);
  }

  private write(member: TestMember): void {
    while (member.finishWrite()) this.say(`${numberOf(member.id)} wrote up to ${this.durable(member)}`);
  }

  private durable(member: TestMember): string {
    const { disk } = member;
    const last = disk.entries[disk.entries.length - 1];
    const place = last === undefined ? `${disk.baseTerm}/${disk.baseIndex}` : `${last.term}/${last.index}`;
    return `${place}, term ${disk.hardState?.term ?? 0}`;
  }

  /** Delivers, writes and applies until nothing is left to do. With `quiet=yes` only what changes state is told. */
  private settle(options: Map<string, string>): void {
    const before = this.out.length;
    for (let busy = true; busy; ) {
      busy = this.pumpAll();
      for (const member of this.members) {
        while (member.finishWrite()) busy = true;
        if (member.apply()) busy = true;
      }
      if (this.pumpAll()) busy = true;
      if (this.network.length > 0) {
        busy = true;
        this.deliver(new Map());
      }
    }
    if (options.get('quiet') === 'yes') {
      const kept = this.out.slice(before).filter((line) => !/^(lost: )?\d+->\d+ /.test(line));
      this.out.length = before;
      this.out.push(...kept);
    }
  }

  private cut(left: number, right: number): void {
    this.cuts.add(`${idOf(left)} ${idOf(right)}`);
    this.cuts.add(`${idOf(right)} ${idOf(left)}`);
  }

  // -- what is told ---------------------------------------------------------------------------------------------------

  private pumpAll(): boolean {
    let busy = false;
    for (const member of this.members) if (this.pump(member)) busy = true;
    return busy;
  }

  private pump(member: TestMember): boolean {
    let busy = false;
    this.tellState(member);
    while (member.pump()) {
      busy = true;
      this.tellState(member);
    }
    this.network.push(...member.outbox);
    member.outbox = [];
    return busy;
  }

  private tellState(member: TestMember): void {
    if (!member.isUp) return;
    const state = this.stateOf(member);
    if (this.known.get(member.id) === state) return;
    this.known.set(member.id, state);
    this.say(state);
  }

  private stateOf({ id, node }: TestMember): string {
    const leader = numberOf(node.leader);
    const follows = node.role === LEADER || leader === 0 ? '' : ` of ${leader}`;
    return `${numberOf(id)} is ${ROLE_NAMES[node.role]}${follows} in term ${node.term}`;
  }

  applied(member: TestMember, entry: Entry): void {
    this.say(`${numberOf(member.id)} applies ${describeEntry(entry)}`);
  }

  read(member: TestMember, state: ReadState): void {
    this.say(`${numberOf(member.id)} may read "${state.context.toString()}" at ${state.index}`);
  }

  private status(): void {
    for (const member of this.members) {
      const { node } = member;
      if (!member.isUp) {
        this.say(`${numberOf(member.id)} is down`);
        continue;
      }
      const last = `${node.termAt(node.lastIndex)}/${node.lastIndex}`;
      this.say(`${this.stateOf(member)}: last ${last} commit ${node.commitIndex} applied ${node.appliedIndex}`);
    }
  }

  private log({ node }: TestMember): void {
    if (node.firstIndex > 1) this.say(`(compacted up to ${node.firstIndex - 1})`);
    for (let index = node.firstIndex; index <= node.lastIndex; index++) this.say(describeEntry(node.entryAt(index)));
  }

  private progress({ node }: TestMember): void {
    for (const progress of node.progress.values()) {
      const state = progress.state === PROBE ? 'probe' : progress.state === REPLICATE ? 'replicate' : 'snapshot';
      const extras = [
        progress.isLearner ? ' learner' : '',
        progress.isPaused ? ' paused' : '',
        progress.inflights.count > 0 ? ` inflight ${progress.inflights.count}` : '',
        progress.isResting ? ' rests' : '',
        progress.pendingSnapshot > 0 ? ` snapshot ${progress.pendingSnapshot}` : '',
      ];
      this.say(`${numberOf(progress.id)} ${state} match ${progress.match} next ${progress.next}${extras.join('')}`);
    }
    const { voters, votersOutgoing, learners, learnersNext } = node.confState;
    const list = (ids: readonly U64[]): string => ids.map(numberOf).join(' ');
    const joint = votersOutgoing.length > 0 ? ` and (${list(votersOutgoing)})` : '';
    const after = learnersNext.length > 0 ? ` learners next (${list(learnersNext)})` : '';
    this.say(`voters (${list(voters)})${joint} learners (${list(learners)})${after}`);
  }
}

function foundingEntry(number: number, index: number, isLearner: boolean): Entry {
  const type = isLearner ? ConfChangeType.ConfChangeAddLearnerNode : ConfChangeType.ConfChangeAddNode;
  const data = ConfChange.encode(ConfChange.create({ type, nodeId: idOf(number) }));
  return Entry.create({ type: EntryType.EntryConfChange, index, term: 1, data });
}
