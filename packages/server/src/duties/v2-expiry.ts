/** Ends keys of etcd 2 whose time is over: the leader says in the log what time it is, and every member does the same. */
import { u64FromHalves } from '@etsd/base';
import { V2Request } from '@etsd/proto';
import { momentOfMs, type V2Store } from '@etsd/state';
import type { ApiReplication } from '../context.ts';

/** Between two looks; as in etcd. */
const LOOK_MS = 500;

export interface V2ExpiryParts {
  readonly every: (ms: number, callback: () => void) => { cancel(): void };
  readonly wallMs: () => number;
  readonly replication: Pick<ApiReplication, 'isLeader' | 'nextRequestId' | 'propose'>;
  readonly keys: Pick<V2Store, 'hasEnded'>;
}

/** A duty of the leader. It writes nothing as long as nothing has ended. */
export class V2Expiry {
  private readonly parts: V2ExpiryParts;
  private readonly timer: { cancel(): void };
  private isUnderWay = false;

  constructor(parts: V2ExpiryParts) {
    this.parts = parts;
    this.timer = parts.every(LOOK_MS, this.look);
  }

  stop(): void {
    this.timer.cancel();
  }

  private readonly look = (): void => {
    const { replication, keys, wallMs } = this.parts;
    const nowMs = wallMs();
    if (this.isUnderWay || !replication.isLeader || !keys.hasEnded(nowMs)) return;
    const { high, low } = replication.nextRequestId();
    const request = V2Request.create({ ID: u64FromHalves(high, low), method: 'SYNC', time: momentOfMs(nowMs) });
    this.isUnderWay = true;
    const done = (): void => {
      this.isUnderWay = false;
    };
    // What failed is tried again at the next look.
    replication.propose(V2Request.encode(request), { done, fail: done });
  };
}
