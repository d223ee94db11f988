import { writeFileSync } from 'node:fs';
import type { Prng } from '@etsd/base';
import type { TestCluster } from '../support/cluster.ts';
import type { TestServer } from '../support/server.ts';

/** Something bad that is done to a cluster and taken back later. */
export interface Fault {
  readonly text: string;
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
}

export const FAULT_KINDS = [
  'kill',
  'stop',
  'pause',
  'isolate',
  'cut',
  'one-way',
  'delay',
  'slow-disk',
  'kill-all',
  'move-leader',
  'defragment',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** How likely each is beside the others. */
const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  kill: 4,
  stop: 2,
  pause: 4,
  isolate: 4,
  cut: 2,
  'one-way': 4,
  delay: 2,
  'slow-disk': 3,
  'kill-all': 0.4,
  'move-leader': 2,
  defragment: 1,
};

/** A member that was asked to end has ended by then. */
const STOP_MS = 20_000;

const nothing = (): void => {};

/** Draws faults; what comes depends on the seed and on who leads at that moment. */
export class Faults {
  private readonly cluster: TestCluster;
  private readonly prng: Prng;
  private readonly kinds: readonly FaultKind[];
  /** Where a member reads by how much its disk is slow. */
  private readonly diskControl: (name: string) => string;

  constructor(cluster: TestCluster, prng: Prng, kinds: readonly FaultKind[], diskControl: (name: string) => string) {
    this.cluster = cluster;
    this.prng = prng;
    this.kinds = kinds;
    this.diskControl = diskControl;
  }

  async draw(): Promise<Fault> {
    const leader = await this.cluster.leader(500);
    const { members } = this.cluster;
    // Half of them hit the leader: it is the member that matters most.
    const victim = leader !== null && this.prng.chance(0.5) ? leader : this.prng.pick(members);
    const kind = this.kind();
    const name = victim.membership.name;
    const role = victim === leader ? 'leader ' : '';
    return this.make(kind, victim, `${kind} ${kind === 'kill-all' ? '' : role + name}`.trim());
  }

  private kind(): FaultKind {
    let point = this.prng.float() * this.kinds.reduce((sum, kind) => sum + WEIGHTS[kind], 0);
    for (const kind of this.kinds) {
      point -= WEIGHTS[kind];
      if (point < 0) return kind;
    }
    return this.kinds[0] as FaultKind;
  }

  private make(kind: FaultKind, victim: TestServer, text: string): Fault {
    const { cluster, prng } = this;
    const name = victim.membership.name;
    const others = cluster.members.filter((member) => member !== victim).map(({ membership }) => membership.name);
    switch (kind) {
      case 'kill':
        return { text, begin: () => victim.kill(), end: () => revive(victim) };
      case 'stop':
        return { text, begin: () => stop(victim), end: () => revive(victim) };
      case 'kill-all':
        return {
          text,
          begin: async () => void (await Promise.all(cluster.members.map((member) => member.kill()))),
          end: async () => void (await Promise.all(cluster.members.map(revive))),
        };
      case 'pause':
        return { text, begin: () => victim.pause(), end: () => victim.resume() };
      case 'move-leader':
        return { text, begin: () => this.moveLeader(victim), end: nothing };
      case 'defragment':
        return { text, begin: () => this.defragment(victim), end: nothing };
      case 'slow-disk':
        return this.slowDisk(victim, text);
      default:
        return this.wires(kind, name, kind === 'cut' ? [prng.pick(others)] : others, text);
    }
  }

  private wires(kind: FaultKind, name: string, others: readonly string[], text: string): Fault {
    const { prng } = this;
    const links = this.cluster.links;
    if (links === null) throw new Error('this cluster has no wires');
    const end = (): void => links.heal();
    if (kind === 'delay') {
      const ms = prng.pick([5, 30, 100, 300]);
      const begin = (): void => {
        for (const other of others) {
          links.delay(name, other, ms);
          links.delay(other, name, ms);
        }
      };
      return { text: `${text} by ${ms} ms`, begin, end };
    }
    const refuse = prng.chance(0.4);
    const isOut = kind !== 'one-way' || prng.chance(0.5);
    const isIn = kind !== 'one-way' || !isOut;
    const begin = (): void => {
      for (const other of others) {
        if (isOut) links.cut(name, other, refuse);
        if (isIn) links.cut(other, name, refuse);
      }
    };
    const way = kind === 'one-way' ? (isOut ? ' sends nothing' : ' hears nothing') : '';
    return {
      text: `${text}${way} ${kind === 'cut' ? `and ${others[0]} ` : ''}${refuse ? 'refused' : 'silent'}`,
      begin,
      end,
    };
  }

  private slowDisk(victim: TestServer, text: string): Fault {
    const ms = this.prng.pick([20, 100, 400, 1500]);
    const set = (delay: number): void => writeFileSync(this.diskControl(victim.membership.name), String(delay));
    return { text: `${text} by ${ms} ms`, begin: () => set(ms), end: () => set(0) };
  }

  private async moveLeader(to: TestServer): Promise<void> {
    const leader = await this.cluster.leader(500);
    const target = await this.cluster.status(to, 500);
    if (leader === null || target === null) return;
    await this.cluster.client(leader).call('Maintenance/MoveLeader', { targetID: target.member }, 1000);
  }

  private async defragment(victim: TestServer): Promise<void> {
    await this.cluster.client(victim).call('Maintenance/Defragment', {}, 3000);
  }
}

/** Asks a member to end; one that is held cannot hear that. */
async function stop(member: TestServer): Promise<void> {
  member.resume();
  await member.stop(STOP_MS);
}

/** Starts a member again that does not run; it is ready when it says so, and need not be for the next fault to come. */
async function revive(member: TestServer): Promise<void> {
  if (!member.isRunning) member.launch();
}
