import { DowngradeAction, DowngradeRequest } from '@etsd/proto';
import { StatusCode } from '@etsd/rpc';
import type { SimMember } from '../cluster/member.ts';
import { NEW_RELEASE, OLD_RELEASE } from '../cluster/releases.ts';
import { Chore } from './chores.ts';

const PATIENCE_MS = 4000;
/** A member that was started again is waited for so long before its operator goes on. */
const START_MS = 5000;
const LOOK_MS = 200;

/**
 * Takes a cluster from release to release and back, a member at a time, as operators do: a member is stopped, or fails; its
 * data is noted as laid out for the other release, as `etcdutl migrate` does; it is started as that. Before a cluster goes down
 * again a downgrade is enabled, and sometimes cancelled. Now and then somebody starts the wrong release, which has to refuse.
 */
export class Upgrader extends Chore {
  private isGoingUp = true;

  protected async work(): Promise<boolean> {
    const { cluster } = this.shared;
    if (cluster.net.isCalm) return true;
    const target = this.isGoingUp ? NEW_RELEASE : OLD_RELEASE;
    const behind = cluster.current.filter((member) => member.version !== target);
    if (behind.length > 0) {
      await this.restart(this.prng.pick(behind), target);
      return true;
    }
    return await this.turn();
  }

  /** Everybody is what it was to become. */
  private async turn(): Promise<boolean> {
    const { cluster } = this.shared;
    const settled = cluster.leader?.clusterVersion;
    if (settled === undefined) return true;
    if (!this.isGoingUp) {
      // Only the leader can say that the way down is over.
      if (settled.version === '3.5.0' && !settled.downgradeEnabled) this.isGoingUp = true;
      return true;
    }
    if (settled.version !== '3.6.0') return true;
    if (this.prng.chance(0.3) && !settled.downgradeEnabled) {
      await this.restart(this.prng.pick(cluster.current), OLD_RELEASE);
      return true;
    }
    return await this.enableDowngrade();
  }

  private async enableDowngrade(): Promise<boolean> {
    const { cluster } = this.shared;
    const isAsked = await this.downgrade(DowngradeAction.VALIDATE);
    if (!isAsked) return false;
    cluster.releases.isDowngradeAsked = true;
    if (!(await this.downgrade(DowngradeAction.ENABLE))) return false;
    cluster.trace.note(this.name, 'downgrade enabled');
    if (this.prng.chance(0.25)) {
      cluster.releases.isCancelAsked = true;
      await this.downgrade(DowngradeAction.CANCEL);
      cluster.trace.note(this.name, 'downgrade cancelled');
      return true;
    }
    this.isGoingUp = false;
    return true;
  }

  private async downgrade(action: DowngradeRequest['action']): Promise<boolean> {
    const request = DowngradeRequest.create({ action, version: '3.5' });
    const bytes = DowngradeRequest.encode(request);
    const { code, message } = await this.call('/etcdserverpb.Maintenance/Downgrade', bytes, PATIENCE_MS);
    return code === StatusCode.OK || message.includes('cluster has a downgrade in progress');
  }

  private async restart(member: SimMember, version: string): Promise<void> {
    if (!member.isReady || member.isDoubtful) return;
    const change = (): void => {
      member.become(version);
      member.boot();
    };
    if (this.prng.chance(0.7)) member.stop(change);
    else {
      member.kill();
      change();
    }
    for (let waitedMs = 0; waitedMs < START_MS && !this.shared.isOver; waitedMs += LOOK_MS) {
      await this.client.sleep(LOOK_MS);
      if (member.isReady) return;
    }
  }
}
