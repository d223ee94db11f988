import { META_STORAGE_VERSION, MemoryBackend } from '@etsd/backend';
import { errorChain, type LogFields, type Logger, type LogLevel, type Prng } from '@etsd/base';
import type { SimMachine } from '@etsd/runtime/sim';
import {
  type BcryptEngine,
  buildConfig,
  type Member,
  type MemberConfig,
  type MemberParts,
  runMember,
} from '@etsd/server';
import type { Plan } from '../run/plan.ts';
import type { Trace } from '../run/trace.ts';
import { type AppliedVersion, ObservedApplier, type Observer } from './observer.ts';
import { type PeerNet, SimPeers } from './peers.ts';
import { isOlder, NEW_LAYOUT, NEW_RELEASE, OLD_RELEASE, type Releases } from './releases.ts';

export const CLIENT_PORT = 2379;
export const PEER_PORT = 2380;

/** Small, so that old records have to be fetched from the store. */
const CACHE_BYTES = 128 * 1024;

/** A member that a fault of its disk has ended is started again after so long. */
const RESTART_MS = 500;
/** Batches of the store that a killed process may not have handed to the system yet. */
const IN_FLIGHT_MAX = 2;

/** What a member may say before it ends that a fault explains. */
const EXCUSES = [/EIO|i\/o error/, /ENOSPC|no space left/, /the member has been permanently removed|was removed/];

/** How passwords are hashed where no time may pass and no thread help: this is about who may, not about keeping secrets. */
const plainHashes: BcryptEngine = {
  hash: (password) => Promise.resolve(`$2b$04$${Buffer.from(password).toString('hex').padEnd(53, '0').slice(0, 53)}`),
  verify: (password, stored) =>
    Promise.resolve(stored.slice(7) === Buffer.from(password).toString('hex').padEnd(53, '0').slice(0, 53)),
};

/** What the members of one simulation share. */
export interface MemberSurroundings {
  readonly plan: Plan;
  readonly prng: Prng;
  readonly net: PeerNet;
  readonly observer: Observer;
  readonly trace: Trace;
  readonly releases: Releases;
  broke(rule: string, text: string): void;
}

/** What applies the log in a member. */
type State = Parameters<NonNullable<MemberParts['observeApplier']>>[0];

/** How a member is told to begin. */
export interface Beginning {
  readonly initialCluster: string;
  readonly state: 'new' | 'existing';
}

/** What is expected of a start on a damaged disk. */
export interface Refusal {
  /** It must not start; otherwise it may. */
  readonly isDue: boolean;
  /** Whether this text says what is damaged. */
  readonly names: (text: string) => boolean;
  /** Hears of the refusal. */
  readonly refused: () => void;
}

/** One member on its machine, through all its lives. */
export class SimMember {
  readonly name: string;
  readonly number: number;
  readonly machine: SimMachine;
  /** Counts the processes; even while one is starting. */
  run = 0;
  /** Null while it does not run or is starting. */
  member: Member | null = null;
  isUp = false;
  /** Belongs to the cluster, or will: a machine of a removed member is not used again. */
  isUsed = false;
  isRemoved = false;
  /** It was asked to leave: it may end, and owes nothing more. */
  isLeaving = false;
  /** Nobody starts it for now: its disk is being looked at. */
  isHeld = false;
  /** Its disk holds something else than it was given: it is not started again, but replaced. */
  isDamaged = false;
  /** It was removed to be replaced, and is not added again yet. */
  isMissing = false;
  /** Ids, in hexadecimal, under which it belonged to the cluster, and was or is being removed. */
  readonly formerIds = new Set<string>();
  /** How its refusal to start may or must read, where its disk is damaged. */
  refusal: Refusal | null = null;
  /** The end of its log when the last process ended that got as far as serving, whether durable or not. */
  lastPromise = { lastIndex: 0, term: 0 };
  /** Which release it is started as. */
  version = OLD_RELEASE;
  private applied: AppliedVersion | null = null;
  private wasLearner = false;
  private beginning: Beginning = { initialCluster: '', state: 'new' };
  /** What the running process has in its memory and in its store, for whoever wants to change it behind its back. */
  state: State | null = null;
  backend: MemoryBackend | null = null;
  /** The store is what an ended process has left; nobody has opened it since. */
  private isStoreKept = false;
  private readonly around: MemberSurroundings;
  private readonly logger: Logger;

  constructor(around: MemberSurroundings, machine: SimMachine, number: number) {
    this.around = around;
    this.machine = machine;
    this.number = number;
    this.name = machine.name;
    this.logger = {
      enabled: () => true,
      log: (level, message, fields) => this.logged(level, message, fields),
    };
  }

  get peerUrl(): string {
    return `http://${this.name}:${PEER_PORT}`;
  }

  get isReady(): boolean {
    return this.member !== null;
  }

  /** It holds everything, and refuses almost all that clients ask, until it is promoted. */
  get isLearner(): boolean {
    return this.member?.replication.isLearner === true;
  }

  /** As `isLearner`; of one that is down, what it was when it ended. One that was just added may be one. */
  get mayBeLearner(): boolean {
    return this.member === null ? this.wasLearner : this.isLearner;
  }

  /** Nobody knows yet whether it can go on with what is on its disk. */
  get isDoubtful(): boolean {
    return !this.isRemoved && (this.isHeld || (this.refusal !== null && !this.isReady && !this.isDamaged));
  }

  begin(beginning: Beginning): void {
    this.beginning = beginning;
    this.wasLearner = beginning.state === 'existing';
    this.isUsed = true;
    this.isMissing = false;
    this.boot();
  }

  /** The machine of a member that was removed is switched off. */
  retire(): void {
    if (this.isUp) this.kill();
    this.isRemoved = true;
  }

  /** Its data is gone, and it belongs to no cluster: the machine may begin anew. */
  clear(): void {
    if (this.isUp) this.kill();
    this.machine.medium.wipe();
    this.backend = null;
    this.isStoreKept = false;
    this.isHeld = false;
    this.isDamaged = false;
    this.isLeaving = false;
    this.isUsed = false;
    this.refusal = null;
  }

  /** Starts a process on what the last one has left. */
  boot(): void {
    if (this.isUp || this.isRemoved || !this.isUsed || this.isHeld || this.isDamaged) return;
    const { around, machine } = this;
    this.isUp = true;
    const run = ++this.run;
    const { world } = machine;
    around.trace.note(this.name, `starts (process ${run})`);
    runMember({
      world,
      config: this.config(),
      logger: this.logger,
      openBackend: () => this.openBackend(),
      loopDelay: { read: () => ({ median: 0, p99: 0, max: 0 }) },
      fail: (error) => {
        if (run === this.run && this.isUp) this.failed(error);
      },
      connectPeers: (options) => new SimPeers(around.net, machine, options),
      bcrypt: plainHashes,
      cacheBytes: CACHE_BYTES,
      wal: { segmentBytes: around.plan.segmentBytes, segmentsMax: 2, fillAheadBytes: 4096 },
      serverVersion: this.version,
      observeApplier: (applier) => {
        this.state = applier;
        this.applied = applier.version;
        return new ObservedApplier(applier, around.observer, this.name);
      },
    }).then(
      (member) => {
        if (run !== this.run || !this.isUp) return;
        this.member = member;
        around.trace.note(this.name, 'serves');
        this.checkRelease();
        if (this.refusal?.isDue === true) around.broke('damage is told', `${this.name} serves on a damaged disk`);
      },
      (error: unknown) => {
        if (run === this.run && this.isUp) this.failed(error);
      },
    );
  }

  /** The version of the cluster as this member has applied it; undefined while it does not serve. */
  get clusterVersion(): AppliedVersion | undefined {
    return this.member === null ? undefined : (this.applied ?? undefined);
  }

  /** Is started as another release from now on, with its data noted as laid out for it. It must be down. */
  become(version: string): void {
    if (this.isUp || version === this.version) return;
    this.around.trace.note(this.name, `becomes ${version}`);
    this.version = version;
    if (this.backend === null) return;
    if (version === NEW_RELEASE) this.backend.put('meta', META_STORAGE_VERSION, Buffer.from(NEW_LAYOUT));
    else this.backend.delete('meta', META_STORAGE_VERSION);
    this.backend.commit();
    this.isStoreKept = false;
    this.keepStore(this.backend.undurableBatches);
  }

  /** A release older than its cluster must not serve, but for one that a downgrade has called. */
  private checkRelease(): void {
    const { applied, version } = this;
    if (applied === null || applied.downgradeEnabled || this.around.releases.isCancelAsked) return;
    if (applied.version !== '' && isOlder(version, applied.version)) {
      this.around.broke('releases', `${this.name} serves as ${version} in a cluster of ${applied.version}`);
    }
  }

  private config(): MemberConfig {
    const { plan } = this.around;
    const { initialCluster, state } = this.beginning;
    const flags: Record<string, string | number | boolean> = {
      name: this.name,
      'data-dir': '/data',
      'listen-peer-urls': `http://0.0.0.0:${PEER_PORT}`,
      'initial-advertise-peer-urls': this.peerUrl,
      'listen-client-urls': `http://0.0.0.0:${CLIENT_PORT}`,
      'advertise-client-urls': `http://${this.name}:${CLIENT_PORT}`,
      'initial-cluster': initialCluster,
      'initial-cluster-state': state,
      'initial-cluster-token': 'simulated',
      'heartbeat-interval': plan.heartbeatMs,
      'election-timeout': plan.electionMs,
      'pre-vote': plan.preVote,
      'snapshot-count': plan.snapshotCount,
      'snapshot-catchup-entries': plan.catchUpEntries,
      'backend-batch-interval': `${plan.batchIntervalMs}ms`,
      'experimental-compaction-batch-limit': plan.compactionBatch,
      'experimental-compaction-sleep-interval': `${plan.compactionPauseMs}ms`,
      'experimental-watch-progress-notify-interval': `${plan.progressMs}ms`,
      'compare-members': plan.comparesMembers,
      'state-check-time': `${plan.stateCheckMs}ms`,
      'bcrypt-cost': 4,
    };
    return buildConfig(new Map(Object.entries(flags).map(([name, value]) => [name, String(value)])));
  }

  private openBackend(): MemoryBackend {
    const { diskMaxMs } = this.around.plan;
    const { timers } = this.machine.world;
    const { prng } = this.around;
    const syncing = (): Promise<void> =>
      new Promise((resolve) => {
        const { stallRate, stallMs } = this.machine.diskFaults;
        timers.after(prng.float() * diskMaxMs * 4 + (prng.chance(stallRate) ? stallMs : 0), resolve);
      });
    this.backend = this.backend?.afterCrash(0, { syncing }) ?? new MemoryBackend({ crashable: true, syncing });
    this.isStoreKept = false;
    return this.backend;
  }

  /** The process ends as by SIGKILL. */
  kill(): void {
    if (!this.isUp) return;
    this.end();
    this.machine.kill();
    this.keepStore(Math.max(0, (this.backend?.undurableBatches ?? 0) - this.around.prng.below(IN_FLIGHT_MAX + 1)));
  }

  /** Power is lost: what was not synced is lost, or torn. Also where no process runs. */
  losePower(): void {
    if (this.isUp) this.end();
    this.machine.crash();
    this.keepStore(this.around.prng.below((this.backend?.undurableBatches ?? 0) + 1));
  }

  private keepStore(survivors: number): void {
    if (this.backend === null || this.isStoreKept) return;
    this.backend = this.backend.afterCrash(survivors);
    this.isStoreKept = true;
  }

  private end(): void {
    this.isUp = false;
    this.noteLast();
    this.member = null;
    this.around.net.gone(this.name);
  }

  private noteLast(): void {
    if (this.member === null) return;
    const { lastIndex, term } = this.member.replication;
    this.lastPromise = { lastIndex, term };
    this.wasLearner = this.isLearner;
  }

  /** Ends as by SIGTERM: lets calls end, hands leadership over. */
  stop(done: () => void): void {
    const { member, run } = this;
    if (member === null) return;
    this.noteLast();
    this.member = null;
    const stopped = (): void => {
      if (run !== this.run || !this.isUp) return;
      this.end();
      this.machine.kill();
      this.keepStore(this.backend?.undurableBatches ?? 0);
      this.around.trace.note(this.name, 'stopped');
      done();
    };
    member.stop().then(stopped, (error: unknown) => {
      if (run !== this.run || !this.isUp) return;
      this.around.trace.note(this.name, `stop failed: ${errorChain(error)}`);
      stopped();
    });
  }

  private failed(error: unknown): void {
    const text = errorChain(error);
    this.around.trace.note(this.name, `ended: ${text}`);
    const { refusal } = this;
    const isExcused = EXCUSES.some((excuse) => excuse.test(text));
    // A disk that fails names the file too, and is not damaged by that.
    if (!isExcused && refusal?.names(text) === true) {
      this.kill();
      this.isDamaged = true;
      this.isLeaving = true;
      refusal.refused();
      return;
    }
    const instead = this.around.releases.excuse(this.version, text);
    if (instead !== null) {
      this.kill();
      this.around.net.lan.simulation.counts.add('release.refused');
      this.become(instead);
      this.machine.world.timers.after(RESTART_MS, () => this.boot());
      return;
    }
    const isRemoved = /removed/.test(text);
    if (!isExcused && !this.isWaitingForOthers(text)) {
      this.around.broke('stays up', `${this.name} ended: ${text}\n${(error as Error).stack ?? ''}`);
    }
    this.kill();
    // Somebody who joins tries the other release.
    if (/incompatible with current running/.test(text) && this.around.plan.upgradeMs > 0) {
      this.version = this.version === OLD_RELEASE ? NEW_RELEASE : OLD_RELEASE;
    }
    if (isRemoved) this.isRemoved = true;
    else this.machine.world.timers.after(RESTART_MS, () => this.boot());
  }

  /**
   * A member that is to join asks the others first; where none answers, or one that has not heard of its addition or its
   * removal yet, it ends, and its operator tries again.
   */
  private isWaitingForOthers(text: string): boolean {
    if (this.beginning.state !== 'existing') return false;
    const already = /member ([0-9a-f]+) has already been bootstrapped/.exec(text);
    if (already !== null) return this.formerIds.has(already[1] as string);
    return /could not retrieve cluster information|error validating peerURLs|incompatible with current running/.test(
      text,
    );
  }

  private logged(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (level === 'debug' || !this.around.trace.keepsAll) return;
    const rest = fields === undefined ? '' : ` ${JSON.stringify(fields)}`;
    this.around.trace.detail(this.name, `${level}: ${message}${rest}`);
  }
}
