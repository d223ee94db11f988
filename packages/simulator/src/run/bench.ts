import type { Plan } from './plan.ts';
import { simulate } from './simulate.ts';

/** What the load of a run is set for: a little more than what counts, since no run meets it exactly. */
const AIM_PER_SECOND = 105;
/** A run with fewer operations in a simulated second says nothing. */
const ENOUGH_PER_SECOND = 100;
/**
 * Requests under way, beside those of leases, watches and chores, where no profile says it. A multiple of everything that is
 * drawn for `atOnce`.
 */
const CLIENTS = 8;
/** The pause of a client between two requests before anybody knows how long answers take. */
const FIRST_PAUSE_MS = 60;
const PAUSE_MIN_MS = 10;

export interface BenchOptions {
  readonly seeds: readonly number[];
  /** Of torment, in each run. */
  readonly seconds: number;
  /** Each seed is run so often before it counts: the first time tells how much load it needs, all of them warm the process. */
  readonly warmUps: number;
  /** What is not drawn, beside the number of members and how many requests are under way. */
  readonly plan?: Partial<Plan>;
  readonly print: (line: string) => void;
}

export interface BenchResult {
  /** Runs that had operations enough. */
  readonly runs: number;
  readonly simulatedSeconds: number;
  /** Spent on the torment alone. */
  readonly tormentCpuSeconds: number;
  /** On everything: also on the peace behind it, and on judging. */
  readonly cpuSeconds: number;
  readonly operations: number;
  /** Of those, whose client was told what had come of them. */
  readonly answers: number;
  readonly faults: number;
}

/**
 * How fast a cluster of three is simulated while faults happen and clients do at least a hundred operations in each
 * simulated second. Only the time of torment counts as simulated: behind it there are no faults. What is spent on it is told,
 * and what the whole run costs with its peace, which is as long again, and with the judging of its history; both with the
 * collector of garbage and the compiler on their threads.
 */
export async function bench({ seeds, seconds, warmUps, plan = {}, print }: BenchOptions): Promise<BenchResult> {
  const loads = seeds.map((seed) => new Load(seed, seconds, plan));
  for (let round = 0; round < warmUps; round++) for (const load of loads) await load.tryOut();
  const total = {
    runs: 0,
    simulatedSeconds: 0,
    tormentCpuSeconds: 0,
    cpuSeconds: 0,
    operations: 0,
    answers: 0,
    faults: 0,
  };
  for (const { seed, plan } of loads) {
    const before = process.cpuUsage();
    let torment = 0;
    const calmed = (): void => {
      torment = cpuSecondsSince(before);
    };
    const { stats } = await simulate({ seed, seconds, plan, calmed });
    const rate = stats.tormentCalls / seconds;
    const cpu = cpuSecondsSince(before);
    const isEnough = rate >= ENOUGH_PER_SECOND;
    const met = Object.values(stats.faults).reduce((sum, count) => sum + count, 0);
    print(
      `seed ${seed}: ${(seconds / torment).toFixed(0)} simulated seconds a CPU second, ${(seconds / cpu).toFixed(0)} ` +
        `with peace and judging, ${rate.toFixed(0)} operations a simulated second, ${met} faults${isEnough ? '' : ': too few operations, does not count'}`,
    );
    if (!isEnough) continue;
    total.runs++;
    total.simulatedSeconds += seconds;
    total.tormentCpuSeconds += torment;
    total.cpuSeconds += cpu;
    total.operations += stats.tormentCalls;
    total.answers += stats.tormentAnswers;
    total.faults += met;
  }
  return total;
}

export function describeBench(result: BenchResult): string {
  const { runs, simulatedSeconds, tormentCpuSeconds, cpuSeconds, operations, answers, faults } = result;
  return (
    `${runs} runs of three members, ${faults} faults: ${(simulatedSeconds / tormentCpuSeconds).toFixed(1)} simulated seconds ` +
    `a CPU second, ${(simulatedSeconds / cpuSeconds).toFixed(1)} with peace and judging, ` +
    `${(operations / simulatedSeconds).toFixed(0)} operations a simulated second (${((100 * answers) / operations).toFixed(0)} % answered), ` +
    `${((tormentCpuSeconds * 1e6) / operations).toFixed(0)} µs an operation`
  );
}

function cpuSecondsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/**
 * Finds out with which pause all clients of a run together do what is asked for. What they wait for answers, and in vain
 * while nobody leads, depends on the pause as well. The same run has the same rate every time: of the pauses that were
 * tried the one that came closest is kept.
 */
class Load {
  readonly seed: number;
  private readonly seconds: number;
  private readonly fixed: Partial<Plan>;
  private next = FIRST_PAUSE_MS;
  private best = { pauseMs: FIRST_PAUSE_MS, rate: 0 };

  constructor(seed: number, seconds: number, fixed: Partial<Plan>) {
    this.seed = seed;
    this.seconds = seconds;
    this.fixed = fixed;
  }

  private get clients(): number {
    return this.fixed.clients ?? CLIENTS;
  }

  /** With the best of the pauses that were tried. */
  get plan(): Partial<Plan> {
    return this.planWith(this.best.pauseMs);
  }

  private planWith(pauseMs: number): Partial<Plan> {
    return { ...this.fixed, founders: 3, spares: 0, clients: this.clients, pauseMs };
  }

  async tryOut(): Promise<void> {
    const pauseMs = this.next;
    const { stats } = await simulate({ seed: this.seed, seconds: this.seconds, plan: this.planWith(pauseMs) });
    const rate = Math.max(1, stats.tormentCalls) / this.seconds;
    if (isCloser(rate, this.best.rate)) this.best = { pauseMs, rate };
    this.next = Math.max(PAUSE_MIN_MS, pauseMs + this.clients * 1000 * (1 / AIM_PER_SECOND - 1 / rate));
  }
}

/** The least that is enough, else the most. */
function isCloser(rate: number, known: number): boolean {
  if (rate < ENOUGH_PER_SECOND || known < ENOUGH_PER_SECOND) return rate > known;
  return rate < known;
}
