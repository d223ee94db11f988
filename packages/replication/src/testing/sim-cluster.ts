import { assert, Prng, silentLogger, type U64 } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeType,
  ConfChangeV2,
  type ConfState,
  ErrContextDeadlineExceeded,
  ErrRequestTooManyRequests,
  type EtcdError,
  Message,
  MessageType,
  RaftRequestField,
  RaftRequestView,
  type RaftSnapshot,
  writeRaftRequest,
} from '@etsd/proto';
import { Life, type SimMachine, SimUniverse } from '@etsd/runtime/sim';
import { newestSnapshot } from '@etsd/wal';
import type { Applier, Waiter } from '../applier.ts';
import { foundCluster, hasLog, joinCluster, type OpenedLog, openExisting } from '../bootstrap.ts';
import { clusterIdOf, type FoundingMember, identify, joiningMemberId } from '../membership.ts';
import { ReplicationNode } from '../node.ts';

const DIRECTORY = '/data/member/wal';
const TOKEN = 'sim';
const SLOWEST_DISK_MS = 800;
const LONGEST_PAUSE_MS = 2000;

/** How a run goes: everything drawn from the seed. */
export interface SimPlan {
  readonly founders: number;
  readonly joiners: number;
  readonly preVote: boolean;
  readonly snapshotCount: number;
  readonly catchUpEntries: number;
  readonly segmentBytes: number;
  readonly lossRate: number;
  readonly copyRate: number;
  readonly latencyMaxMs: number;
  /** Between an answer and the next request of a client, at most. */
  readonly pauseMs: number;
  readonly crashes: boolean;
  readonly partitions: boolean;
  readonly slowDisks: boolean;
  readonly failingDisks: boolean;
  readonly changes: boolean;
  readonly transfers: boolean;
  readonly clockDrift: boolean;
  readonly pauses: boolean;
}

export function drawPlan(prng: Prng): SimPlan {
  return {
    founders: prng.pick([3, 3, 5]),
    joiners: prng.pick([0, 1, 2]),
    preVote: prng.chance(0.8),
    snapshotCount: prng.pick([15, 60, 100_000]),
    catchUpEntries: prng.pick([3, 30]),
    segmentBytes: prng.pick([4096, 65_536]),
    lossRate: prng.chance(0.4) ? 0 : prng.float() * 0.1,
    copyRate: prng.chance(0.5) ? 0 : prng.float() * 0.1,
    latencyMaxMs: prng.pick([2, 10, 40]),
    pauseMs: prng.pick([2, 10, 40]),
    crashes: prng.chance(0.7),
    partitions: prng.chance(0.7),
    slowDisks: prng.chance(0.5),
    failingDisks: prng.chance(0.2),
    changes: prng.chance(0.5),
    transfers: prng.chance(0.5),
    clockDrift: prng.chance(0.3),
    pauses: prng.chance(0.5),
  };
}

/** What must hold whatever happens, over all members and all their lives. */
export class SimModel {
  /** What was applied at an index, by whoever came first. */
  readonly applied: string[] = [];
  readonly leaders: Map<number, U64> = new Map();
  /** The index of every text that was applied. */
  private readonly indexes: Map<string, number> = new Map();
  /** Texts whose proposer was told that nothing was done. */
  private readonly undone: Set<string> = new Set();
  /** Highest index of what was acknowledged. */
  acknowledgedMax = 0;
  acknowledged = 0;
  failed = 0;
  reads = 0;
  snapshots = 0;
  changed = 0;
  wide = 0;
  readonly failures: Map<string, number> = new Map();

  apply(member: U64, index: number, text: string): void {
    const known = this.applied[index - 1];
    assert(known === undefined || known === text, `${member} applied ${text} at ${index}, another ${known}`);
    if (known !== undefined) return;
    assert(this.applied.length === index - 1, `${member} applied ${index} before anybody applied what precedes it`);
    this.applied.push(text);
    if (text.startsWith('(')) return;
    assert(!this.indexes.has(text), `${text} was applied twice`);
    assert(!this.undone.has(text), `${text} was applied although its proposer was told that nothing was done`);
    this.indexes.set(text, index);
  }

  /** A proposal that was made when `before` was the highest acknowledged index. */
  acknowledge(text: string, before: number): void {
    const index = this.indexes.get(text);
    assert(index !== undefined, `${text} was acknowledged and not applied`);
    assert(index > before, `${text} is at ${index}, though ${before} was acknowledged before it was proposed`);
    this.acknowledgedMax = Math.max(this.acknowledgedMax, index);
    this.acknowledged++;
  }

  fail(text: string, error: EtcdError): void {
    this.failed++;
    this.failures.set(error.message, (this.failures.get(error.message) ?? 0) + 1);
    if (error !== ErrRequestTooManyRequests && error !== ErrContextDeadlineExceeded) return;
    assert(!this.indexes.has(text), `${text} was applied although its proposer is told that nothing was done`);
    this.undone.add(text);
  }

  lead(member: U64, term: number): void {
    const known = this.leaders.get(term);
    assert(known === undefined || known === member, `two leaders in term ${term}`);
    this.leaders.set(term, member);
  }
}

/** The state on disk, as far as it matters: a prefix of what the model knows. */
interface StoredState {
  readonly appliedIndex: number;
  readonly confState: ConfState | null;
}

/** Turns entries into the model's texts. */
class ModelApplier implements Applier {
  appliedIndex: number;
  confState: ConfState | null;
  private readonly member: U64;
  private readonly model: SimModel;
  private readonly view = new RaftRequestView();

  constructor(member: U64, model: SimModel, stored: StoredState) {
    this.member = member;
    this.model = model;
    this.appliedIndex = stored.appliedIndex;
    this.confState = stored.confState;
  }

  apply(index: number, _term: number, data: Buffer, waiter: Waiter | null): void {
    this.view.parse(data);
    const text = data.toString('latin1', this.view.bodyStart, this.view.bodyEnd);
    this.note(index, text);
    waiter?.done(text);
  }

  applyEmpty(index: number, term: number): void {
    this.note(index, `(term ${term})`);
  }

  applyConfChange(
    index: number,
    _term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.confState = toRaft(change);
    this.note(index, `(${change.type} ${change.nodeId})`);
    waiter?.done('changed');
  }

  applyWideChange(
    index: number,
    _term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.confState = toRaft(change);
    this.note(index, `(wide ${change.context.toString('latin1')})`);
    waiter?.done('changed');
  }

  batchEnd(): void {}

  private note(index: number, text: string): void {
    assert(index === this.appliedIndex + 1, 'entries come in order');
    this.appliedIndex = index;
    this.model.apply(this.member, index, text);
  }
}

/** One member on its machine, through all its lives. */
export class SimMember {
  readonly id: U64;
  readonly number: number;
  readonly machine: SimMachine;
  node: ReplicationNode | null = null;
  applier: ModelApplier | null = null;
  /** Whether it runs or is about to. */
  isUp = false;
  stored: StoredState = { appliedIndex: 0, confState: null };
  /** Snapshots whose data has come and is durable, by index; several may be on their way into the state. */
  private readonly received: Map<number, StoredState> = new Map();
  private readonly cluster: SimCluster;
  private readonly isFounder: boolean;

  constructor(cluster: SimCluster, machine: SimMachine, number: number, id: U64, isFounder: boolean) {
    this.cluster = cluster;
    this.machine = machine;
    this.number = number;
    this.id = id;
    this.isFounder = isFounder;
  }

  /** One life, until `crash`. A disk that fails ends it early. */
  boot(): void {
    this.isUp = true;
    const { world } = this.machine;
    this.open().then(
      (opened) => {
        if (world === this.machine.world) this.run(opened);
      },
      (error: Error) => {
        if (world !== this.machine.world) return;
        if (!error.message.includes('EIO')) this.cluster.broke(error);
        this.isUp = false;
      },
    );
  }

  private async open(): Promise<OpenedLog> {
    const { cluster } = this;
    const { world } = this.machine;
    const { segmentBytes } = cluster.plan;
    const walOptions = { segmentBytes, segmentsMax: 1, fillAheadBytes: 4096 };
    const place = { world, directory: DIRECTORY, logger: silentLogger, walOptions };
    const founding = { members: cluster.founders, name: `m${this.number}`, token: TOKEN };
    await world.disk.makeDirectory('/data/member');
    if (!(await hasLog(place))) {
      assert(this.stored.appliedIndex === 0, 'a log that was promised is gone');
      if (this.isFounder) return await foundCluster({ ...place, ...founding });
      return await joinCluster({ ...place, memberId: this.id, clusterId: cluster.clusterId });
    }
    await this.finishInstallation();
    const { appliedIndex, confState } = this.stored;
    return await openExisting({
      ...place,
      appliedIndex,
      confState,
      founding: this.isFounder ? () => Promise.resolve(founding) : null,
    });
  }

  /** A crash between the record of a snapshot and the state that belongs to it: the state is put in place now. */
  private async finishInstallation(): Promise<void> {
    const newest = await newestSnapshot(this.machine.world.disk, DIRECTORY);
    if (newest === null || newest.index <= this.stored.appliedIndex) return;
    const data = this.received.get(newest.index);
    assert(data !== undefined, 'the data of a snapshot is there before its record is');
    this.stored = data;
  }

  private run(opened: OpenedLog): void {
    const { cluster } = this;
    const { world } = this.machine;
    const { plan, model } = cluster;
    const applier = new ModelApplier(this.id, model, this.stored);
    const node = new ReplicationNode({
      world,
      logger: silentLogger,
      ...opened,
      applier,
      durableIndex: () => this.stored.appliedIndex,
      onFatal: (error) => {
        if (!error.message.includes('EIO')) cluster.broke(error);
        this.crash(false);
      },
      transport: { send: (messages) => cluster.send(messages), activeSince: () => 0, close: async () => {} },
      installer: { install: (snapshot, done) => this.install(snapshot, done) },
      heartbeatMs: 10,
      electionMs: 100,
      preVote: plan.preVote,
      snapshotCount: plan.snapshotCount,
      catchUpEntries: plan.catchUpEntries,
    });
    node.onLeadership((isLeader, _leader, term) => {
      if (isLeader) model.lead(this.id, term);
    });
    this.node = node;
    this.applier = applier;
    node.start();
    world.timers.every(7, () => this.flush());
    for (let client = 0; client < 2; client++) this.work(node, applier);
  }

  /** The backend commits now and then. */
  private flush(): void {
    const { applier } = this;
    if (applier === null || this.cluster.prng.chance(0.4)) return;
    this.stored = { appliedIndex: applier.appliedIndex, confState: applier.confState };
  }

  private install(snapshot: RaftSnapshot, done: (error: Error | null) => void): void {
    const index = snapshot.metadata?.index ?? 0;
    const data = this.received.get(index);
    assert(data !== undefined, 'the data came with the message');
    this.machine.world.timers.after(this.cluster.prng.float() * 60, () => {
      this.stored = data;
      if (this.applier !== null) {
        this.applier.appliedIndex = data.appliedIndex;
        this.applier.confState = data.confState;
      }
      this.cluster.model.snapshots++;
      done(null);
    });
  }

  /** A client: proposals and reads, one after the other, for ever. */
  private work(node: ReplicationNode, applier: ModelApplier): void {
    const { cluster } = this;
    const { model, prng, plan } = cluster;
    const again = (): void => {
      this.machine.world.timers.after(prng.float() * plan.pauseMs, () => this.work(node, applier));
    };
    const before = model.acknowledgedMax;
    if (prng.chance(0.3)) {
      const needed = Math.max(before, cluster.committed());
      const done = (): void => {
        assert(
          applier.appliedIndex >= needed,
          `a read on ${this.number} saw ${applier.appliedIndex}, when it was asked ${needed} was committed`,
        );
        model.reads++;
        again();
      };
      node.readBarrier({ done, fail: again });
      return;
    }
    const text = cluster.nextText(this.number);
    this.propose(text, {
      done: (result) => {
        assert(result === text, 'everybody gets his own result');
        model.acknowledge(text, before);
        again();
      },
      fail: (error) => {
        model.fail(text, error);
        again();
      },
    });
  }

  propose(text: string, waiter: Waiter): void {
    const { node } = this;
    assert(node !== null, 'only a member that runs can propose');
    const body = Buffer.from(text, 'latin1');
    const { high, low } = node.nextRequestId();
    node.propose(writeRaftRequest(RaftRequestField.Put, body, 0, body.length, high, low, '', 0), waiter);
  }

  change(change: ConfChange): void {
    const { node } = this;
    if (node === null) return;
    const { high, low } = node.nextRequestId();
    change.id = high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
    const { model } = this.cluster;
    node.proposeConfChange(change, { done: () => model.changed++, fail: () => {} });
  }

  /** Ends this life; with `power` what was not synced may be lost. */
  crash(power: boolean): void {
    this.isUp = false;
    this.node = null;
    this.applier = null;
    if (power) this.machine.crash();
    else this.machine.kill();
  }

  deliver(message: Message): void {
    const { node } = this;
    if (node === null) return;
    if (message.type === MessageType.MsgSnap) {
      const metadata = message.snapshot?.metadata ?? null;
      assert(metadata !== null, 'a snapshot has a position');
      this.received.set(metadata.index, { appliedIndex: metadata.index, confState: metadata.confState });
    }
    node.step(message);
  }
}

/** Members, their network and whatever goes wrong. */
export class SimCluster {
  readonly plan: SimPlan;
  readonly model = new SimModel();
  readonly prng: Prng;
  readonly universe: SimUniverse;
  readonly members: SimMember[] = [];
  readonly founders: FoundingMember[];
  readonly clusterId: U64;
  /** Pairs between which nothing passes, as "from to". */
  private readonly cuts: Set<string> = new Set();
  private readonly life = new Life();
  private isCalm = false;
  private texts = 0;
  private failure: Error | null = null;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.plan = drawPlan(this.prng);
    this.universe = new SimUniverse(seed);
    const count = this.plan.founders + this.plan.joiners;
    const urls = (number: number): string[] => [`http://m${number}:2380`];
    const numbers = Array.from({ length: this.plan.founders }, (_, place) => place + 1);
    this.founders = numbers.map((number) => ({ name: `m${number}`, peerUrls: urls(number) }));
    const identified = identify(this.founders, TOKEN);
    this.clusterId = clusterIdOf(identified.map(({ id }) => id));
    for (let number = 1; number <= count; number++) {
      const founder = identified.find(({ name }) => name === `m${number}`);
      const id = founder?.id ?? joiningMemberId(urls(number), 1);
      const machine = this.universe.addMachine(`m${number}`);
      this.members.push(new SimMember(this, machine, number, id, founder !== undefined));
    }
  }

  broke(error: Error): void {
    this.failure ??= error;
  }

  nextText(number: number): string {
    return `m${number}-${++this.texts}${'.'.repeat(this.prng.below(100))}`;
  }

  /** The highest index anybody knows to be committed. */
  committed(): number {
    let index = 0;
    for (const { node } of this.members) if (node !== null) index = Math.max(index, node.commitIndex);
    return index;
  }

  /** Each message takes its own time: later ones may overtake. */
  send(messages: readonly Message[]): void {
    for (const message of messages) {
      const bytes = Message.encode(message);
      const isLost = this.cuts.has(`${message.from} ${message.to}`) || this.prng.chance(this.rate(this.plan.lossRate));
      this.post(message.from, message.to, bytes, isLost);
      // Streams repeat what raft understands to be repeated; a proposal twice would be two proposals.
      const isRepeatable = message.type !== MessageType.MsgProp;
      if (isRepeatable && this.prng.chance(this.rate(this.plan.copyRate)))
        this.post(message.from, message.to, bytes, isLost);
    }
  }

  private rate(rate: number): number {
    return this.isCalm ? 0 : rate;
  }

  private post(from: U64, to: U64, bytes: Buffer, isLost: boolean): void {
    const delayMs = 0.2 + this.prng.float() * (this.isCalm ? 1 : this.plan.latencyMaxMs);
    this.universe.simulation.schedule(delayMs, this.life, () => this.arrive(from, to, bytes, isLost));
  }

  private arrive(from: U64, to: U64, bytes: Buffer, isLost: boolean): void {
    const { simulation } = this.universe;
    const target = this.members.find(({ id }) => id === to);
    const pauseMs = (target?.machine.pausedUntilMs ?? 0) - simulation.nowMs;
    if (pauseMs > 0) {
      // It waits in the socket.
      simulation.schedule(pauseMs, this.life, () => this.arrive(from, to, bytes, isLost));
      return;
    }
    const arrives = !isLost && target?.node !== undefined && target.node !== null;
    const message = Message.decode(bytes);
    if (arrives) target.deliver(message);
    if (message.type !== MessageType.MsgSnap) return;
    this.members.find(({ id }) => id === from)?.node?.reportSnapshot(to, !arrives);
  }

  /** Everybody starts; faults for a while; then peace, in which everything must come right. */
  async play(faultsMs: number): Promise<void> {
    const { simulation } = this.universe;
    for (const member of this.members) {
      if (this.plan.clockDrift) member.machine.clockFaults.rate = 0.8 + this.prng.float() * 0.4;
      member.boot();
    }
    this.later(() => this.misfortune());
    await simulation.runUntil(() => this.failure !== null || simulation.nowMs >= faultsMs, { eventsMax: 2_000_000 });
    if (this.failure !== null) throw this.failure;
    await this.recover();
  }

  private later(callback: () => void): void {
    this.universe.simulation.schedule(20 + this.prng.float() * 300, this.life, callback);
  }

  private misfortune(): void {
    if (this.isCalm) return;
    const { plan, prng } = this;
    const member = prng.pick(this.members);
    switch (prng.below(9)) {
      case 0:
        if (plan.crashes && member.isUp) member.crash(prng.chance(0.7));
        break;
      case 1:
      case 2:
        for (const other of this.members) if (!other.isUp && prng.chance(0.7)) other.boot();
        break;
      case 3:
        if (plan.partitions) this.cut();
        break;
      case 4:
        this.cuts.clear();
        break;
      case 5:
        this.disturbDisk(member);
        break;
      case 6:
        if (plan.changes) this.change();
        break;
      case 7:
        if (plan.pauses) member.machine.pause(prng.pick([20, 150, LONGEST_PAUSE_MS]));
        break;
      default:
        if (plan.transfers) for (const { node } of this.members) node?.moveLeader(member.id, SILENT);
    }
    this.later(() => this.misfortune());
  }

  private cut(): void {
    const side = new Set(this.members.filter(() => this.prng.chance(0.4)).map(({ id }) => id));
    const isOneWay = this.prng.chance(0.3);
    for (const left of this.members) {
      for (const right of this.members) {
        if (side.has(left.id) === side.has(right.id) || (isOneWay && side.has(left.id))) continue;
        this.cuts.add(`${left.id} ${right.id}`);
      }
    }
  }

  private disturbDisk(member: SimMember): void {
    const { plan, prng } = this;
    const { diskFaults } = member.machine;
    diskFaults.writeErrorRate = plan.failingDisks && prng.chance(0.3) ? 0.02 : 0;
    diskFaults.stallRate = plan.slowDisks && prng.chance(0.6) ? 0.1 : 0;
    diskFaults.stallMs = prng.pick([30, 150, SLOWEST_DISK_MS]);
  }

  private change(): void {
    const { prng } = this;
    const asked = prng.pick(this.members);
    const voters = asked.applier?.confState?.voters ?? [];
    const nodeId = prng.pick(this.members).id;
    const type = prng.pick([
      ConfChangeType.ConfChangeAddNode,
      ConfChangeType.ConfChangeAddNode,
      ConfChangeType.ConfChangeAddLearnerNode,
      ConfChangeType.ConfChangeRemoveNode,
    ]);
    if (prng.chance(0.3)) {
      this.changeMany(asked);
      return;
    }
    // Two voters stay, whatever was changed meanwhile.
    if (type !== ConfChangeType.ConfChangeAddNode && voters.length <= 3) return;
    asked.change(ConfChange.create({ type, nodeId }));
  }

  /** Through a joint configuration to a random choice of at least two voters. */
  private changeMany(asked: SimMember): void {
    const { prng } = this;
    const chosen = this.members.filter(() => prng.chance(0.6));
    if (chosen.length < 2) return;
    const wide = new ConfChangeV2();
    for (const member of this.members) {
      const type = chosen.includes(member) ? ConfChangeType.ConfChangeAddNode : ConfChangeType.ConfChangeRemoveNode;
      wide.changes.push(ConfChangeSingle.create({ type, nodeId: member.id }));
    }
    wide.context = Buffer.from(this.nextText(0));
    asked.node?.proposeConfChangeV2(wide, { done: () => this.model.wide++, fail: () => {} });
  }

  /** Peace: whoever belongs to the cluster must agree, answer and be up to date soon. */
  private async recover(): Promise<void> {
    this.isCalm = true;
    this.cuts.clear();
    for (const member of this.members) {
      Object.assign(member.machine.diskFaults, { writeErrorRate: 0, stallRate: 0 });
      member.machine.clockFaults.rate = 1;
      if (!member.isUp) member.boot();
    }
    // What a disk has begun slowly it ends slowly.
    await this.universe.simulation.runFor(Math.max(SLOWEST_DISK_MS, LONGEST_PAUSE_MS));
    await this.until('everybody runs', () => this.members.every(({ node }) => node !== null));
    await this.until('somebody leads', () => this.leader() !== null);
    await this.until('everybody is up to date', () => this.isLevel());
    const text = this.nextText(0);
    const outcomes: string[] = [];
    const leader = this.leader();
    assert(leader !== null, 'there is a leader');
    const noted = { done: () => outcomes.push('done'), fail: (error: EtcdError) => outcomes.push(error.message) };
    leader.propose(text, noted);
    const members = this.belonging(leader);
    for (const { node } of members) node?.readBarrier(noted);
    await this.until('answers', () => outcomes.length === members.length + 1);
    assert(
      outcomes.every((outcome) => outcome === 'done'),
      `in peace: ${outcomes.join(', ')}`,
    );
  }

  private async until(what: string, isDone: () => boolean): Promise<void> {
    const { simulation } = this.universe;
    const endMs = simulation.nowMs + 20_000;
    await simulation.runUntil(() => this.failure !== null || isDone() || simulation.nowMs > endMs);
    if (this.failure !== null) throw this.failure;
    assert(isDone(), `liveness: ${what}, not within 20 s of peace`);
  }

  private leader(): SimMember | null {
    let leader: SimMember | null = null;
    for (const member of this.members) {
      if (member.node?.isLeader !== true) continue;
      if (leader === null || member.node.term > (leader.node?.term ?? 0)) leader = member;
    }
    return leader;
  }

  private belonging(leader: SimMember): SimMember[] {
    const { voters = [], learners = [] } = leader.applier?.confState ?? {};
    return this.members.filter(({ id }) => voters.includes(id) || learners.includes(id));
  }

  /** Everybody has applied all but what the clients are just proposing. */
  private isLevel(): boolean {
    const leader = this.leader();
    if (leader?.node == null) return false;
    const { commitIndex } = leader.node;
    return this.belonging(leader).every(({ node }) => (node?.appliedIndex ?? 0) + 20 >= commitIndex);
  }
}

const SILENT: Waiter = { done: () => {}, fail: () => {} };
