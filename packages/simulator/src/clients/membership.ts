import { type U64, u64ToHex } from '@etsd/base';
import {
  Member,
  MemberAddRequest,
  MemberAddResponse,
  MemberListRequest,
  MemberListResponse,
  MemberPromoteRequest,
  MemberRemoveRequest,
} from '@etsd/proto';
import { StatusCode } from '@etsd/rpc';
import type { SimMember } from '../cluster/member.ts';
import { Chore } from './chores.ts';

const PATIENCE_MS = 4000;
/** Asked again after so long. */
const RETRY_MS = 300;
/** A machine whose member was removed is switched off after so long, if the member does not end by itself. */
const LINGER_MS = 4000;
/** How often a learner is offered for promotion before its operator does something else. */
const PROMOTIONS_MAX = 30;

/**
 * Changes who belongs to the cluster, one change at a time as a careful operator does: adds members, as voters or as
 * learners that are promoted, and removes members, leaders too, while enough remain.
 */
export class Membership extends Chore {
  protected async work(): Promise<boolean> {
    const { cluster } = this.shared;
    // Who is in doubt might turn out to be needed.
    if (cluster.members.some(({ isDoubtful }) => isDoubtful)) return true;
    cluster.isChanging = true;
    try {
      return await this.change();
    } finally {
      cluster.isChanging = false;
    }
  }

  private async change(): Promise<boolean> {
    const { plan, prng } = this;
    const members = await this.list();
    if (members === null) return true;
    const damaged = this.shared.cluster.members.find(({ isDamaged }) => isDamaged);
    if (damaged !== undefined) return await this.replace(damaged, members);
    const missing = this.shared.cluster.members.find(({ isMissing }) => isMissing);
    if (missing !== undefined) return await this.bringBack(missing, members);
    if (plan.membershipMs === 0) return true;
    const undecided = members.find(({ peerURLs }) => this.machineOf(peerURLs[0] ?? '')?.isLeaving === true);
    if (undecided !== undefined) return await this.remove(undecided);
    // An addition that got no answer, and happened later than anybody looked.
    const unstarted = this.unstartedOf(members);
    if (unstarted !== undefined) return await this.begin(unstarted, members);
    const voters = members.filter(({ isLearner }) => !isLearner);
    const learner = members.find(({ isLearner }) => isLearner);
    if (learner !== undefined && prng.chance(0.8)) return await this.promote(learner);
    const spare = this.shared.cluster.members.find((member) => !member.isUsed);
    const mayAdd = spare !== undefined && members.length < 7;
    const mayRemove = voters.length > Math.max(1, Math.min(plan.founders, 3));
    if (mayAdd && (!mayRemove || prng.chance(0.5))) return await this.add(spare, members);
    if (mayRemove) return await this.remove(prng.pick(members));
    return true;
  }

  /** Who belongs to it, as the majority says; asks until somebody knows. Null: the run is over. */
  private async list(): Promise<readonly Member[] | null> {
    while (!this.shared.isOver) {
      const members = await this.ask(true);
      if (members !== null) return members;
      await this.startLate();
      this.move();
      await this.client.sleep(RETRY_MS);
    }
    return null;
  }

  /** Who belongs to it in the eyes of one member, after it has asked the majority or not; null if it did not answer. */
  private async ask(linearizable: boolean): Promise<readonly Member[] | null> {
    const request = MemberListRequest.encode(MemberListRequest.create({ linearizable }));
    const { bytes } = await this.call('/etcdserverpb.Cluster/MemberList', request, PATIENCE_MS);
    return bytes === null ? null : MemberListResponse.decode(bytes).members;
  }

  /**
   * The same as members show it on their peers' address, which they do before they serve clients: one that starts again waits
   * with that for a majority, which may need a member that nobody has started. Null where none does.
   */
  private shown(): readonly Member[] | null {
    const starting = this.shared.cluster.members.find(({ isUp, isReady, state }) => isUp && !isReady && state !== null);
    const list = starting?.state?.members.list();
    return list?.map(({ id, name, peerURLs }) => Member.create({ ID: id, name, peerURLs })) ?? null;
  }

  /** An addition that happened later than anybody looked may have made a majority that needs its member. */
  private async startLate(): Promise<void> {
    const members = (await this.ask(false)) ?? this.shown();
    const unstarted = members === null ? undefined : this.unstartedOf(members);
    if (members !== null && unstarted !== undefined) await this.begin(unstarted, members);
  }

  private unstartedOf(members: readonly Member[]): SimMember | undefined {
    return this.shared.cluster.members.find((one) => !one.isUsed && isAmong(one, members));
  }

  private async add(spare: SimMember, before: readonly Member[]): Promise<boolean> {
    const { peerUrl, name } = spare;
    const request = MemberAddRequest.create({ peerURLs: [peerUrl], isLearner: this.prng.chance(0.5) });
    const { bytes } = await this.call('/etcdserverpb.Cluster/MemberAdd', MemberAddRequest.encode(request), PATIENCE_MS);
    const members = bytes === null ? await this.find(spare) : MemberAddResponse.decode(bytes).members;
    if (members === null) return false;
    this.note(`added ${name}${request.isLearner ? ' as a learner' : ''} to ${before.length} members`);
    return await this.begin(spare, members);
  }

  /** Starts a member, and waits until it has joined: its flags name exactly these members, so nothing may change before. */
  private async begin(spare: SimMember, members: readonly Member[]): Promise<boolean> {
    spare.begin({ initialCluster: this.flagOf(members), state: 'existing' });
    while (!spare.isReady && !this.shared.isOver) {
      await this.client.sleep(RETRY_MS);
    }
    return true;
  }

  /**
   * All members, once this one is among them; null where it is not. An addition that got no answer may have happened, and
   * then the majority may be one that needs the new member, so that nobody else can be asked for it.
   */
  private async find(added: SimMember): Promise<readonly Member[] | null> {
    for (let linearizable = true; !this.shared.isOver; linearizable = !linearizable) {
      const members = (await this.ask(linearizable)) ?? (linearizable ? null : this.shown());
      if (members !== null && isAmong(added, members)) return members;
      if (members !== null && linearizable) return null;
      this.move();
      await this.client.sleep(RETRY_MS);
    }
    return null;
  }

  /** Every member has a machine of its own, whose name stands in its URL. */
  private flagOf(members: readonly Member[]): string {
    return members.map(({ peerURLs: [url = ''] }) => `${this.machineOf(url)?.name}=${url}`).join(',');
  }

  private machineOf(url: string): SimMember | undefined {
    return this.shared.cluster.members.find((member) => member.peerUrl === url);
  }

  private async promote({ ID, peerURLs }: Member): Promise<boolean> {
    const request = MemberPromoteRequest.encode(MemberPromoteRequest.create({ ID }));
    for (let tries = 0; tries < PROMOTIONS_MAX && !this.shared.isOver; tries++) {
      const { code, message } = await this.call('/etcdserverpb.Cluster/MemberPromote', request, PATIENCE_MS);
      if (code === StatusCode.OK || message.includes('can only promote a learner')) {
        this.note(`promoted ${this.machineOf(peerURLs[0] ?? '')?.name}`);
        return true;
      }
      this.move();
      await this.client.sleep(RETRY_MS);
    }
    return true;
  }

  private async remove({ ID, peerURLs }: Member): Promise<boolean> {
    const { cluster } = this.shared;
    const victim = this.machineOf(peerURLs[0] ?? '');
    if (victim === undefined) return true;
    const request = MemberRemoveRequest.encode(MemberRemoveRequest.create({ ID }));
    await this.call('/etcdserverpb.Cluster/MemberRemove', request, PATIENCE_MS);
    const members = await this.list();
    if (members === null || members.some((member) => member.ID === ID)) {
      // It may be removed later still, by a request that is under way.
      victim.isLeaving = true;
      return false;
    }
    this.note(`removed ${victim.name} (${shortOf(ID)})`);
    victim.isLeaving = true;
    cluster.after(LINGER_MS, () => victim.retire());
    return true;
  }

  /** As an operator does whose disk is damaged: the member is removed, and added again with nothing on its disk. */
  private async replace(damaged: SimMember, members: readonly Member[]): Promise<boolean> {
    const { name, peerUrl } = damaged;
    const there = members.find(({ peerURLs }) => peerURLs.includes(peerUrl));
    if (there !== undefined) {
      damaged.formerIds.add(u64ToHex(there.ID));
      const request = MemberRemoveRequest.encode(MemberRemoveRequest.create({ ID: there.ID }));
      await this.call('/etcdserverpb.Cluster/MemberRemove', request, PATIENCE_MS);
      const left = await this.list();
      if (left === null || left.some(({ ID }) => ID === there.ID)) return false;
      this.note(`removed ${name} (${shortOf(there.ID)}), whose disk is damaged`);
      damaged.clear();
      damaged.isMissing = true;
      return await this.add(damaged, left);
    }
    damaged.clear();
    damaged.isMissing = true;
    return await this.add(damaged, members);
  }

  /** Adding it was refused, as while too few of the others were up, or happened later than anybody looked. */
  private async bringBack(missing: SimMember, members: readonly Member[]): Promise<boolean> {
    return isAmong(missing, members) ? await this.begin(missing, members) : await this.add(missing, members);
  }

  private note(what: string): void {
    this.shared.cluster.trace.note(this.name, what);
  }
}

/** Whether it was added. Whoever has not heard yet that the one before it was removed still names that one. */
function isAmong({ peerUrl, formerIds }: SimMember, members: readonly Member[]): boolean {
  return members.some(({ ID, peerURLs }) => peerURLs.includes(peerUrl) && !formerIds.has(u64ToHex(ID)));
}

function shortOf(id: U64): string {
  return u64ToHex(id).slice(-4);
}
