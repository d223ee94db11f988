import { u64ToSignedDecimal } from '@etsd/base';
import {
  HashKVRequest,
  HashKVResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  RangeRequest,
  RangeResponse,
} from '@etsd/proto';
import type { SimMachine } from '@etsd/runtime/sim';
import type { LeaseLimits } from '../checkers/leases.ts';
import { SimClient } from '../clients/client.ts';
import type { Shared } from '../clients/shared.ts';
import type { Watcher } from '../clients/watcher.ts';
import type { SimCluster } from '../cluster/cluster.ts';
import type { SimMember } from '../cluster/member.ts';
import { FASTEST_CLOCK } from './faults.ts';
import type { Plan } from './plan.ts';

/** Within this time of peace every member has to answer as of now, in simulated milliseconds. */
const RECOVERY_MS = 30_000;
/** A lease may be late by so much: two looks of a leader, and a lost renewal of leadership. */
const LEASE_LATE_MS = 3000;
const LEASE_TTL_MAX_MS = 4000;
const LOOK_MS = 100;
const PATIENCE_MS = 2000;

export interface RestParts {
  readonly cluster: SimCluster;
  readonly shared: Shared;
  /** Whence the questions are asked. */
  readonly machine: SimMachine;
  readonly plan: Plan;
  readonly watches: () => readonly Watcher[];
  /** Each is at a member that stays, from now on. */
  readonly renewRecorders: () => void;
  readonly workers: Promise<unknown>;
}

export interface RestEnd {
  /** 0 where the cluster did not come to rest. */
  readonly finalRevision: number;
  readonly leases: LeaseLimits | null;
}

/**
 * Liveness: once nothing is broken any more, every member serves again within a bound, writes are taken, watches get to
 * the end, leases run out, and members hold the same.
 */
export class Rest {
  private readonly parts: RestParts;
  private readonly client: SimClient;

  constructor(parts: RestParts) {
    this.parts = parts;
    this.client = new SimClient(parts.cluster, parts.machine.world);
  }

  async run(): Promise<RestEnd> {
    const { cluster, shared, workers, plan } = this.parts;
    cluster.trace.note('*', 'peace');
    shared.calm();
    let isServing = await this.eventually('authentication can be turned off', async () => !shared.isAuthOn);
    if (plan.rotMs > 0) {
      const isDone = async (): Promise<boolean> =>
        !cluster.members.some((one) => one.isDamaged || one.isDoubtful || one.isMissing);
      isServing = (await this.eventually('damaged members are replaced', isDone, 2 * RECOVERY_MS)) && isServing;
    }
    for (const member of cluster.current) {
      isServing = (await this.eventually(`${member.name} serves`, () => this.answers(member))) && isServing;
    }
    if (plan.upgradeMs > 0) {
      const isSettled = async (): Promise<boolean> => isOfOneVersion(cluster);
      isServing = (await this.eventually('the cluster has the version of its members', isSettled)) && isServing;
    }
    const before = shared.writes;
    isServing = (await this.eventually('a write is taken', async () => shared.writes > before)) && isServing;
    if (plan.holders + plan.recipeHolders > 0) {
      const tenures = shared.tenures;
      isServing = (await this.eventually('somebody gets its turn', async () => shared.tenures > tenures)) && isServing;
    }
    shared.end();
    await workers;
    if (!isServing) return { finalRevision: 0, leases: null };
    const leases = await this.leases();
    const finalRevision = await this.finalRevision();
    // The last of them may have been at a member that left.
    this.parts.renewRecorders();
    const awaited = await this.reach(finalRevision);
    await this.compare(finalRevision);
    // One at a learner was not waited for, and the learner may be none any more.
    for (const watch of this.parts.watches()) watch.close(awaited.has(watch) && !watch.member.isLeaving);
    this.client.close();
    return { finalRevision, leases };
  }

  private async eventually(what: string, isSo: () => Promise<boolean>, withinMs = RECOVERY_MS): Promise<boolean> {
    const { cluster } = this.parts;
    const sinceMs = cluster.nowMs;
    while (!(await isSo())) {
      if (cluster.nowMs - sinceMs > withinMs) {
        cluster.broke('liveness', `${what}: not within ${withinMs} ms of peace`);
        return false;
      }
      await this.client.sleep(LOOK_MS);
    }
    return true;
  }

  private async ask(member: SimMember, path: string, request: Buffer): Promise<Buffer | null> {
    this.client.token = this.parts.shared.token;
    const { bytes, message } = await this.client.call(member, path, request, PATIENCE_MS);
    if (bytes === null) this.parts.cluster.trace.detail('j', `${member.name} ${path} → ${message}`);
    return bytes;
  }

  /** A linearizable read says that the member knows everything and somebody leads. */
  private async answers(member: SimMember): Promise<boolean> {
    if (member.isLeaving || (member.isReady && member.isLearner)) return true;
    const request = RangeRequest.encode(RangeRequest.create({ key: Buffer.from('k') }));
    return (await this.ask(member, '/etcdserverpb.KV/Range', request)) !== null;
  }

  /**
   * A new leader counts anew: there may be one yet, where a clock that stood still or a pause outlasts the torment. By a clock
   * that stands still nobody counts, and a lease asked of a member that is paused is granted when it goes on.
   */
  private async leases(): Promise<LeaseLimits> {
    const { cluster } = this.parts;
    const sinceMs = cluster.nowMs;
    const calmSince = (): number => Math.max(sinceMs, cluster.ledSinceMs, cluster.allGoOnMs);
    let alive = new Set<string>();
    do {
      const member = cluster.leader ?? (cluster.serving[0] as SimMember);
      const bytes = await this.ask(
        member,
        '/etcdserverpb.Lease/LeaseLeases',
        LeaseLeasesRequest.encode(new LeaseLeasesRequest()),
      );
      if (bytes !== null)
        alive = new Set(LeaseLeasesResponse.decode(bytes).leases.map(({ ID }) => u64ToSignedDecimal(ID)));
      if (bytes !== null && alive.size === 0) break;
      await this.client.sleep(LOOK_MS);
      if (calmSince() <= sinceMs + RECOVERY_MS) continue;
      cluster.broke('liveness', `leaders change ${RECOVERY_MS} ms after all members served`);
      break;
    } while (cluster.nowMs < calmSince() + LEASE_TTL_MAX_MS + LEASE_LATE_MS + 1000);
    return {
      calmSince: calmSince(),
      lateMs: LEASE_LATE_MS,
      lookedAt: cluster.nowMs,
      alive,
      fastestClock: FASTEST_CLOCK,
    };
  }

  private async finalRevision(): Promise<number> {
    let revision = 0;
    await this.eventually('a member tells the revision', async () => {
      const member = this.parts.cluster.leader ?? (this.parts.cluster.serving[0] as SimMember);
      const request = RangeRequest.encode(RangeRequest.create({ key: Buffer.from('k') }));
      const bytes = await this.ask(member, '/etcdserverpb.KV/Range', request);
      revision = bytes === null ? 0 : (RangeResponse.decode(bytes).header?.revision ?? 0);
      return revision > 0;
    });
    return revision;
  }

  /** Waits for all watches at members that stay and answer, and says which these are. */
  private async reach(revision: number): Promise<ReadonlySet<Watcher>> {
    let awaited: Watcher[] = [];
    await this.eventually('every watch gets to the end', async () => {
      awaited = this.parts.watches().filter(({ member }) => member.isUsed && !member.isLeaving && !member.isLearner);
      const behind = awaited.filter((watch) => watch.owes(revision));
      for (const watch of behind) watch.askBookmark();
      return behind.length === 0;
    });
    return new Set(awaited);
  }

  private async compare(revision: number): Promise<void> {
    const { cluster, shared } = this.parts;
    for (const member of cluster.serving) {
      await this.eventually(`${member.name} tells its hash`, async () => {
        // It answers nobody; the operator who would have promoted it has gone home.
        if (member.isLearner) return true;
        const request = HashKVRequest.encode(HashKVRequest.create({ revision }));
        const bytes = await this.ask(member, '/etcdserverpb.Maintenance/HashKV', request);
        if (bytes === null) return false;
        const { hash, compactRevision } = HashKVResponse.decode(bytes);
        shared.records.push({ type: 'hash', member: member.name, revision, compactRevision, hash });
        return true;
      });
    }
  }
}

/** Where all members are of one release, the cluster's version is that, and no way down is left open. */
function isOfOneVersion({ current }: SimCluster): boolean {
  const [first] = current;
  if (first === undefined || current.some(({ version }) => version !== first.version)) return true;
  const expected = `${first.version.split('.').slice(0, 2).join('.')}.0`;
  return current.every(({ clusterVersion }) => {
    if (clusterVersion === undefined || clusterVersion.version !== expected) return false;
    return !(clusterVersion.downgradeEnabled && clusterVersion.downgradeTarget === expected);
  });
}
