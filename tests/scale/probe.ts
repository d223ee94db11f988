/**
 * Loaded into the server by `--import`: measures from inside what holds its event loop, and writes it to the file named by
 * ETSD_PROBE_FILE at every SIGUSR2. Each reading begins a new period. With ETSD_PROBE_PROFILE set it also samples what ran
 * and names, for each of the longest turns, the functions that took it; that costs time itself.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector';
import { createHistogram, monitorEventLoopDelay, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';

export interface ProbeReading {
  /** Longest and 99.9th percentile of how long the loop was held, in milliseconds. */
  readonly loopMaxMs: number;
  readonly loopP999Ms: number;
  /**
   * The same counted in the processor time that the loop's own thread spent between two of its turns: what the program
   * is to blame for, on a machine where other threads take the processor away meanwhile.
   */
  readonly turnCpuMaxMs: number;
  readonly turnCpuP999Ms: number;
  /** Turns above 10 ms of processor time, and above 10 ms by the clock. */
  readonly turnsOverCpu: number;
  readonly turnsOverClock: number;
  /** The longest turns, by processor time. */
  readonly longest: readonly LongTurn[];
  /** Longest pauses for garbage, by kind, in milliseconds, and all of them together. */
  readonly gcMaxMs: Readonly<Record<string, number>>;
  readonly gcTotalMs: number;
  readonly memory: NodeJS.MemoryUsage;
}

/** One turn of the loop. */
export interface LongTurn {
  /** When it ended, in milliseconds of the process. */
  readonly atMs: number;
  readonly cpuMs: number;
  readonly clockMs: number;
  /** Pauses for garbage within it, by the clock, and their kinds. */
  gcMs: number;
  gcKinds: string;
  /**
   * Time that the host of a virtual machine took away from all its processors, within it or up to a tenth of a second
   * before: the system counts it as processor time of whoever ran.
   */
  readonly stolenMs: number;
  /** Page faults within it: ones that had to wait for a disk, and the others. */
  readonly majorFaults: number;
  readonly minorFaults: number;
  /** Functions and the milliseconds of samples in them, most first; empty without ETSD_PROBE_PROFILE. */
  functions: readonly string[];
}

const RESOLUTION_MS = 1;
const BOUND_MS = 10;
const LONGEST = 8;
const FUNCTIONS = 6;
const PROFILE_INTERVAL_US = 250;
const PROFILE_AFTER_MS = 1500;
const STOLEN_EVERY_MS = 100;
/** The unit of /proc/stat. */
const MS_PER_TICK = 10;
const GC_KINDS: Readonly<Record<number, string>> = { 1: 'minor', 4: 'major', 8: 'incremental', 16: 'weak' };

/** What the loop was held by since the last reading. */
class Probe {
  private readonly loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private readonly turns = createHistogram();
  private readonly collections: PerformanceEntry[] = [];
  private readonly observer = new PerformanceObserver((list) => this.collections.push(...list.getEntries()));
  private readonly session: Session | null;
  private cpu = process.threadCpuUsage();
  private usage = process.resourceUsage();
  private atMs = performance.now();
  private stolenMs = stolen();
  private overCpu = 0;
  private overClock = 0;
  private longest: LongTurn[] = [];

  constructor(profiles: boolean) {
    this.loop.enable();
    this.observer.observe({ entryTypes: ['gc'] });
    setInterval(() => this.turned(), RESOLUTION_MS).unref();
    setInterval(() => {
      this.stolenMs = stolen();
    }, STOLEN_EVERY_MS).unref();
    this.session = profiles ? new Session() : null;
    this.session?.connect();
    this.session?.post('Profiler.enable');
    this.session?.post('Profiler.setSamplingInterval', { interval: PROFILE_INTERVAL_US });
    // Not before the program has replaced itself: a signal of the profiler would end the new one.
    setTimeout(() => this.session?.post('Profiler.start'), PROFILE_AFTER_MS).unref();
  }

  private turned(): void {
    const now = process.threadCpuUsage();
    const atMs = performance.now();
    const cpuUs = now.user + now.system - this.cpu.user - this.cpu.system;
    const cpuMs = cpuUs / 1000;
    const clockMs = atMs - this.atMs;
    this.turns.record(Math.max(1, Math.round(cpuUs)));
    if (cpuMs > BOUND_MS) this.overCpu++;
    if (clockMs > BOUND_MS + RESOLUTION_MS) this.overClock++;
    if (this.longest.length < LONGEST || cpuMs > (this.longest.at(-1) as LongTurn).cpuMs) {
      const usage = process.resourceUsage();
      const majorFaults = usage.majorPageFault - this.usage.majorPageFault;
      const minorFaults = usage.minorPageFault - this.usage.minorPageFault;
      const stolenMs = cpuMs > BOUND_MS / 2 ? stolen() - this.stolenMs : 0;
      const turn = { atMs, cpuMs, clockMs, gcMs: 0, gcKinds: '', stolenMs, majorFaults, minorFaults, functions: [] };
      this.longest.push(turn);
      this.longest.sort((a, b) => b.cpuMs - a.cpuMs);
      this.longest.length = Math.min(this.longest.length, LONGEST);
    }
    this.usage = process.resourceUsage();
    this.cpu = now;
    this.atMs = atMs;
  }

  read(done: (reading: ProbeReading) => void): void {
    if (this.session === null) done(this.reading(null));
    else {
      this.session.post('Profiler.stop', (_error, result) => {
        const reading = this.reading(result?.profile ?? null);
        this.session?.post('Profiler.start');
        // What profiling itself takes is nobody's turn.
        this.begin();
        done(reading);
      });
    }
  }

  private reading(profile: Profiler.Profile | null): ProbeReading {
    this.collections.push(...this.observer.takeRecords());
    const gcMaxMs: Record<string, number> = {};
    let gcTotalMs = 0;
    for (const entry of this.collections) {
      const kind = kindOf(entry);
      gcMaxMs[kind] = Math.max(gcMaxMs[kind] ?? 0, entry.duration);
      gcTotalMs += entry.duration;
    }
    for (const turn of this.longest) {
      const within = this.collections.filter(
        ({ startTime }) => startTime > turn.atMs - turn.clockMs && startTime < turn.atMs,
      );
      turn.gcMs = within.reduce((sum, entry) => sum + entry.duration, 0);
      turn.gcKinds = within.map(kindOf).join(' ');
      if (profile !== null) turn.functions = functionsIn(profile, turn);
    }
    const { loop, turns } = this;
    const reading: ProbeReading = {
      loopMaxMs: loop.count === 0 ? 0 : Math.max(0, loop.max / 1e6 - RESOLUTION_MS),
      loopP999Ms: Math.max(0, loop.percentile(99.9) / 1e6 - RESOLUTION_MS),
      turnCpuMaxMs: turns.count === 0 ? 0 : turns.max / 1000,
      turnCpuP999Ms: turns.percentile(99.9) / 1000,
      turnsOverCpu: this.overCpu,
      turnsOverClock: this.overClock,
      longest: this.longest,
      gcMaxMs,
      gcTotalMs,
      memory: process.memoryUsage(),
    };
    this.begin();
    return reading;
  }

  /** Begins a new period. */
  private begin(): void {
    this.loop.reset();
    this.turns.reset();
    this.collections.length = 0;
    this.overCpu = 0;
    this.overClock = 0;
    this.longest = [];
    this.cpu = process.threadCpuUsage();
    this.usage = process.resourceUsage();
    this.atMs = performance.now();
  }
}

/** Of the whole machine since its start, as far as the system knows. */
function stolen(): number {
  try {
    const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.split(/\s+/) ?? [];
    return Number(fields[8] ?? 0) * MS_PER_TICK;
  } catch {
    return 0;
  }
}

function kindOf(entry: PerformanceEntry): string {
  const kind = (entry as unknown as { detail: { kind: number } }).detail.kind;
  return GC_KINDS[kind] ?? String(kind);
}

/** Where the samples of a turn lie, by function. */
function functionsIn(profile: Profiler.Profile, turn: LongTurn): string[] {
  const nowUs = Number(process.hrtime.bigint() / 1000n);
  const originUs = nowUs - performance.now() * 1000;
  const names = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    names.set(
      id,
      `${callFrame.functionName || '(anonymous)'} ${callFrame.url.split('/').at(-1)}:${callFrame.lineNumber}`,
    );
  }
  const sums = new Map<string, number>();
  const { samples = [], timeDeltas = [] } = profile;
  let atUs = profile.startTime;
  for (let i = 0; i < samples.length; i++) {
    atUs += timeDeltas[i] as number;
    const atMs = (atUs - originUs) / 1000;
    if (atMs < turn.atMs - turn.clockMs || atMs > turn.atMs) continue;
    const name = names.get(samples[i] as number) as string;
    sums.set(name, (sums.get(name) ?? 0) + ((timeDeltas[i + 1] ?? 0) as number) / 1000);
  }
  return [...sums]
    .sort((a, b) => b[1] - a[1])
    .slice(0, FUNCTIONS)
    .map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
}

const file = process.env['ETSD_PROBE_FILE'];
if (file !== undefined) {
  const probe = new Probe(process.env['ETSD_PROBE_PROFILE'] !== undefined);
  process.on('SIGUSR2', () => {
    probe.read((reading) => {
      writeFileSync(`${file}.new`, JSON.stringify(reading));
      renameSync(`${file}.new`, file);
    });
  });
}
