import type { Client } from '../core.ts';
import { type Bytes, prefix } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import { key } from '../txn.ts';
import type { WaitOptions } from './persist.ts';
import { queueRange, stand, type Turn, under, uniqueKey, waitForTurn } from './places.ts';
import { Tenure } from './tenure.ts';

/** A read-write lock held one way or the other. */
export class HeldShare extends Tenure {
  /** Whether others may read meanwhile. */
  readonly isShared: boolean;

  constructor(client: Client, turn: Turn, lease: HeldLease, isShared: boolean) {
    super({ client, ...turn, lease, held: key(turn.key).createRevision.equals(turn.revision) });
    this.isShared = isShared;
  }
}

/**
 * Many readers, or one writer. All stand in one queue: a reader waits for the writers that came before it, a writer for
 * everybody that did. So a writer that waits holds the later readers back and is not starved by them, nor they by it.
 *
 * A reader does not become a writer: ask for the write lock after giving the read lock back, and read again.
 *
 * Keys: `NAME/read/…` and `NAME/write/…`, one for each who holds or waits, as the `RWMutex` of etcd's Go recipes has them.
 */
export class ReadWriteLock {
  private readonly client: Client;
  private readonly name: Bytes;

  constructor(client: Client, name: Bytes) {
    this.client = client;
    this.name = name;
  }

  /** Waits until no writer that came before is left. */
  async read(lease: HeldLease, options: WaitOptions = {}): Promise<HeldShare> {
    const { client, name } = this;
    const others = prefix(under(name, 'write'));
    const standing = { key: uniqueKey(client, under(name, 'read'), lease.id), lease, others };
    const turn = await stand(client, standing, options, (place, signal) => waitForTurn(client, others, place, signal));
    return new HeldShare(client, turn, lease, true);
  }

  /** Waits until nobody that came before is left. */
  async write(lease: HeldLease, options: WaitOptions = {}): Promise<HeldShare> {
    const { client, name } = this;
    const others = queueRange(name);
    const standing = { key: uniqueKey(client, under(name, 'write'), lease.id), lease, others };
    const turn = await stand(client, standing, options, (place, signal) => waitForTurn(client, others, place, signal));
    return new HeldShare(client, turn, lease, false);
  }
}
