import { FAULT_POINTS } from '@etsd/base';
import { describeFault, type Fault, LEADER } from '../run/faults.ts';
import type { SimCluster } from './cluster.ts';
import { Decay } from './decay.ts';
import type { SimMember } from './member.ts';

/** A place in the program that was not reached within this time is waited for no more. */
const AT_PLACE_MS = 5000;

/** Makes the faults of a schedule happen, each at its time, and ends them all when there is to be peace. */
export class Torment {
  /** How often each kind happened to something: a fault that met nobody is none. */
  readonly reached = new Map<string, number>();
  private readonly cluster: SimCluster;
  private readonly ends = new Set<() => void>();
  /** Links cut by more than one fault are whole only when all of these have ended. */
  private readonly cuts = new Map<string, number>();
  private readonly decay: Decay;
  private isOver = false;

  constructor(cluster: SimCluster, faults: readonly Fault[]) {
    this.cluster = cluster;
    this.decay = new Decay(cluster, (ms, end) => this.until(ms, end));
    for (const fault of faults) cluster.after(fault.atMs, () => this.happen(fault));
  }

  /** Peace: nothing is cut, slow or wrong any more, and whoever was down is started. */
  end(): void {
    this.isOver = true;
    for (const end of [...this.ends]) end();
    this.ends.clear();
    const { cluster } = this;
    cluster.net.isCalm = true;
    cluster.universe.lan.healAll();
    Object.assign(cluster.universe.lan.faults, { lossRate: 0, resetRate: 0, halfOpenRate: 0 });
    for (const member of cluster.members) {
      Object.assign(member.machine.diskFaults, { writeErrorRate: 0, syncErrorRate: 0, stallRate: 0 });
      Object.assign(member.machine.diskFaults, { capacityBytes: Number.POSITIVE_INFINITY });
      member.machine.clockFaults.rate = 1;
      member.machine.stopAt(null, 0, () => {});
      member.boot();
    }
  }

  private happen(fault: Fault): void {
    if (this.isOver) return;
    const { cluster } = this;
    const target = fault.member === LEADER ? cluster.leader : (cluster.members[fault.member] ?? null);
    const hasHappened = this.begin(fault, target);
    if (!hasHappened) return;
    this.reached.set(fault.kind, (this.reached.get(fault.kind) ?? 0) + 1);
    cluster.trace.note(
      target !== null && fault.others.length === 0 ? target.name : '*',
      `fault: ${describeFault(fault)}`,
    );
  }

  /** Calls `end` after so long, or when there is peace. */
  private until(ms: number, end: () => void): void {
    const once = (): void => {
      if (this.ends.delete(once)) end();
    };
    this.ends.add(once);
    this.cluster.after(ms, once);
  }

  private begin(fault: Fault, target: SimMember | null): boolean {
    switch (fault.kind) {
      case 'power-all':
        return this.powerAll(fault);
      case 'cut':
        return this.cutOff(this.chosen(fault), fault.amount === 1, fault.forMs);
      case 'cut-clients':
        return this.cutClients(fault);
      case 'swizzle':
        return this.swizzle(fault);
      case 'storm':
        return this.storm(fault);
      case 'clog':
        return target !== null && this.clog(fault, target);
      default:
        return target?.isUsed === true && !target.isRemoved && this.strike(fault, target);
    }
  }

  /** What happens to one machine. */
  private strike(fault: Fault, target: SimMember): boolean {
    const { machine } = target;
    const { amount, forMs } = fault;
    switch (fault.kind) {
      case 'kill':
        return this.down(target, forMs, () => target.kill());
      case 'power':
        return this.down(target, forMs, () => target.losePower());
      case 'stop':
        if (!target.isReady) return false;
        target.stop(() => this.cluster.after(forMs, () => target.boot()));
        return true;
      case 'pause':
        machine.pause(forMs);
        return true;
      case 'isolate':
        return this.cutOff([target.name], false, forMs);
      case 'slow-disk':
        Object.assign(machine.diskFaults, { stallRate: 0.1, stallMs: amount });
        this.until(forMs, () => Object.assign(machine.diskFaults, { stallRate: 0 }));
        return true;
      case 'disk-errors':
        machine.diskFaults.writeErrorRate = amount;
        this.until(forMs, () => {
          machine.diskFaults.writeErrorRate = 0;
        });
        return true;
      case 'clock-rate':
        machine.clockFaults.rate = amount;
        this.until(forMs, () => {
          machine.clockFaults.rate = 1;
        });
        return true;
      case 'clock-jump':
        machine.clockFaults.jump(amount);
        return true;
      case 'clock-stop':
        machine.clockFaults.standStill(forMs);
        return true;
      case 'kill-at':
        return this.downAt(fault, target, () => target.kill());
      case 'power-at':
        return this.downAt(fault, target, () => target.losePower());
      case 'sync-errors':
        machine.diskFaults.syncErrorRate = amount;
        this.until(forMs, () => {
          machine.diskFaults.syncErrorRate = 0;
        });
        return true;
      case 'disk-stall':
        machine.stallDisk(forMs);
        return true;
      case 'disk-full':
        machine.diskFaults.capacityBytes = machine.medium.allocatedBytes();
        this.until(forMs, () => {
          machine.diskFaults.capacityBytes = Number.POSITIVE_INFINITY;
        });
        return true;
      case 'rot':
        return this.decay.rot(target, amount);
      case 'misdirect':
        return this.decay.misdirect(target, amount, forMs);
      default:
        return false;
    }
  }

  private down(target: SimMember, forMs: number, end: () => void): boolean {
    if (!target.isUp) return false;
    end();
    this.cluster.after(forMs, () => target.boot());
    return true;
  }

  /** The process ends when it next comes to a certain place, if that is soon. */
  private downAt({ amount, forMs }: Fault, target: SimMember, end: () => void): boolean {
    const point = FAULT_POINTS[amount];
    if (point === undefined || !target.isUp) return false;
    const { machine, run } = target;
    machine.stopAt(point, 1, () => {
      this.cluster.trace.note(target.name, `ends at ${point}`);
      this.down(target, forMs, end);
    });
    this.until(AT_PLACE_MS, () => {
      if (target.run === run) machine.stopAt(null, 0, () => {});
    });
    return true;
  }

  /** What these machines send to the target does not come for a while; then all of it does. */
  private clog(fault: Fault, target: SimMember): boolean {
    const names = this.chosen(fault).filter((name) => name !== target.name);
    for (const from of names) this.cluster.universe.lan.links.clog(from, target.name, fault.forMs);
    return names.length > 0;
  }

  private powerAll({ forMs }: Fault): boolean {
    const up = this.cluster.members.filter((member) => member.isUp);
    for (const member of up) this.down(member, forMs, () => member.losePower());
    return up.length > 0;
  }

  private storm({ amount, forMs }: Fault): boolean {
    const { net } = this.cluster;
    net.stormRate = amount;
    this.until(forMs, () => {
      net.stormRate = 0;
    });
    return true;
  }

  private chosen({ others }: Fault): string[] {
    return others.flatMap((number) => this.cluster.members[number]?.name ?? []);
  }

  /** Every other client loses sight of these machines; its connections are as good as dead, and nobody says so. */
  private cutClients(fault: Fault): boolean {
    const { machines } = this.cluster.universe;
    const clients = machines.slice(this.cluster.members.length).filter((_machine, place) => place % 2 === 1);
    const links = clients.flatMap(({ name }) =>
      this.chosen(fault).flatMap((member): [string, string][] => [
        [name, member],
        [member, name],
      ]),
    );
    return this.cutLinks(links, fault.forMs);
  }

  /** Nothing passes between these machines and the other ones; one way: nothing comes from them. */
  private cutOff(side: readonly string[], isOneWay: boolean, forMs: number): boolean {
    const links: [from: string, to: string][] = [];
    for (const { name } of this.cluster.members) {
      if (side.includes(name)) continue;
      for (const one of side) {
        links.push([one, name]);
        if (!isOneWay) links.push([name, one]);
      }
    }
    return this.cutLinks(links, forMs);
  }

  private cutLinks(links: readonly (readonly [from: string, to: string])[], forMs: number): boolean {
    for (const [from, to] of links) this.cut(from, to);
    this.until(forMs, () => {
      for (const [from, to] of links) this.heal(from, to);
    });
    return links.length > 0;
  }

  /** FoundationDB's swizzle: machines are cut off one after the other, and joined again in another order. */
  private swizzle(fault: Fault): boolean {
    const names = this.chosen(fault);
    names.forEach((name, place) => {
      const joinedMs = fault.forMs + fault.amount * ((place * 7 + 3) % names.length);
      this.cluster.after(fault.amount * place, () => {
        if (!this.isOver) this.cutOff([name], false, joinedMs);
      });
    });
    return names.length > 0;
  }

  private cut(from: string, to: string): void {
    const link = `${from}>${to}`;
    this.cuts.set(link, (this.cuts.get(link) ?? 0) + 1);
    this.cluster.universe.lan.cut(from, to);
  }

  private heal(from: string, to: string): void {
    const link = `${from}>${to}`;
    const left = (this.cuts.get(link) ?? 1) - 1;
    this.cuts.set(link, left);
    if (left === 0) this.cluster.universe.lan.heal(from, to);
  }
}
