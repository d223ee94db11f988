import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@etsd/base';
import { checkHistory, type HistoryRecord, type Verdict, type Violation } from '@etsd/simulator/checkers';
import type { Message } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product, TestServer } from '../support/server.ts';
import { type Fault, type FaultKind, Faults } from './faults.ts';
import type { HistoryEnd } from './history-file.ts';
import { Identity } from './identity.ts';
import { now } from './kv-calls.ts';
import { drawWatch, Watcher } from './watchers.ts';
import { Compactor, KvWorker, LeaseWorker, Shared } from './workers.ts';

export interface ChaosOptions {
  /** One member each. */
  products: Product[];
  seed: number;
  seconds: number;
  kinds: readonly FaultKind[];
  workers: number;
  pauseMs: number;
  flags: string[];
  /** What is done to the cluster in the place of faults; the run goes on when it has ended. */
  torment?: (scene: Scene) => Promise<void>;
  progress?: (line: string) => void;
}

/** What a tormentor of its own kind is given. */
export interface Scene {
  readonly cluster: TestCluster;
  readonly prng: Prng;
  note(text: string): void;
  /** A member serves from now on: what it sends is recorded. */
  joined(member: TestServer): void;
  /** A member is about to leave: it may end, and owes nothing more. */
  leaving(member: TestServer): void;
}

export interface ChaosResult {
  verdict: Verdict;
  records: HistoryRecord[];
  end: HistoryEnd;
  /** The members' last lines, for a report. */
  logs: string[];
}

const SLOW_DISK_MEMBER = join(import.meta.dirname, 'slow-disk-member.ts');
const KEYS = 6;
const DEADLINE_MS = 1500;
const WATCHERS_MAX = 6;
/** When all is whole again, the cluster has to serve every member's clients within this time. */
const RECOVERY_MS = 60_000;
/** A lease may be late by so much: half a second between two looks of the leader, and a busy machine. */
const LEASE_LATE_MS = 5000;
const LEASE_TTL_MAX_MS = 4000;

/** Logs short enough to be cut during the run, so that members that were away come back by snapshot too. */
export const CHAOS_FLAGS = ['--snapshot-count', '200', '--experimental-snapshot-catchup-entries', '100'];

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a cluster, clients and faults for a while, lets it come to rest, and judges what the clients saw. */
export async function chaos(options: ChaosOptions): Promise<ChaosResult> {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-chaos-'));
  const diskControl = (name: string): string => join(folder, `${name}.delay`);
  const cluster = await TestCluster.prepare({
    products: options.products,
    flags: [...CHAOS_FLAGS, ...options.flags],
    withLinks: true,
    script: SLOW_DISK_MEMBER,
    env: (name) => ({ CHAOS_DISK_DELAY: diskControl(name) }),
  });
  try {
    await Promise.all(cluster.members.map((member) => member.start()));
    const run = new ChaosRun(cluster, options, diskControl);
    try {
      return await run.run();
    } finally {
      run.close();
    }
  } finally {
    await cluster.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

class ChaosRun implements Scene {
  readonly cluster: TestCluster;
  private readonly options: ChaosOptions;
  readonly prng: Prng;
  private readonly faults: Faults;
  private readonly shared = new Shared();
  private readonly records: HistoryRecord[] = [];
  private readonly violations: Violation[] = [];
  private identity = new Identity('', () => {});
  /** One watch over everything at each member: together they are the log. */
  private readonly recorders: Watcher[] = [];
  private readonly watchers: Watcher[] = [];
  private readonly done: Watcher[] = [];

  constructor(cluster: TestCluster, options: ChaosOptions, diskControl: (name: string) => string) {
    this.cluster = cluster;
    this.options = options;
    this.prng = new Prng(options.seed);
    this.faults = new Faults(cluster, new Prng(options.seed ^ 0xfa17), options.kinds, diskControl);
  }

  async run(): Promise<ChaosResult> {
    const status = await this.cluster.client(await this.cluster.agreed()).expect('Maintenance/Status', {});
    const clusterId = (status['header'] as Message)['cluster_id'] as string;
    this.identity = new Identity(clusterId, (text) => this.violations.push({ rule: 'identity', text }));
    for (const member of this.cluster.members) this.joined(member);
    const workers = this.makeWorkers();
    const working = workers.map((worker) => worker.run());
    const until = now() + this.options.seconds * 1000;
    try {
      if (this.options.torment === undefined) await this.torment(until);
      else await this.options.torment(this);
    } catch (error) {
      // What was seen up to here is judged all the same.
      this.violations.push({ rule: 'does as asked', text: String((error as Error).stack) });
    }
    try {
      await this.recover();
    } finally {
      for (const worker of workers) worker.stop();
      await Promise.all(working);
    }
    const end = await this.rest(now()).catch((error: Error) => {
      // What went wrong before is mostly why.
      throw new Error([error.message, ...this.violations.map(({ rule, text }) => `${rule}: ${text}`)].join('\n'));
    });
    const watchers = [...this.recorders, ...this.watchers, ...this.done];
    for (const watcher of watchers) this.records.push(...watcher.records);
    const { violations, counts } = checkHistory(this.records, optionsOf(end));
    const links = this.cluster.links;
    return {
      verdict: {
        violations: [...this.violations, ...violations],
        counts: {
          ...counts,
          'links found': links?.found ?? 0,
          'links unknown': links?.unknown ?? 0,
          strangers: this.identity.strangers,
        },
      },
      records: this.records,
      end,
      logs: this.cluster.members.map((member) => `${member.membership.name}:\n${member.tail(30)}`),
    };
  }

  /** Ends what is left of the clients, however the run went. */
  close(): void {
    for (const watcher of [...this.recorders, ...this.watchers]) watcher.close(false);
  }

  joined(member: TestServer): void {
    this.recorders.push(new Watcher(member, this.identity));
    member.onEnd = (code, signal) => this.ended(member, code, signal);
  }

  leaving(member: TestServer): void {
    member.onEnd = null;
    for (const list of [this.recorders, this.watchers]) {
      for (const watcher of list.filter((one) => one.server === member)) {
        list.splice(list.indexOf(watcher), 1);
        watcher.close(false);
        this.done.push(watcher);
      }
    }
  }

  private makeWorkers() {
    const { workers: count, pauseMs } = this.options;
    const options = {
      cluster: this.cluster,
      prng: this.prng,
      note: (record: HistoryRecord) => void this.records.push(record),
      keys: KEYS,
      pauseMs,
      deadlineMs: DEADLINE_MS,
      identity: this.identity,
    };
    const workers: (KvWorker | LeaseWorker | Compactor)[] = [];
    for (let number = 0; number < count; number++) workers.push(new KvWorker(number, options, this.shared));
    const slow = { ...options, pauseMs: 200 };
    for (let number = 0; number < 3; number++) workers.push(new LeaseWorker(count + number, slow, this.shared));
    workers.push(new Compactor(count + 3, slow, this.shared));
    return workers;
  }

  /** A member ends when it is killed or asked to, and for no other reason. */
  private ended(member: TestServer, code: number | null, signal: string | null): void {
    if (signal === 'SIGKILL' || signal === 'SIGTERM') return;
    const { name } = member.membership;
    this.note(`${name} ended with ${code ?? signal}`);
    this.violations.push({ rule: 'stays up', text: `${name} ended with ${code ?? signal}:\n${member.tail(15)}` });
  }

  note(text: string): void {
    this.records.push({ type: 'fault', at: now(), text });
    this.options.progress?.(text);
  }

  /** Faults of all kinds, at most two at once, with pauses in between. */
  private async torment(until: number): Promise<void> {
    while (now() < until) {
      this.stirWatchers();
      const faults = [await this.faults.draw()];
      if (this.prng.chance(0.3)) faults.push(await this.faults.draw());
      for (const fault of faults) await this.begin(fault);
      await sleep(Math.min(this.prng.pick([200, 500, 1000, 2000, 4000, 6000]), Math.max(0, until - now())));
      for (const fault of faults) await this.finish(fault);
      await sleep(this.prng.pick([50, 300, 1000, 2500]));
    }
  }

  private async begin(fault: Fault): Promise<void> {
    this.note(fault.text);
    try {
      await fault.begin();
    } catch (error) {
      this.violations.push({ rule: 'does as asked', text: `${fault.text}: ${(error as Error).message}` });
    }
  }

  private async finish(fault: Fault): Promise<void> {
    await fault.end();
    this.note(`end of ${fault.text}`);
  }

  private stirWatchers(): void {
    while (this.watchers.length < WATCHERS_MAX) {
      const wish = drawWatch(this.prng, KEYS, this.shared.revision);
      this.watchers.push(new Watcher(this.prng.pick(this.cluster.members), this.identity, wish));
    }
    if (this.prng.chance(0.5)) {
      const [watcher] = this.watchers.splice(this.prng.below(this.watchers.length), 1) as [Watcher];
      watcher.close(false);
      this.done.push(watcher);
    }
    for (const watcher of this.watchers) if (this.prng.chance(0.3)) watcher.askBookmark();
  }

  /** Nothing is broken any more: within a bound, every member answers as of now again, and writes are taken. */
  private async recover(): Promise<void> {
    this.cluster.links?.heal();
    for (const member of this.cluster.members) {
      member.resume();
      if (!member.isRunning) member.launch();
    }
    this.note('all is whole again');
    const since = now();
    for (const member of this.cluster.members) {
      const { name } = member.membership;
      try {
        await eventually(RECOVERY_MS, `${name} serves again`, async () => {
          if (!member.isRunning) throw new Error(`${name} does not run`);
          const answer = await this.cluster.client(member).call('KV/Range', { key: Buffer.from('k') }, 2000);
          return answer.code === 0 ? true : null;
        });
      } catch (error) {
        this.violations.push({ rule: 'liveness', text: `${(error as Error).message}\n${member.tail(10)}` });
      }
    }
    this.note(`every member serves ${(now() - since).toFixed(0)} ms later`);
    const before = this.shared.writes;
    await sleep(1500);
    if (this.shared.writes === before) this.violations.push({ rule: 'liveness', text: 'no write was answered' });
  }

  /** The workers are gone: leases run out, watches get to the end, members are compared. */
  private async rest(calmSince: number): Promise<HistoryEnd> {
    const [first] = this.cluster.members as [TestServer];
    const ask = async (method: string, request: Message): Promise<Message> =>
      eventually(
        RECOVERY_MS,
        method,
        async () => (await this.cluster.client(first).call(method, request, 3000)).response,
      );
    const patience = LEASE_TTL_MAX_MS + LEASE_LATE_MS + 1000;
    let alive: string[] = [];
    await eventually(
      patience,
      'all leases to run out',
      async () => {
        const { leases } = (await ask('Lease/LeaseLeases', {})) as { leases: Message[] };
        alive = leases.map((lease) => lease['ID'] as string);
        return alive.length === 0 ? true : null;
      },
      200,
    ).catch(() => {});
    const lookedAt = now();
    const header = (await ask('KV/Range', { key: Buffer.from('k') }))['header'] as Message;
    const finalRevision = Number(header['revision']);
    await this.reach(finalRevision);
    await this.compareHashes(finalRevision);
    return { type: 'end', finalRevision, calmSince, lateMs: LEASE_LATE_MS, lookedAt, alive };
  }

  private async compareHashes(revision: number): Promise<void> {
    try {
      for (const [member, { hash, compactRevision }] of await this.cluster.hashes(revision)) {
        this.records.push({ type: 'hash', member, revision, compactRevision, hash });
      }
    } catch (error) {
      this.violations.push({ rule: 'liveness', text: (error as Error).message });
    }
  }

  private async reach(revision: number): Promise<void> {
    const open = [...this.recorders, ...this.watchers];
    const behind = (): Watcher[] => open.filter((watcher) => watcher.reached < revision);
    await eventually(
      RECOVERY_MS,
      'all watches reach the end',
      () => {
        for (const watcher of behind()) watcher.askBookmark();
        return behind().length === 0 ? true : null;
      },
      200,
    ).catch(() => {});
    for (const watcher of open) watcher.close(true);
  }
}

/** What a checker is told about the end of a run. */
export function optionsOf(end: HistoryEnd) {
  const { finalRevision, calmSince, lateMs, lookedAt, alive } = end;
  return { finalRevision, leases: { calmSince, lateMs, lookedAt, alive: new Set(alive) } };
}
