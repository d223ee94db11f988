import { RingQueue } from '@etsd/base';
import type { ApiWorld } from '../context.ts';

/** Something long that is done in slices. */
export interface SlicedJob {
  /** Works for a slice and returns true once finished. Must not be called again then. */
  step(): boolean;
}

/**
 * Gives long reads their slices: while there are any, one round of them per turn of the event loop, so that everything
 * else gets its turn in between. A round lasts at most `sliceMs`; who did not get a slice is the first in the next one.
 */
export class SliceRunner {
  private readonly jobs = new RingQueue<SlicedJob>();
  private readonly world: ApiWorld;
  private readonly sliceMs: number;
  private isAsked = false;

  constructor(world: ApiWorld, sliceMs: number) {
    this.world = world;
    this.sliceMs = sliceMs;
  }

  get length(): number {
    return this.jobs.length;
  }

  add(job: SlicedJob): void {
    this.jobs.push(job);
    this.ask();
  }

  private ask(): void {
    if (this.isAsked) return;
    this.isAsked = true;
    this.world.timers.endOfTurn(this.round);
  }

  private readonly round = (): void => {
    this.isAsked = false;
    const { clock } = this.world;
    const until = clock.nowMs() + this.sliceMs;
    let turns = this.jobs.length;
    do {
      const job = this.jobs.take();
      if (job === undefined) return;
      if (!job.step()) this.jobs.push(job);
      turns--;
    } while (turns > 0 || clock.nowMs() < until);
    if (this.jobs.length > 0) this.ask();
  };
}
