import { type FaultPoint, Prng } from '@etsd/base';
import type { World } from '../world.ts';

import { MachineClock, SimClock } from './clock.ts';
import { SimDisk, SimMedium } from './disk.ts';
import { calmDisk, calmNetwork, type DiskFaults, type NetworkFaults } from './faults.ts';
import { SimNames } from './names.ts';
import { SimLan, SimNetwork } from './network.ts';
import { SimRandom } from './random.ts';
import { Life, Simulation } from './simulation.ts';
import { SimTimers } from './timers.ts';
import { SimWorkers } from './workers.ts';

const NOTHING = (): void => {};

/**
 * One simulated machine: a disk and a clock that last, and a world for the program that runs on it now. After `crash`
 * nothing that the program had begun goes on, and `world` is a new one on the same disk.
 */
export class SimMachine {
  readonly name: string;
  readonly medium: SimMedium;
  /** May be changed at any time. */
  readonly clockFaults: MachineClock;
  world: World;
  private life = new Life();
  private readonly simulation: Simulation;
  private readonly lan: SimLan;
  private readonly names: SimNames;

  constructor(simulation: Simulation, lan: SimLan, names: SimNames, name: string, diskFaults: DiskFaults) {
    this.simulation = simulation;
    this.lan = lan;
    this.names = names;
    this.name = name;
    this.clockFaults = new MachineClock(simulation);
    this.medium = new SimMedium(new Prng(simulation.prng.u32()), diskFaults, simulation.counts);
    this.world = this.boot();
  }

  get diskFaults(): DiskFaults {
    return this.medium.faults;
  }

  /** The process that runs now: what is scheduled for it is forgotten when it is gone. */
  get currentLife(): Life {
    return this.life;
  }

  /** The process is stopped (SIGSTOP) for a while and then goes on as if nothing had happened. */
  pause(ms: number): void {
    this.simulation.pause(this.life, this.simulation.nowMs + ms);
    this.simulation.counts.add('process.pause');
  }

  /** Until when the process is stopped, in simulated milliseconds; in the past if it is not. */
  get pausedUntilMs(): number {
    return this.simulation.pausedUntilMs(this.life);
  }

  /**
   * Calls `stopped` when the program of this life has reached that place so many times more, and before it goes on from
   * there: it is meant to `kill` or `crash` the machine, whereupon what is left of the step has no effect on the world. One
   * place at a time; null to forget it.
   */
  stopAt(point: FaultPoint | null, times: number, stopped: () => void): void {
    this.simulation.watchPoint(this.life, point, times, () => {
      this.simulation.counts.add(`stopped at ${point}`);
      stopped();
    });
  }

  /** Nothing more happens until then on this machine's disk. */
  stallDisk(ms: number): void {
    this.medium.stall(this.simulation.nowMs + ms);
  }

  /** The process is gone; what it had handed to the system is still there. */
  kill(): void {
    this.life.isAlive = false;
    this.simulation.watchPoint(this.life, null, 0, NOTHING);
    this.simulation.counts.add('process.kill');
    this.lan.crash(this.life);
    this.life = new Life();
    this.world = this.boot();
  }

  /** Power is lost: as `kill`, and what was not synced may be lost or torn. */
  crash(): void {
    this.kill();
    this.medium.crash();
    this.simulation.counts.add('process.power loss');
  }

  private boot(): World {
    const { simulation, life } = this;
    return {
      clock: new SimClock(this.clockFaults),
      timers: new SimTimers(simulation, life, this.clockFaults),
      random: new SimRandom(new Prng(simulation.prng.u32())),
      disk: new SimDisk(simulation, life, this.medium),
      network: new SimNetwork(this.lan, life, this.name),
      names: this.names,
      workers: new SimWorkers(simulation, life),
    };
  }
}

/** Everything there is in one simulation. */
export class SimUniverse {
  readonly simulation: Simulation;
  readonly lan: SimLan;
  readonly names = new SimNames();
  readonly machines: SimMachine[] = [];

  constructor(seed: number, networkFaults: NetworkFaults = calmNetwork()) {
    this.simulation = new Simulation(seed);
    this.lan = new SimLan(this.simulation, new Prng(this.simulation.prng.u32()), networkFaults);
  }

  addMachine(name: string, diskFaults: DiskFaults = calmDisk()): SimMachine {
    const machine = new SimMachine(this.simulation, this.lan, this.names, name, diskFaults);
    this.machines.push(machine);
    return machine;
  }
}
