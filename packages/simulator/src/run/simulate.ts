import { Prng } from '@etsd/base';
import type { SimMachine } from '@etsd/runtime/sim';
import { checkHistory, type Verdict } from '../checkers/check-history.ts';
import type { HistoryRecord, Violation } from '../checkers/history.ts';
import { AuthChanger } from '../clients/auth-changer.ts';
import { AlarmClearer, Compactor, Defragmenter, Hasher, LeaderMover, Snapshotter } from '../clients/chores.ts';
import { ElectionObserver } from '../clients/election-observer.ts';
import { LeaseWorker } from '../clients/lease-worker.ts';
import { Membership } from '../clients/membership.ts';
import { RecipeHolder } from '../clients/recipe-holder.ts';
import { ServiceHolder } from '../clients/service-holder.ts';
import { Shared } from '../clients/shared.ts';
import { Upgrader } from '../clients/upgrader.ts';
import { drawWatch, EVERYTHING, Watcher } from '../clients/watcher.ts';
import { KvWorker, type Worker } from '../clients/workers.ts';
import { SimCluster } from '../cluster/cluster.ts';
import { Torment } from '../cluster/torment.ts';
import { drawExtraFaults } from './extra-faults.ts';
import { drawExtras, extraChance } from './extras.ts';
import { drawFaults, type Fault } from './faults.ts';
import { drawAtOnce, drawPlan, type Plan } from './plan.ts';
import { Rest, type RestEnd } from './rest.ts';

export interface SimulateOptions {
  readonly seed: number;
  /** Of torment, in simulated time; the peace behind it comes on top. */
  readonly seconds: number;
  /** Instead of what the seed says. */
  readonly plan?: Partial<Plan>;
  /** Instead of those of the seed: any part of them is a schedule too. */
  readonly faults?: readonly Fault[];
  /** Every line of the trace is kept, not only those about members and faults. */
  readonly keepsTrace?: boolean;
  /** Is told when the torment is over. */
  readonly calmed?: () => void;
}

/** What a run was about; a verdict about nothing is worth nothing. */
export interface RunStats {
  readonly simulatedMs: number;
  readonly events: number;
  readonly calls: number;
  /** Those among them that came to an end before there was peace. */
  readonly tormentCalls: number;
  /** Those of which somebody told what had come of them. */
  readonly tormentAnswers: number;
  readonly terms: number;
  readonly entries: number;
  readonly traceLines: number;
  readonly traceDigest: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Everything that went wrong and every named place of the program that was reached, with how often. */
  readonly coverage: Readonly<Record<string, number>>;
  readonly counts: Readonly<Record<string, number>>;
}

export interface SimulateResult {
  readonly seed: number;
  readonly plan: Plan;
  readonly faults: readonly Fault[];
  readonly violations: readonly Violation[];
  readonly trace: readonly string[];
  readonly history: readonly HistoryRecord[];
  readonly stats: RunStats;
}

/** Runs a cluster and its clients through faults and then in peace, and judges what was seen. Same options, same result. */
export async function simulate(options: SimulateOptions): Promise<SimulateResult> {
  const prng = new Prng(options.seed);
  const base = { ...drawPlan(prng), ...drawExtras(options.seed), ...options.plan };
  // Drawn in any case: what is drawn behind it must be the same where the same faults are given.
  const endMs = options.seconds * 1000;
  const drawn = [...drawFaults(new Prng(prng.u32()), base, endMs), ...drawExtraFaults(options.seed, base, endMs)];
  const faults = options.faults ?? drawn;
  const plan = { ...base, atOnce: drawAtOnce(prng), ...options.plan };
  // Of its own, so that a plan that is given leads to the same run however many values a drawn one has.
  const run = new Run(options, plan, faults, new Prng(~options.seed));
  const { stackTraceLimit } = Error;
  // Refused calls are many, and nobody looks where their errors were made unless the trace is wanted.
  if (options.keepsTrace !== true) Error.stackTraceLimit = 0;
  try {
    return await run.run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** What the chance of clients beside the others is drawn for. */
const START_EXTRAS = 2;

/** Mean time between two looks at whether a member has to be replaced. */
const REPLACEMENT_MS = 500;

/** Mean time between two looks at the alarms. */
const ALARM_MS = 1000;

class Run {
  private readonly options: SimulateOptions;
  private readonly plan: Plan;
  private readonly faults: readonly Fault[];
  private readonly prng: Prng;
  private readonly cluster: SimCluster;
  private readonly shared: Shared;
  private readonly torment: Torment;
  private readonly workers: Promise<void>[] = [];
  private machines = 0;
  private tormentCalls = 0;
  private tormentAnswers = 0;
  /** One watch over everything at each member. */
  private readonly recorders = new Map<string, Watcher>();
  private watchers: Watcher[] = [];

  constructor(options: SimulateOptions, plan: Plan, faults: readonly Fault[], prng: Prng) {
    this.options = options;
    this.plan = plan;
    this.faults = faults;
    this.prng = prng;
    this.cluster = new SimCluster({ seed: options.seed, plan, keepsTrace: options.keepsTrace === true });
    this.shared = new Shared(this.cluster, new Prng(prng.u32()));
    this.torment = new Torment(this.cluster, faults);
  }

  async run(): Promise<SimulateResult> {
    const { cluster, shared } = this;
    const { simulation } = cluster.universe;
    const endMs = this.options.seconds * 1000;
    const limits = { eventsMax: Number.POSITIVE_INFINITY, durationMs: endMs + 1 };
    try {
      cluster.start();
      this.startClients();
      this.stir();
      cluster.after(endMs, () => {});
      await simulation.runUntil(() => this.mustStop || cluster.nowMs >= endMs, limits);
      this.tormentCalls = shared.calls;
      this.tormentAnswers = shared.answers;
      this.options.calmed?.();
      if (!this.mustStop) await this.rest();
    } catch (error) {
      cluster.broke('does not throw', String((error as Error).stack ?? error));
    }
    return this.judge();
  }

  /** What broke one of raft's promises will break others; the first tells more. */
  private get mustStop(): boolean {
    return this.cluster.violations.length > 0;
  }

  private machine(name: string): SimMachine {
    return this.cluster.universe.addMachine(`${name}${++this.machines}`);
  }

  private startClients(): void {
    const { plan, shared } = this;
    let number = 0;
    const start = (make: (machine: SimMachine, prng: Prng, number: number) => Worker): void => {
      this.workers.push(make(this.machine('c'), new Prng(this.prng.u32()), number++).run());
    };
    for (let left = plan.clients; left > 0; left -= plan.atOnce) start((...given) => new KvWorker(shared, ...given));
    for (let left = plan.leaseClients; left > 0; left--) start((...given) => new LeaseWorker(shared, ...given));
    if (plan.compactionMs > 0) start((...given) => new Compactor(shared, ...given, plan.compactionMs));
    if (plan.defragmentMs > 0) start((...given) => new Defragmenter(shared, ...given, plan.defragmentMs));
    if (plan.snapshotMs > 0) start((...given) => new Snapshotter(shared, ...given, plan.snapshotMs));
    start((...given) => new AlarmClearer(shared, ...given, ALARM_MS));
    if (plan.hashMs > 0) start((...given) => new Hasher(shared, ...given, plan.hashMs));
    if (plan.membershipMs > 0) start((...given) => new Membership(shared, ...given, plan.membershipMs));
    if (plan.authMs > 0) start((...given) => new AuthChanger(shared, ...given, plan.authMs));
    if (plan.moveLeaderMs > 0) start((...given) => new LeaderMover(shared, ...given, plan.moveLeaderMs));
    this.startExtras(number);
  }

  /** Behind all others, and with chance of their own, so that those are as they would be without them. */
  private startExtras(first: number): void {
    const { plan, shared } = this;
    const prng = extraChance(this.options.seed, START_EXTRAS);
    let number = first;
    const start = (make: (machine: SimMachine, prng: Prng, number: number) => Worker): void => {
      this.workers.push(make(this.machine('x'), new Prng(prng.u32()), number++).run());
    };
    for (let left = plan.holders; left > 0; left--) start((...given) => new ServiceHolder(shared, ...given));
    for (let left = plan.recipeHolders; left > 0; left--) start((...given) => new RecipeHolder(shared, ...given));
    for (let left = plan.observers; left > 0; left--) start((...given) => new ElectionObserver(shared, ...given));
    if (plan.upgradeMs > 0) start((...given) => new Upgrader(shared, ...given, plan.upgradeMs));
    // Somebody has to replace the members whose disks are damaged.
    if (plan.rotMs > 0 && plan.membershipMs === 0) {
      start((...given) => new Membership(shared, ...given, REPLACEMENT_MS));
    }
  }

  /** Sees to it that there are as many recorders as the plan has, each at a member that stays and answers. */
  private renewRecorders(): void {
    const { cluster, plan, shared } = this;
    for (const [name, recorder] of this.recorders) {
      if (!recorder.member.isLeaving && !recorder.member.isLearner) continue;
      recorder.close(false);
      this.recorders.delete(name);
    }
    for (const member of cluster.serving) {
      if (this.recorders.size >= plan.recorders) break;
      if (!member.isLeaving && !member.isLearner && !this.recorders.has(member.name)) {
        this.recorders.set(member.name, new Watcher(shared, this.machine('r'), member, EVERYTHING));
      }
    }
  }

  /** Watches come and go. */
  private stir(): void {
    const { cluster, plan, prng, shared } = this;
    this.renewRecorders();
    this.watchers = this.watchers.filter((watch) => {
      if (watch.member.isLeaving) watch.close(false);
      return !watch.member.isLeaving;
    });
    if (shared.isOver) return;
    while (this.watchers.length < plan.watchers) {
      const wish = drawWatch(prng, plan.keys, shared.revision, shared.compacted);
      this.watchers.push(new Watcher(shared, this.machine('w'), shared.anyMember(prng), wish));
    }
    if (prng.chance(0.5)) this.watchers.splice(prng.below(this.watchers.length), 1)[0]?.close(false);
    cluster.after(plan.stirMs * (0.5 + prng.float()), () => this.stir());
  }

  /** Peace, in which everything has to come right. */
  private async rest(): Promise<void> {
    this.torment.end();
    const rest = new Rest({
      cluster: this.cluster,
      shared: this.shared,
      machine: this.machine('j'),
      plan: this.plan,
      watches: () => [...this.recorders.values(), ...this.watchers],
      renewRecorders: () => this.renewRecorders(),
      workers: Promise.all(this.workers),
    });
    this.end = await this.cluster.universe.simulation.runToEnd(rest.run(), {
      eventsMax: Number.POSITIVE_INFINITY,
      durationMs: 600_000,
    });
  }

  private end: RestEnd | null = null;

  private check({ finalRevision, leases }: RestEnd): Verdict {
    try {
      return checkHistory(this.shared.records, { finalRevision, leases });
    } catch (error) {
      // A history of which nobody can say whether it is right is not right.
      return { violations: [{ rule: 'can be judged', text: String((error as Error).stack ?? error) }], counts: {} };
    }
  }

  private judge(): SimulateResult {
    const { cluster, shared, torment, end } = this;
    const checked = end === null ? { violations: [], counts: {} } : this.check(end);
    for (const { rule, text } of checked.violations) cluster.broke(rule, text);
    const { simulation } = cluster.universe;
    return {
      seed: this.options.seed,
      plan: this.plan,
      faults: this.faults,
      violations: cluster.violations,
      trace: cluster.trace.lines,
      history: shared.records,
      stats: {
        simulatedMs: simulation.nowMs,
        events: simulation.eventCount,
        calls: shared.calls,
        tormentCalls: this.tormentCalls,
        tormentAnswers: this.tormentAnswers,
        terms: cluster.observer.terms,
        entries: Math.max(0, cluster.observer.appliedMax),
        traceLines: cluster.trace.count,
        traceDigest: cluster.trace.digest,
        faults: Object.fromEntries(torment.reached),
        coverage: Object.fromEntries(simulation.counts.entries()),
        counts: checked.counts,
      },
    };
  }
}
