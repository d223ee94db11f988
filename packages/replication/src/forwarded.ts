import type { U64 } from '@etsd/base';
import type { ConfChangeV2, EtcdError } from '@etsd/proto';
import type { RequestKeyOf, Waiter } from './applier.ts';

class Forwarded {
  readonly waiter: Waiter;
  /** When it came, in ticks. */
  readonly tick: number;

  constructor(waiter: Waiter, tick: number) {
    this.waiter = waiter;
    this.tick = tick;
  }
}

/** A wide change has no id of its own: it is known by its context, which its maker made unique. */
export function wideChangeKey(change: ConfChangeV2): string {
  return `wide ${change.context.toString('latin1')}`;
}

/**
 * Proposals that went to the leader: their index is not known here, so that they are recognised by the request id in
 * their data when they come back to be applied.
 */
export class ForwardedProposals {
  /** Proposals that were not applied in time. */
  failedTotal = 0;
  private readonly requestKeyOf: RequestKeyOf;
  /** In the order in which they came. Proposals under the key of their data, membership changes under their id. */
  private readonly byKey: Map<number | string, Forwarded> = new Map();
  /** Those that cannot be recognised only wait for their time-out. */
  private nameless = 0;

  constructor(requestKeyOf: RequestKeyOf) {
    this.requestKeyOf = requestKeyOf;
  }

  get size(): number {
    return this.byKey.size;
  }

  add(data: Buffer, tick: number, waiter: Waiter): void {
    const key = this.requestKeyOf(data);
    this.byKey.set(key ?? `nameless ${this.nameless++}`, new Forwarded(waiter, tick));
  }

  addWithId(id: U64 | string, tick: number, waiter: Waiter): void {
    this.byKey.set(id, new Forwarded(waiter, tick));
  }

  /** Who waits for this entry, or null. */
  take(data: Buffer): Waiter | null {
    const key = this.requestKeyOf(data);
    return key === null ? null : this.takeKey(key);
  }

  takeId(id: U64 | string): Waiter | null {
    return this.takeKey(id);
  }

  private takeKey(key: number | string): Waiter | null {
    const found = this.byKey.get(key);
    if (found === undefined) return null;
    this.byKey.delete(key);
    return found.waiter;
  }

  /** Whether anybody waits who came at `tick` or before. */
  isDue(tick: number): boolean {
    for (const forwarded of this.byKey.values()) return forwarded.tick <= tick;
    return false;
  }

  /** Fails everybody who came at `tick` or before. */
  expire(tick: number, error: EtcdError): void {
    for (const [key, forwarded] of this.byKey) {
      if (forwarded.tick > tick) return;
      this.byKey.delete(key);
      this.failedTotal++;
      forwarded.waiter.fail(error);
    }
  }
}
