import type { EtcdError } from '@etsd/proto';
import type { Waiter } from './applier.ts';

/**
 * Proposals that came while there was nobody to take them: no leader, or one that is handing over. They wait for the
 * next leader rather than fail, since an election is a matter of a second.
 */
export class Parked {
  /** Bytes of data held. */
  bytes = 0;
  /** Proposals that nobody took in time. */
  failedTotal = 0;
  private data: Buffer[] = [];
  private waiters: Waiter[] = [];
  private ticks: number[] = [];

  get length(): number {
    return this.data.length;
  }

  add(data: Buffer, tick: number, waiter: Waiter): void {
    this.data.push(data);
    this.waiters.push(waiter);
    this.ticks.push(tick);
    this.bytes += data.length;
  }

  /** Hands out everything, oldest first; what `take` parks again keeps its place in time. */
  drain(take: (data: Buffer, tick: number, waiter: Waiter) => void): void {
    const { data, waiters, ticks } = this;
    this.data = [];
    this.waiters = [];
    this.ticks = [];
    this.bytes = 0;
    for (let place = 0; place < data.length; place++) {
      take(data[place] as Buffer, ticks[place] as number, waiters[place] as Waiter);
    }
  }

  /** Fails everybody who came at `tick` or before. */
  expire(tick: number, error: EtcdError): void {
    if (this.data.length === 0 || (this.ticks[0] as number) > tick) return;
    this.drain((data, since, waiter) => {
      if (since <= tick) {
        this.failedTotal++;
        waiter.fail(error);
      } else this.add(data, since, waiter);
    });
  }
}
