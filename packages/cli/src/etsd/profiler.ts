import { Session } from 'node:inspector';
import type { CpuProfile, HeapProfile, Profiler } from '@etsd/server';

/** Between two looks at what runs: a hundred a second, as is usual for a profile of the processor. */
const CPU_INTERVAL_US = 10_000;
/** An allocation is remembered for every so many bytes. */
const HEAP_INTERVAL_BYTES = 512 * 1024;

/** Profiles by the engine itself; allocations are sampled from now on. */
export function startProfiler(): Profiler {
  const session = new Session();
  session.connect();
  const post = (method: string, params: object = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      session.post(method, params, (error, result) => (error === null ? resolve(result) : reject(error)));
    });
  void post('HeapProfiler.startSampling', { samplingInterval: HEAP_INTERVAL_BYTES });
  return {
    cpuIntervalUs: CPU_INTERVAL_US,
    heapIntervalBytes: HEAP_INTERVAL_BYTES,
    commandLine: process.argv,
    async cpu(wait) {
      await post('Profiler.enable');
      try {
        await post('Profiler.setSamplingInterval', { interval: CPU_INTERVAL_US });
        await post('Profiler.start');
        await wait();
        const { profile } = (await post('Profiler.stop')) as { profile: CpuProfile };
        return profile;
      } finally {
        await post('Profiler.disable');
      }
    },
    async heap() {
      const { profile } = (await post('HeapProfiler.getSamplingProfile')) as { profile: HeapProfile };
      return profile;
    },
  };
}
