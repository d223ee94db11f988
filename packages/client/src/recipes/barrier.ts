import type { Client } from '../core.ts';
import { type Bytes, toBytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import type { CallOptions } from '../options.ts';
import { key, put } from '../txn.ts';
import { AlreadyThereError } from './errors.ts';
import { NEVER, persist, type WaitOptions } from './persist.ts';
import { type Place, waitForDelete } from './places.ts';
import { Tenure } from './tenure.ts';

/** The barrier while it is down: whoever holds it lifts it with `release`. */
export class HeldBarrier extends Tenure {
  constructor(client: Client, place: Place, lease: HeldLease | null) {
    super({ client, ...place, lease, held: key(place.key).createRevision.equals(place.revision) });
  }
}

/**
 * Holds everybody back until it is lifted: until the schema is migrated, until the data are loaded.
 *
 * Key: `NAME` itself, there while the barrier is down, as the `Barrier` of etcd's Go recipes has it.
 */
export class Barrier {
  private readonly client: Client;
  private readonly at: Buffer;

  constructor(client: Client, name: Bytes) {
    this.client = client;
    this.at = toBytes(name);
  }

  /**
   * Lowers it; throws `AlreadyThereError` if it is down. With a lease it is lifted as well when its holder is gone;
   * without one it stays until somebody lifts it.
   */
  async hold(options: CallOptions & { lease?: HeldLease } = {}): Promise<HeldBarrier> {
    const { lease = null } = options;
    const { succeeded, header } = await this.client.kv
      .transaction()
      .if(key(this.at).isMissing)
      .do(put(this.at, '', lease === null ? {} : { lease: lease.id }))
      .commit(options);
    if (!succeeded) throw new AlreadyThereError(`the barrier ${JSON.stringify(this.at.toString())} is down already`);
    return new HeldBarrier(this.client, { key: this.at, revision: header?.revision ?? 0 }, lease);
  }

  /** Lifts it, whoever lowered it. False if it was not down. */
  async lift(options?: CallOptions): Promise<boolean> {
    return (await this.client.kv.delete(this.at, options)).deleted > 0;
  }

  async isDown(options?: CallOptions): Promise<boolean> {
    return (await this.client.kv.get(this.at, options)) !== null;
  }

  /** Resolves when it is not down: at once where nobody lowered it. */
  async wait({ signal = NEVER }: WaitOptions = {}): Promise<void> {
    for (;;) {
      const { header, kvs } = await persist(this.client, signal, () =>
        this.client.kv.range({ key: this.at, keysOnly: true }, { signal }),
      );
      if (kvs.length === 0) return;
      // Perhaps it was lowered again since; but it was lifted, and that is what is waited for.
      if (await waitForDelete(this.client, this.at, (header?.revision ?? 0) + 1, signal)) return;
    }
  }
}
