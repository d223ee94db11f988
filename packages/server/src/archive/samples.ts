import type { Sample } from './manifest.ts';

/** Moments kept while nothing can be archived; beyond it every second one goes. */
const SAMPLES_MAX = 20_000;

/** Moments that are not in the archive yet, each of another state. */
export class SampleQueue {
  private samples: Sample[] = [];
  private lastIndex = 0;

  /** Notes how far the log is applied, where that is further than at the last moment noted. */
  add(timeMs: number, index: number, term: number, revision: number): void {
    if (index <= this.lastIndex) return;
    this.lastIndex = index;
    if (this.samples.length >= SAMPLES_MAX) this.samples = this.samples.filter((_sample, at) => at % 2 === 1);
    this.samples.push({ timeMs, index, term, revision });
  }

  /** Those up to an index, which stay. */
  upTo(index: number): Sample[] {
    return this.samples.filter((sample) => sample.index <= index);
  }

  /** Forgets those up to an index. */
  drop(index: number): void {
    this.samples = this.samples.filter((sample) => sample.index > index);
  }
}
