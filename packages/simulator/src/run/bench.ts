import type { Plan } from './plan.ts';
import { simulate } from './simulate.ts';

/** What the load of a run is set for: a little more than what counts, since no run meets it exactly. */
const AIM_PER_SECOND = 108;
/** A run with fewer operations in a simulated second says nothing. */
const ENOUGH_PER_SECOND = 100;
/** Clients beside those of leases, watches and chores. */
const CLIENTS = 10;
/** The pause of a client between two requests before anybody knows how long answers take. */
const FIRST_PAUSE_MS = 75;

export interface BenchOptions {
  readonly seeds: readonly number[];
  /** Of torment, in each run. */
  readonly seconds: number;
  /** Each seed is run so often before it counts: the first time tells how much load it needs, all of them warm the process. */
  readonly warmUps: number;
  readonly print: (line: string) => void;
}

export interface BenchResult {
  /** Runs that had operations enough. */
  readonly runs: number;
  readonly simulatedSeconds: number;
  readonly cpuSeconds: number;
  readonly operations: number;
  readonly faults: number;
}

/**
 * How fast a cluster of three is simulated while faults happen and clients do at least a hundred operations in each
 * simulated second. Only the time of torment counts as simulated, while everything that a run costs counts as spent: its
 * peace, in which time is skipped, the judging of its history, the collector of garbage and the compiler on their threads.
 */
export async function bench({ seeds, seconds, warmUps, print }: BenchOptions): Promise<BenchResult> {
  const pauses = new Map(seeds.map((seed) => [seed, FIRST_PAUSE_MS]));
  for (let round = 0; round < warmUps; round++) {
    for (const [seed, pauseMs] of pauses) pauses.set(seed, await calibrated(seed, seconds, pauseMs));
  }
  const total = { runs: 0, simulatedSeconds: 0, cpuSeconds: 0, operations: 0, faults: 0 };
  for (const [seed, pauseMs] of pauses) {
    const before = process.cpuUsage();
    const { stats } = await simulate({ seed, seconds, plan: planOf(pauseMs) });
    const { user, system } = process.cpuUsage(before);
    const rate = stats.tormentCalls / seconds;
    const cpu = (user + system) / 1e6;
    const isEnough = rate >= ENOUGH_PER_SECOND;
    const met = Object.values(stats.faults).reduce((sum, count) => sum + count, 0);
    print(
      `seed ${seed}: ${(seconds / cpu).toFixed(0)} simulated seconds a CPU second, ${rate.toFixed(0)} operations a ` +
        `simulated second, ${met} faults${isEnough ? '' : ': too few operations, does not count'}`,
    );
    if (!isEnough) continue;
    total.runs++;
    total.simulatedSeconds += seconds;
    total.cpuSeconds += cpu;
    total.operations += stats.tormentCalls;
    total.faults += met;
  }
  return total;
}

export function describeBench({ runs, simulatedSeconds, cpuSeconds, operations, faults }: BenchResult): string {
  return (
    `${runs} runs of three members, ${faults} faults: ${(simulatedSeconds / cpuSeconds).toFixed(1)} simulated seconds a ` +
    `CPU second, ${(operations / simulatedSeconds).toFixed(0)} operations a simulated second, ` +
    `${((cpuSeconds * 1e6) / operations).toFixed(0)} µs an operation`
  );
}

function planOf(pauseMs: number): Partial<Plan> {
  return { founders: 3, spares: 0, clients: CLIENTS, pauseMs };
}

/** The mean pause between two requests of a client with which all of them together come to what is aimed at. */
async function calibrated(seed: number, seconds: number, pauseMs: number): Promise<number> {
  const { stats } = await simulate({ seed, seconds, plan: planOf(pauseMs) });
  const cycleMs = (CLIENTS * 1000 * seconds) / Math.max(1, stats.tormentCalls);
  return Math.max(1, pauseMs + (CLIENTS * 1000) / AIM_PER_SECOND - cycleMs);
}
