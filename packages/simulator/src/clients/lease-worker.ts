import { LeaseOwner } from './lease-owner.ts';

/** Grants leases, hangs keys on them, keeps some alive for a while, revokes some and lets the others run out. */
export class LeaseWorker extends LeaseOwner {
  private lease = '';
  private renewals = 0;

  protected pauseMs(): number {
    return 200;
  }

  protected async step(): Promise<boolean> {
    const { prng } = this;
    if (this.lease === '') return await this.grant();
    if (this.renewals > 0) {
      this.renewals--;
      if (prng.chance(0.3)) await this.kv({ success: [this.put(`lease${prng.below(8)}`, this.lease)] });
      const { isKnown, stands } = await this.renewLease(this.lease);
      if (!stands) this.lease = '';
      return isKnown;
    }
    const { lease } = this;
    this.lease = '';
    if (prng.chance(0.6)) return true;
    return await this.revokeLease(lease);
  }

  private async grant(): Promise<boolean> {
    const { prng } = this;
    const lease = String(1_000_000 + this.shared.unique());
    if (!(await this.grantLease(lease, prng.between(1, 4))).stands) return false;
    this.lease = lease;
    this.renewals = prng.below(8);
    await this.kv({
      success: [this.put(`lease${prng.below(8)}`, lease), this.put(`lease${8 + prng.below(8)}`, lease)],
    });
    return true;
  }
}
