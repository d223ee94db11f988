import type { Logger } from '@etsd/base';
import { AlarmAction, AlarmRequest, AlarmType, ErrNoSpace, type EtcdError, RaftRequestField } from '@etsd/proto';
import { RAISED_BY_MEMBER } from '@etsd/state';
import { proposeRequest } from './api/guards.ts';
import type { ApiWaiter, MemberContext } from './context.ts';
import { QUOTA_FLAG } from './space/space-watch.ts';

/** Requests between two looks at the size of the store, which may cost a system call. */
const LOOK_INTERVAL = 64;

/** Bytes a lease costs, as the quota counts it. */
export const LEASE_COST_BYTES = 64;

/** Whether this member's NOSPACE alarm stands. */
export function isNoSpaceRaised({ state, memberId }: MemberContext): boolean {
  return state.alarms.list(AlarmType.NOSPACE).some((alarm) => alarm.memberID === memberId);
}

/** Raises this member's NOSPACE alarm through the log, marked as one that it will clear by itself. */
export function raiseNoSpace(context: MemberContext, waiter: ApiWaiter): void {
  const alarm = { action: AlarmAction.ACTIVATE, memberID: context.memberId, alarm: AlarmType.NOSPACE };
  const body = Buffer.concat([AlarmRequest.encode(AlarmRequest.create(alarm)), RAISED_BY_MEMBER]);
  proposeRequest(context, RaftRequestField.Alarm, body, 0, body.length, waiter, context.access.asRoot());
}

/** Clears this member's NOSPACE alarm through the log. */
export function clearNoSpace(context: MemberContext, waiter: ApiWaiter): void {
  const alarm = { action: AlarmAction.DEACTIVATE, memberID: context.memberId, alarm: AlarmType.NOSPACE };
  const body = AlarmRequest.encode(AlarmRequest.create(alarm));
  proposeRequest(context, RaftRequestField.Alarm, body, 0, body.length, waiter, context.access.asRoot());
}

/**
 * The bound on what the store holds: the room that live data takes, history included, not the size of the file, of which
 * freed parts are used again. It is checked before a request that adds data is proposed; the first that does not
 * fit raises the alarm for all members, and from then on entries that add data are refused while being applied. Reads,
 * deletions, compaction and defragmentation go on; `SpaceWatch` clears the alarm when there is room again.
 */
export class Quota {
  private readonly context: MemberContext;
  private readonly logger: Logger;
  /** Bytes in use when last looked, and the cost of everything admitted since. */
  private estimate = 0;
  private looks = 0;
  private raising: ApiWaiter[] | null = null;
  private readonly isDiskLow: () => boolean;

  /** `isDiskLow`: the disk itself has no room to add anything, whatever the quota says. */
  constructor(context: MemberContext, isDiskLow: () => boolean = () => false) {
    this.context = context;
    this.isDiskLow = isDiskLow;
    this.logger = context.logger;
  }

  /** Whether a request of this cost still fits. What adds nothing always does. */
  admits(costBytes: number): boolean {
    const { backend, limits } = this.context;
    const quota = limits.quotaBytes;
    if (costBytes === 0) return true;
    if (this.isDiskLow()) return false;
    if (quota === Number.POSITIVE_INFINITY) return true;
    this.estimate += costBytes;
    if (this.looks-- > 0 && this.estimate < quota) return true;
    this.looks = LOOK_INTERVAL;
    this.estimate = backend.inUseBytes() + backend.pendingBytes + costBytes;
    if (this.estimate < quota) return true;
    this.looks = 0;
    return false;
  }

  /** Raises the alarm; `waiter` fails with `ErrNoSpace` once it stands, or with why it could not be raised. */
  raise(waiter: ApiWaiter): void {
    if (this.raising !== null) {
      this.raising.push(waiter);
      return;
    }
    // To raise one that stands already would only take space in the log.
    if (isNoSpaceRaised(this.context)) {
      waiter.fail(ErrNoSpace);
      return;
    }
    this.raising = [waiter];
    const { backend, limits } = this.context;
    if (!this.isDiskLow())
      this.logger.log('warn', 'backend quota exceeded; raising alarm', {
        'size-bytes': backend.sizeBytes(),
        'used-bytes': backend.inUseBytes() + backend.pendingBytes,
        'quota-bytes': limits.quotaBytes,
        flag: QUOTA_FLAG,
      });
    raiseNoSpace(this.context, { done: () => this.tell(ErrNoSpace), fail: (error) => this.tell(error) });
  }

  private tell(error: EtcdError): void {
    const waiters = this.raising ?? [];
    this.raising = null;
    for (const waiter of waiters) waiter.fail(error);
  }
}
