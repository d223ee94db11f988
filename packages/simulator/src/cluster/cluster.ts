import { Prng, type U64 } from '@etsd/base';
import { calmDisk, calmNetwork, Life, SimUniverse } from '@etsd/runtime/sim';
import type { Violation } from '../checkers/history.ts';
import type { Plan } from '../run/plan.ts';
import { Trace } from '../run/trace.ts';
import { type MemberSurroundings, SimMember } from './member.ts';
import { Observer } from './observer.ts';
import { PeerNet } from './peers.ts';
import { Releases } from './releases.ts';

export interface ClusterOptions {
  readonly seed: number;
  readonly plan: Plan;
  readonly keepsTrace: boolean;
}

/** Members on their machines, and the network between them. */
export class SimCluster {
  readonly universe: SimUniverse;
  readonly members: SimMember[] = [];
  readonly plan: Plan;
  readonly net: PeerNet;
  readonly observer: Observer;
  readonly trace: Trace;
  readonly releases = new Releases();
  readonly violations: Violation[] = [];
  /** Somebody is changing who belongs to it. */
  isChanging = false;
  /** When somebody last began to lead. */
  ledSinceMs = 0;
  /** Of whoever torments the cluster: outlives every machine. */
  readonly life = new Life();

  constructor({ seed, plan, keepsTrace }: ClusterOptions) {
    this.plan = plan;
    const { latencyMinMs, latencyMaxMs, lossRate, halfOpenRate } = plan.network;
    // Of connections: what is lost comes late, some break, and not all learn that the other end is gone.
    const bad = { lossRate, resetRate: lossRate / 10, halfOpenRate };
    this.universe = new SimUniverse(seed, { ...calmNetwork(), latencyMinMs, latencyMaxMs, ...bad });
    const { simulation, lan } = this.universe;
    this.trace = new Trace(() => simulation.nowMs, keepsTrace);
    this.observer = new Observer(
      (rule, text) => this.broke(rule, text),
      (id, term) => {
        this.ledSinceMs = this.nowMs;
        this.trace.note(this.nameOf(id), `leads in term ${term}`);
      },
    );
    if (plan.upgradeMs > 0) this.observer.releases = this.releases;
    this.net = new PeerNet(lan, new Prng(simulation.prng.u32()), plan.network, this.observer);
    const around: MemberSurroundings = {
      plan,
      prng: new Prng(simulation.prng.u32()),
      net: this.net,
      observer: this.observer,
      trace: this.trace,
      releases: this.releases,
      broke: (rule, text) => this.broke(rule, text),
    };
    for (let number = 0; number < plan.founders + plan.spares; number++) {
      const disk = { ...calmDisk(), latencyMaxMs: plan.diskMaxMs };
      this.members.push(new SimMember(around, this.universe.addMachine(`m${number + 1}`, disk), number));
    }
  }

  get nowMs(): number {
    return this.universe.simulation.nowMs;
  }

  broke(rule: string, text: string): void {
    this.trace.note('!!', `VIOLATION of ${rule}: ${text}`);
    this.violations.push({ rule, text });
  }

  /** Founds it. */
  start(): void {
    const founders = this.members.slice(0, this.plan.founders);
    const initialCluster = founders.map((member) => `${member.name}=${member.peerUrl}`).join(',');
    for (const member of founders) member.begin({ initialCluster, state: 'new' });
  }

  /** Those that belong to it now, as far as anybody knows. */
  get current(): SimMember[] {
    return this.members.filter((member) => member.isUsed && !member.isRemoved && !member.isLeaving);
  }

  /** Those among them that serve clients. */
  get serving(): SimMember[] {
    return this.current.filter((member) => !member.isLearner);
  }

  /**
   * When the last clock that stood still went on, or will: who leads by it counts the time of leases from there. And the last
   * process: what it was asked for meanwhile gets into the log only then, whoever has given it up.
   */
  get allGoOnMs(): number {
    return Math.max(
      0,
      ...this.current.map(({ machine }) => Math.max(machine.clockFaults.goesOnMs, machine.pausedUntilMs)),
    );
  }

  /** The member that leads in the highest term; null where none does. */
  get leader(): SimMember | null {
    let leader: SimMember | null = null;
    let term = 0;
    for (const one of this.members) {
      const replication = one.member?.replication;
      if (replication?.isLeader !== true || replication.term <= term) continue;
      leader = one;
      term = replication.term;
    }
    return leader;
  }

  after(ms: number, callback: () => void): void {
    this.universe.simulation.schedule(ms, this.life, callback);
  }

  private nameOf(id: U64): string {
    return this.members.find((one) => one.member?.replication.memberId === id)?.name ?? id.slice(-4);
  }
}
