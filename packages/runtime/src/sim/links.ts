import type { Prng } from '@etsd/base';
import { Life, type Simulation } from './simulation.ts';

/** One way from a machine to another. */
class Link {
  isCut = false;
  /** Added to what everything takes, in milliseconds. */
  slowMs = 0;
  /** Nothing comes through before, in simulated milliseconds; then all of it does. */
  cloggedUntilMs = 0;
}

/** The state of every way between machines. The way back is another one. */
export class Links {
  private readonly simulation: Simulation;
  private readonly prng: Prng;
  /** By whence, then by whither. */
  private readonly links = new Map<string, Map<string, Link>>();
  private readonly life = new Life();

  constructor(simulation: Simulation, prng: Prng) {
    this.simulation = simulation;
    this.prng = prng;
  }

  cut(from: string, to: string): void {
    this.link(from, to).isCut = true;
    this.simulation.counts.add('network.cut');
  }

  heal(from: string, to: string): void {
    this.link(from, to).isCut = false;
  }

  /** Every way is whole, swift and free. */
  healAll(): void {
    this.links.clear();
  }

  isCut(from: string, to: string): boolean {
    return this.links.get(from)?.get(to)?.isCut === true;
  }

  /** Nothing comes through for so long, but nothing is lost: a queue that does not move. */
  clog(from: string, to: string, ms: number): void {
    const link = this.link(from, to);
    link.cloggedUntilMs = Math.max(link.cloggedUntilMs, this.simulation.nowMs + ms);
    this.simulation.counts.add('network.clog');
  }

  /** Everything takes so much longer; 0 for no longer. */
  slow(from: string, to: string, ms: number): void {
    this.link(from, to).slowMs = ms;
    if (ms > 0) this.simulation.counts.add('network.slow');
  }

  /** What the way adds to the time that something sent now takes. */
  extraMs(from: string, to: string): number {
    const link = this.links.get(from)?.get(to);
    if (link === undefined) return 0;
    return link.slowMs + Math.max(0, link.cloggedUntilMs - this.simulation.nowMs);
  }

  /** Cuts the machines in `side` off from the `others`; `oneWay`: only what `side` says is not heard. */
  partition(side: readonly string[], others: readonly string[], oneWay = false): void {
    for (const from of side) {
      for (const to of others) {
        if (from === to) continue;
        this.cut(from, to);
        if (!oneWay) this.cut(to, from);
      }
    }
    this.simulation.counts.add(oneWay ? 'network.one-way partition' : 'network.partition');
  }

  /**
   * Cuts machines off from all others one after the other, `stepMs` apart, and lets them back in another order: on the way
   * every minority, and which majority there is, changes several times (after FoundationDB's swizzle-clogging).
   */
  swizzle(machines: readonly string[], all: readonly string[], stepMs: number): void {
    this.simulation.counts.add('network.swizzle');
    let atMs = 0;
    for (const machine of shuffled(machines, this.prng)) {
      this.simulation.schedule(atMs, this.life, () => this.isolate(machine, all, true));
      atMs += stepMs;
    }
    for (const machine of shuffled(machines, this.prng)) {
      this.simulation.schedule(atMs, this.life, () => this.isolate(machine, all, false));
      atMs += stepMs;
    }
  }

  private isolate(machine: string, all: readonly string[], isCut: boolean): void {
    for (const other of all) {
      if (other === machine) continue;
      this.link(machine, other).isCut = isCut;
      this.link(other, machine).isCut = isCut;
    }
  }

  private link(from: string, to: string): Link {
    let ways = this.links.get(from);
    if (ways === undefined) {
      ways = new Map();
      this.links.set(from, ways);
    }
    let link = ways.get(to);
    if (link === undefined) {
      link = new Link();
      ways.set(to, link);
    }
    return link;
  }
}

function shuffled(machines: readonly string[], prng: Prng): string[] {
  const left = [...machines];
  const order: string[] = [];
  while (left.length > 0) order.push(left.splice(prng.below(left.length), 1)[0] as string);
  return order;
}
