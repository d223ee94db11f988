/** Faults, round by round, between programs that use the client and a cluster; see `../rounds.ts`. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Prng } from '@etsd/base';
import { EtcdClient } from '@etsd/client';
import { TestCluster } from '../../support/cluster.ts';
import { eventually } from '../../support/conditions.ts';
import type { Product } from '../../support/server.ts';
import { Board, type Order, type Report, Slot, type WorkerStart } from './shared.ts';
import { Wire } from './wires.ts';

export const FAULTS = ['cut', 'snap', 'stall', 'kill', 'move', 'block'] as const;
export type Fault = (typeof FAULTS)[number];

export interface RoundsOptions {
  readonly product: Product;
  readonly rounds: number;
  readonly seed: number;
  readonly faults?: readonly Fault[];
  /** Told of every round. */
  readonly log?: (line: string) => void;
}

export interface RoundsResult {
  readonly violations: readonly string[];
  readonly rounds: number;
  readonly byFault: ReadonlyMap<Fault, number>;
  /** Revisions that every watch has seen. */
  readonly revisions: number;
  readonly writes: number;
  readonly tenures: number;
  /** Leases whose owner was told that it had stood still. */
  readonly stalled: number;
}

const WORKERS = 3;
const MEMBERS = 3;
const TTL_SECONDS = 2;
/** Longer than a lease lasts. */
const BLOCK_MS = 2500;
const FAULT_MS_MAX = 600;
/** A round is over when everything works again; that long may it take on a busy machine. */
const RECOVERY_MS = 90_000;
/** History that is kept: more than a watch can fall behind in a round. */
const KEPT_REVISIONS = 50_000;
const COMPACT_ROUNDS = 50;

/** Members answer pings as often as the clients here send them. */
const FLAGS = ['--heartbeat-interval', '50', '--election-timeout', '500', '--grpc-keepalive-min-time', '200ms'];

export async function runRounds(options: RoundsOptions): Promise<RoundsResult> {
  const products = Array.from({ length: MEMBERS }, () => options.product);
  await using cluster = await TestCluster.start({ products, flags: FLAGS });
  await cluster.agreed();
  const wires = await Promise.all(cluster.members.map((member) => Wire.to(member.clientPort)));
  const direct = new EtcdClient({ endpoints: cluster.members.map((member) => member.address) });
  const rounds = new Rounds(options, cluster, wires, direct);
  try {
    return await rounds.run();
  } finally {
    await direct.close();
    await rounds.terminate();
    for (const wire of wires) await wire.close();
  }
}

class Rounds {
  private readonly options: RoundsOptions;
  private readonly cluster: TestCluster;
  private readonly wires: readonly Wire[];
  private readonly direct: EtcdClient;
  private readonly board = new Board(WORKERS);
  private readonly workers: Worker[] = [];
  private readonly violations: string[] = [];
  private readonly prng: Prng;
  private ended = 0;

  constructor(options: RoundsOptions, cluster: TestCluster, wires: readonly Wire[], direct: EtcdClient) {
    this.options = options;
    this.cluster = cluster;
    this.wires = wires;
    this.direct = direct;
    this.prng = new Prng(options.seed);
  }

  async run(): Promise<RoundsResult> {
    const { faults = FAULTS, log = () => {}, rounds } = this.options;
    const startRevision = ((await this.direct.kv.put('start', '')).header?.revision ?? 0) + 1;
    for (let index = 0; index < WORKERS; index++) this.startWorker(index, startRevision);
    await this.recovered('before the first round');
    const byFault = new Map<Fault, number>();
    let done = 0;
    for (; done < rounds && this.violations.length === 0; done++) {
      // Every kind in turn before any comes again.
      const fault = faults[done % faults.length] as Fault;
      const startedMs = performance.now();
      await this[fault]();
      for (const wire of this.wires) wire.heal();
      await this.recovered(`round ${done + 1}, ${fault}`);
      byFault.set(fault, (byFault.get(fault) ?? 0) + 1);
      const { board } = this;
      const figures = `${board.sum(Slot.WRITES)} writes, ${board.sum(Slot.TENURES)} tenures`;
      log(`round ${done + 1}: ${fault}, ${((performance.now() - startedMs) / 1000).toFixed(1)} s; ${figures}`);
      if (done % COMPACT_ROUNDS === COMPACT_ROUNDS - 1) await this.compact();
    }
    const revisions = await this.finish();
    return {
      violations: this.violations,
      rounds: done,
      byFault,
      revisions: revisions - startRevision,
      writes: this.board.sum(Slot.WRITES),
      tenures: this.board.sum(Slot.TENURES),
      stalled: this.board.sum(Slot.STALLED),
    };
  }

  async terminate(): Promise<void> {
    for (const worker of this.workers) await worker.terminate();
  }

  // ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Some wires, perhaps all, are cut for a while. */
  private async cut(): Promise<void> {
    for (const wire of this.some(this.wires)) wire.cut();
    await pause(this.below(FAULT_MS_MAX));
  }

  /** All connections break, again and again. */
  private async snap(): Promise<void> {
    for (let times = 1 + this.below(5); times > 0; times--) {
      for (const wire of this.some(this.wires)) wire.snap();
      await pause(this.below(100));
    }
  }

  /** Some wires carry nothing for longer than clients wait for the answer to a ping. */
  private async stall(): Promise<void> {
    for (const wire of this.some(this.wires)) wire.stall();
    await pause(2000 + this.below(FAULT_MS_MAX));
  }

  private async kill(): Promise<void> {
    const { members } = this.cluster;
    const member = members[this.below(members.length)];
    await member?.kill();
    await pause(this.below(FAULT_MS_MAX));
    await member?.start();
  }

  private async move(): Promise<void> {
    const { members } = this.cluster;
    const leader = await this.cluster.agreed();
    const others = members.filter((member) => member !== leader);
    const next = others[this.below(others.length)];
    if (next !== undefined) await this.cluster.moveLeader(next);
  }

  /** The event loop of one program stands still for longer than its lease lasts: of the owner of the lock, if there is one. */
  private async block(): Promise<void> {
    const isOwner = (worker: number): boolean => this.board.get(worker, Slot.HELD_UNTIL_MS) > 0;
    const owner = this.workers.findIndex((_worker, place) => isOwner(place));
    const place = owner < 0 ? this.below(WORKERS) : owner;
    this.order(place, { blockMs: BLOCK_MS });
    await pause(BLOCK_MS);
  }

  // ── what is expected after each ───────────────────────────────────────────────────────────────────────────────────

  /** Every watch has seen what was written now, and every program has had the lock again. */
  private async recovered(what: string): Promise<void> {
    const { board } = this;
    const numbers = (slot: number): number[] => this.workers.map((_worker, place) => board.get(place, slot));
    const tenures = numbers(Slot.TENURES);
    const write = (): Promise<number | null> =>
      this.direct.kv.put('round', what).then(
        ({ header }) => header?.revision ?? null,
        () => null,
      );
    const revision = await eventually(RECOVERY_MS, `${what}: a write`, write);
    await eventually(RECOVERY_MS, `${what}: watches come to ${revision}, all have the lock`, () => {
      if (this.violations.length > 0) return true;
      if (numbers(Slot.WATCHED).some((watched) => watched <= revision)) return null;
      return numbers(Slot.TENURES).every((count, place) => count > (tenures[place] as number)) ? true : null;
    });
  }

  /** Ends the programs; waits until every watch has seen the last revision; returns it. */
  private async finish(): Promise<number> {
    const revision = (await this.direct.kv.put('end', '')).header?.revision ?? 0;
    if (this.violations.length === 0) {
      await eventually(RECOVERY_MS, 'the last revision is seen', () =>
        this.workers.every((_worker, place) => this.board.get(place, Slot.WATCHED) > revision) ? true : null,
      );
    }
    for (let place = 0; place < WORKERS; place++) this.order(place, 'end');
    await eventually(RECOVERY_MS, 'the programs end', () => (this.ended === WORKERS ? true : null));
    return revision;
  }

  private async compact(): Promise<void> {
    const revision = (await this.direct.kv.put('compacted', '')).header?.revision ?? 0;
    if (revision > KEPT_REVISIONS) await this.direct.kv.compact(revision - KEPT_REVISIONS);
  }

  private startWorker(index: number, startRevision: number): void {
    const workerData: WorkerStart = {
      index,
      memory: this.board.memory,
      workers: WORKERS,
      endpoints: this.wires.map((wire) => wire.address),
      startRevision,
      ttlSeconds: TTL_SECONDS,
    };
    const worker = new Worker(join(import.meta.dirname, 'worker.ts'), { workerData });
    worker.on('message', (report: Report) => {
      if (report === 'ended') this.ended++;
      else this.violations.push(report.violation);
    });
    worker.on('error', (error) => this.violations.push(`worker ${index} failed: ${(error as Error).stack}`));
    this.workers.push(worker);
  }

  private order(place: number, order: Order): void {
    this.workers[place]?.postMessage(order);
  }

  private below(limit: number): number {
    return this.prng.below(limit);
  }

  /** At least one of them. */
  private some<T>(all: readonly T[]): T[] {
    const sure = this.below(all.length);
    return all.filter((_each, place) => place === sure || this.below(2) === 0);
  }
}
