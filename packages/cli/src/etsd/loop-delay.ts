import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { LoopDelay } from '@etsd/server';

/** How often the loop is looked at; a hold shorter than this may go unseen. */
const RESOLUTION_MS = 10;

/** How long the event loop was held, measured by Node itself outside of JavaScript. */
export function measureLoopDelay(): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  // What is recorded is the time between two looks, so the pause between them is no delay.
  const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1000);
  return {
    read() {
      const delay =
        histogram.count === 0
          ? { median: 0, p99: 0, max: 0 }
          : {
              median: seconds(histogram.percentile(50)),
              p99: seconds(histogram.percentile(99)),
              max: seconds(histogram.max),
            };
      histogram.reset();
      return delay;
    },
  };
}
