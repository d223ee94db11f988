import type { LeaseOperation, Violation } from './history.ts';
import type { LeaseEnd } from './store-order.ts';

export interface LeaseLimits {
  /**
   * The last moment at which the cluster may have begun to count anew, as a new leader does, or at which it was not whole:
   * from then on a lease that nobody renews has its time to live and no more.
   */
  readonly calmSince: number;
  /** Milliseconds by which an expiry may be late when all is well. */
  readonly lateMs: number;
  /** When the last look at the store was taken, and which leases still held keys or were listed then. */
  readonly lookedAt: number;
  readonly alive: ReadonlySet<string>;
  /** How fast a member's clock may have run: a lease counts its time by that of the leader. Default 1: as time itself. */
  readonly fastestClock?: number;
}

interface LeaseLife {
  /** The beginning of the last renewal that was granted: the time to live counts from there or from later. */
  renewedFrom: number;
  renewedTo: number;
  ttlMs: number;
  revoked: boolean;
  granted: boolean;
}

/**
 * Leases end neither early nor late: what a lease holds is deleted no sooner than its time to live after the last
 * renewal that was granted, unless somebody revoked it; a lease that ended is not renewed; and once the cluster is calm, none
 * outlives its time by more than a bound.
 */
export function checkLeases(
  operations: readonly LeaseOperation[],
  ends: readonly LeaseEnd[],
  limits: LeaseLimits,
): Violation[] {
  const violations: Violation[] = [];
  const endOf = new Map<string, LeaseEnd>();
  for (const end of ends) {
    const other = endOf.get(end.lease);
    if (other === undefined || end.seenAt < other.seenAt) endOf.set(end.lease, end);
  }
  const lives = livesOf(operations, endOf, violations);
  for (const [lease, end] of endOf) {
    const life = lives.get(lease);
    if (life === undefined)
      violations.push({ rule: 'lease', text: `${lease} ended at ${end.revision}; nobody asked for it` });
    else checkEarly(lease, life, end, limits.fastestClock ?? 1, violations);
  }
  for (const lease of limits.alive) {
    const life = lives.get(lease);
    if (life === undefined) continue;
    const latest = Math.max(life.renewedTo, limits.calmSince) + life.ttlMs + limits.lateMs;
    if (limits.lookedAt <= latest) continue;
    const late = (limits.lookedAt - latest).toFixed(0);
    violations.push({ rule: 'lease late', text: `${lease} is still there ${late} ms after its bound` });
  }
  return violations;
}

function livesOf(
  operations: readonly LeaseOperation[],
  endOf: ReadonlyMap<string, LeaseEnd>,
  violations: Violation[],
): Map<string, LeaseLife> {
  const lives = new Map<string, LeaseLife>();
  for (const operation of operations) {
    const { lease, start, end, ttl, outcome } = operation;
    let life = lives.get(lease);
    if (life === undefined) {
      life = { renewedFrom: 0, renewedTo: 0, ttlMs: ttl * 1000, revoked: false, granted: false };
      lives.set(lease, life);
    }
    if (outcome === 'failed') continue;
    if (operation.do === 'revoke') life.revoked = true;
    else if (outcome === 'unknown') life.renewedTo = Math.max(life.renewedTo, end);
    else if (ttl > 0) {
      const seenAt = endOf.get(lease)?.seenAt ?? Number.POSITIVE_INFINITY;
      if (operation.do === 'renew' && start > seenAt) {
        violations.push({
          rule: 'lease',
          text: `${lease} was renewed at ${start.toFixed(0)}, gone since ${seenAt.toFixed(0)}`,
        });
        continue;
      }
      life.granted = true;
      // A renewal under way when the end was seen may have come too late or not; it is not counted.
      if (end <= seenAt) life.renewedFrom = Math.max(life.renewedFrom, start);
      life.renewedTo = Math.max(life.renewedTo, end);
      life.ttlMs = Math.max(life.ttlMs, ttl * 1000);
    }
  }
  return lives;
}

function checkEarly(
  lease: string,
  life: LeaseLife,
  end: LeaseEnd,
  fastestClock: number,
  violations: Violation[],
): void {
  if (life.revoked || !life.granted) return;
  const earliest = life.renewedFrom + life.ttlMs / fastestClock;
  if (end.seenAt >= earliest) return;
  const early = (earliest - end.seenAt).toFixed(0);
  violations.push({
    rule: 'lease early',
    text: `${lease} ended at revision ${end.revision}, ${early} ms before its time`,
  });
}
