import type { Workers } from '../workers.ts';
import type { Life, Simulation } from './simulation.ts';

/** How long work elsewhere takes, in simulated milliseconds. */
const WORK_MS = 5;

/** Does the work here, and lets simulated time pass for it. */
export class SimWorkers implements Workers {
  readonly processors = 2;
  private readonly simulation: Simulation;
  private readonly life: Life;

  constructor(simulation: Simulation, life: Life) {
    this.simulation = simulation;
    this.life = life;
  }

  run(moduleUrl: string, exportName: string, args: readonly unknown[]): Promise<unknown> {
    const work = import(moduleUrl).then((module: Record<string, unknown>) => {
      const target = module[exportName];
      if (typeof target !== 'function') throw new TypeError(`${moduleUrl} exports no function ${exportName}`);
      return target(...structuredClone([...args])) as unknown;
    });
    this.simulation.hold(work);
    return new Promise((resolve, reject) => {
      this.simulation.schedule(WORK_MS, this.life, () => {
        work.then(resolve, reject);
      });
    });
  }

  talk(): null {
    return null;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
