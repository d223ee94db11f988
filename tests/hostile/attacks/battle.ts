/** One attack on one member, and what it does to others, to memory, to the metrics and to the log. */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TestServer } from '../../support/server.ts';
import type { Places } from './apart.ts';
import type { Word } from './attacker.ts';
import { type Bystander, quantile, type Waits } from './bystander.ts';
import type { Attack } from './kinds.ts';
import { startStandIn } from './stand-in.ts';
import type { Target } from './weapons.ts';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Battlefield {
  readonly server: TestServer;
  readonly target: Target;
  /** An address without TLS, to read the metrics at. */
  readonly plain: string;
  readonly bystander: Bystander;
  /** What the member shows over TLS. */
  readonly certificate: CertificateFiles;
}

export interface Rate {
  readonly connections: number;
  readonly bytes: number;
}

export type WaitsOfOthers = readonly [before: number, meanwhile: number, control: number];

export interface BattleReport {
  readonly name: string;
  /** The 99th percentiles of others' waits in ms: before, meanwhile, and while somebody else is attacked (else NaN). */
  readonly putMs: WaitsOfOthers;
  readonly readMs: WaitsOfOthers;
  readonly requests: number;
  readonly failures: readonly string[];
  /** What the member's event loop took of a processor meanwhile, in per cent, and how long it stood ready for one. */
  readonly loopCpu: number;
  readonly loopWait: number;
  /** What the attacker took of a processor, in per cent. */
  readonly attackerCpu: number;
  /** How hard the attack was: connections that stood, and bytes, a second. */
  readonly attackRate: Rate;
  /** Most resident memory above that of before, in MiB. */
  readonly growthMiB: number;
  /** What was counted meanwhile, by label. */
  readonly counted: ReadonlyMap<string, number>;
  /** Lines of the log that name the attacker's address and the attack, since the member began: it does not repeat itself. */
  readonly lines: number;
}

/** Metrics in which attacks show. */
const SHOWN =
  /^(etsd_abuse_total|etsd_tls_handshakes_refused_total|etsd_client_connections|etsd_tls_handshakes_pending)/;

export interface BattleOptions {
  /** Before the quiet time: what was before has no part in it. */
  readonly restMs?: number;
  readonly quietMs: number;
  readonly attackMs: number;
  /**
   * Where the attack has not shown in the metrics by then it goes on until it has, so many times as long at most. Not up to
   * a moment: on a machine that does other things an attacker may not have come to it by then.
   */
  readonly attackTimesMax?: number;
  readonly size: number;
  /** Where everybody runs. */
  readonly places?: Places;
  /**
   * In between a stand-in is attacked in the same way, while the others go on asking the member; before it is the member's
   * turn, so that the stand-in bears what the machine's first thousands of sockets take.
   */
  readonly withControl?: boolean;
}

/** An attacker at work, in a process of its own. */
class Attacker {
  private readonly child: ChildProcess;
  private readonly ended: Promise<unknown>;
  private readonly begun: Promise<void>;
  private rate: Rate = { connections: Number.NaN, bytes: Number.NaN };

  constructor(attack: Attack, target: Target, { size, places }: BattleOptions) {
    this.child = fork(fileURLToPath(new URL('./attacker.ts', import.meta.url)), {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      ...(places === undefined ? {} : runBy([...places.attacker, process.execPath])),
    });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.begun = new Promise((resolve, reject) => {
      this.child.once('exit', (code) => reject(new Error(`the attacker ended with ${code} before it had begun`)));
      this.child.on('message', (word: Word) => {
        if (word === 'begins') resolve();
        else this.rate = { connections: word.shots.connections / word.seconds, bytes: word.shots.bytes / word.seconds };
      });
    });
    this.child.send({ attack: attack.name, target, size });
  }

  /** Resolves when the attack begins: a process may take long to start where there is much to do besides. */
  begins(): Promise<void> {
    return this.begun;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  async end(): Promise<Rate> {
    this.child.send('stop');
    const killer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await this.ended;
    clearTimeout(killer);
    return this.rate;
  }
}

export async function battle(field: Battlefield, attack: Attack, options: BattleOptions): Promise<BattleReport> {
  const { server, bystander, target } = field;
  await bystander.watch(options.restMs ?? 200);
  const before = await bystander.watch(options.quietMs);
  const control = options.withControl === true ? await elsewhere(field, attack, options) : NOBODY;
  const countedBefore = await figures(field);
  const rssBefore = residentMiB(server.pid);
  let peak = rssBefore;
  const sampler = setInterval(() => {
    peak = Math.max(peak, residentMiB(server.pid));
  }, 100);
  let meanwhile: Waits;
  let during: Map<string, number>;
  let loop: readonly number[] = [];
  let attackerCpu = Number.NaN;
  let attackRate: Rate;
  const attacker = new Attacker(attack, target, options);
  try {
    await attacker.begins();
    const started = performance.now();
    const spent = [cpuTime(server.pid), cpuTime(attacker.pid)] as const;
    meanwhile = await bystander.watch(options.attackMs);
    const share = 100 / (1e6 * (performance.now() - started));
    loop = cpuTime(server.pid).map((ns, index) => (ns - (spent[0][index] as number)) * share);
    attackerCpu = ((cpuTime(attacker.pid)[0] as number) - (spent[1][0] as number)) * share;
    during = await figures(field);
    const timesMax = options.attackTimesMax ?? 1;
    for (let times = 1; times < timesMax && !isCounted(attack, more(countedBefore, during)); times++) {
      meanwhile = joined(meanwhile, await bystander.watch(options.attackMs));
      during = await figures(field);
    }
  } finally {
    attackRate = await attacker.end();
    clearInterval(sampler);
  }
  const after = await figures(field);
  const counted = new Map([...more(countedBefore, after), ...more(countedBefore, during)]);
  for (const [label, count] of more(countedBefore, after)) {
    if (count > (counted.get(label) ?? 0)) counted.set(label, count);
  }
  const each = (of: (waits: Waits) => Float64Array): WaitsOfOthers => [
    quantile(of(before), 0.99),
    quantile(of(meanwhile), 0.99),
    quantile(of(control), 0.99),
  ];
  return {
    name: attack.name,
    putMs: each(({ puts }) => puts),
    readMs: each(({ reads }) => reads),
    requests: meanwhile.puts.length + meanwhile.reads.length,
    failures: meanwhile.failures,
    loopCpu: loop[0] ?? Number.NaN,
    loopWait: loop[1] ?? Number.NaN,
    attackerCpu,
    attackRate,
    growthMiB: peak - rssBefore,
    counted,
    lines: server.logs.filter((line) => line.includes(target.from) && attack.countedAs.test(line)).length,
  };
}

const NOBODY: Waits = { puts: new Float64Array(), reads: new Float64Array(), failures: [] };

/** The waits of others while the same attack is aimed at a stand-in in the member's place: the machine's share. */
async function elsewhere(field: Battlefield, attack: Attack, options: BattleOptions): Promise<Waits> {
  const { places, quietMs, restMs } = options;
  places?.toMember();
  const standIn = await startStandIn({ ...field.certificate, reads: attack.isBehindTls === true });
  places?.toClients();
  await field.bystander.watch(restMs ?? 200);
  const attacker = new Attacker(attack, { ...field.target, port: standIn.port }, options);
  try {
    await attacker.begins();
    return await field.bystander.watch(quietMs);
  } finally {
    await attacker.end();
    await standIn.end();
    await field.bystander.watch(restMs ?? 200);
  }
}

function runBy([execPath, ...execArgv]: readonly string[]): { execPath?: string; execArgv: string[] } {
  return { ...(execPath === undefined ? {} : { execPath }), execArgv };
}

/** Several rounds of one attack as one: medians of what is measured, sums of what is counted, the most of memory. */
export function joinReports(rounds: readonly BattleReport[]): BattleReport {
  const [first] = rounds;
  if (first === undefined) throw new Error('no round to report');
  const median = (of: (report: BattleReport) => number): number => quantile(Float64Array.from(rounds, of).sort(), 0.5);
  const counted = new Map<string, number>();
  for (const round of rounds) {
    for (const [label, count] of round.counted) counted.set(label, (counted.get(label) ?? 0) + count);
  }
  return {
    name: first.name,
    putMs: [0, 1, 2].map((index) => median(({ putMs }) => putMs[index] as number)) as unknown as WaitsOfOthers,
    readMs: [0, 1, 2].map((index) => median(({ readMs }) => readMs[index] as number)) as unknown as WaitsOfOthers,
    requests: rounds.reduce((sum, { requests }) => sum + requests, 0),
    failures: rounds.flatMap(({ failures }) => failures),
    loopCpu: median(({ loopCpu }) => loopCpu),
    loopWait: median(({ loopWait }) => loopWait),
    attackerCpu: median(({ attackerCpu }) => attackerCpu),
    attackRate: {
      connections: median(({ attackRate }) => attackRate.connections),
      bytes: median(({ attackRate }) => attackRate.bytes),
    },
    growthMiB: Math.max(...rounds.map(({ growthMiB }) => growthMiB)),
    counted,
    lines: Math.max(...rounds.map(({ lines }) => lines)),
  };
}

/** Whether the member has counted it, under the name it has for it. */
export function isCounted(attack: Attack, counted: ReadonlyMap<string, number>): boolean {
  return [...counted.keys()].some((label) => attack.countedAs.test(label));
}

function more(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Map<string, number> {
  const grown = [...after].map(([label, count]) => [label, count - (before.get(label) ?? 0)] as const);
  return new Map(grown.filter(([, count]) => count > 0));
}

function joined(left: Waits, right: Waits): Waits {
  const both = (name: 'puts' | 'reads'): Float64Array => Float64Array.from([...left[name], ...right[name]]).sort();
  return { puts: both('puts'), reads: both('reads'), failures: [...left.failures, ...right.failures] };
}

async function figures({ plain }: Battlefield): Promise<Map<string, number>> {
  const page = await (await fetch(`${plain}/metrics`)).text();
  const found = new Map<string, number>();
  for (const line of page.split('\n')) {
    if (!SHOWN.test(line)) continue;
    const space = line.lastIndexOf(' ');
    found.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return found;
}

function residentMiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) / 1024;
}

/** Nanoseconds for which the main thread of a process has run, and for which it was ready and had to wait. */
function cpuTime(pid: number | undefined): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ').slice(0, 2).map(Number);
  } catch {
    return [Number.NaN, Number.NaN];
  }
}
