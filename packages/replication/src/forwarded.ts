import type { U64 } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import type { RequestIdOf, Waiter } from './applier.ts';

class Forwarded {
  readonly waiter: Waiter;
  /** When it came, in ticks. */
  readonly tick: number;

  constructor(waiter: Waiter, tick: number) {
    this.waiter = waiter;
    this.tick = tick;
  }
}

/**
 * Proposals that went to the leader: their index is not known here, so that they are recognised by the request id in
 * their data when they come back to be applied.
 */
export class ForwardedProposals {
  private readonly requestIdOf: RequestIdOf | null;
  /** In the order in which they came. */
  private readonly byId: Map<U64, Forwarded> = new Map();
  /** Those that cannot be recognised only wait for their time-out. */
  private nameless = 0;

  constructor(requestIdOf: RequestIdOf | null) {
    this.requestIdOf = requestIdOf;
  }

  get size(): number {
    return this.byId.size;
  }

  add(data: Buffer, tick: number, waiter: Waiter): void {
    const id = this.requestIdOf === null ? `nameless ${this.nameless++}` : this.requestIdOf(data);
    this.addWithId(id, tick, waiter);
  }

  addWithId(id: U64, tick: number, waiter: Waiter): void {
    this.byId.set(id, new Forwarded(waiter, tick));
  }

  /** Who waits for this entry, or null. */
  take(data: Buffer): Waiter | null {
    return this.requestIdOf === null ? null : this.takeId(this.requestIdOf(data));
  }

  takeId(id: U64): Waiter | null {
    const found = this.byId.get(id);
    if (found === undefined) return null;
    this.byId.delete(id);
    return found.waiter;
  }

  /** Fails everybody who came at `tick` or before. */
  expire(tick: number, error: EtcdError): void {
    for (const [id, forwarded] of this.byId) {
      if (forwarded.tick > tick) return;
      this.byId.delete(id);
      forwarded.waiter.fail(error);
    }
  }
}
