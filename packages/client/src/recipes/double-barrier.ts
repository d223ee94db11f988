import { type Key, keyFromBytes } from '@etsd/base';
import { ErrCompacted, EventType, type KeyValue, SortOrder, SortTarget } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError, isError } from '../errors.ts';
import { type Bytes, type KeyRange, prefix } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import { get, key, put, remove } from '../txn.ts';
import { LostError, TooManyError } from './errors.ts';
import { isBehindCompaction, NEVER, persist, type WaitOptions } from './persist.ts';
import { NotNowError, type Place, queueRange, stand, type Turn, under, uniqueKey, waitForDelete } from './places.ts';
import { Tenure } from './tenure.ts';

/** Taking part in a round. Giving it back without `leave` does not wait for the others. */
export class Crossing extends Tenure {
  private readonly barrier: DoubleBarrier;
  private readonly round: Round;

  constructor(client: Client, barrier: DoubleBarrier, turn: Turn, round: Round, lease: HeldLease) {
    super({ client, ...turn, lease, held: key(turn.key).createRevision.equals(turn.revision) });
    this.barrier = barrier;
    this.round = round;
  }

  /** Leaves, and waits until all others of the round have left or are gone. */
  async leave(options: WaitOptions = {}): Promise<void> {
    await this.release(options);
    await this.barrier.waitForOthers(this.round, options);
  }
}

/** What those who crossed together know of it. */
interface Round {
  /** Those of the round came no later. */
  readonly completeRevision: number;
  /** Create revision of the key that says that a round is under way. */
  readonly readyRevision: number;
}

/**
 * So many begin together and end together: `enter` resolves for all once as many are there as there must be, `leave` once
 * all are done. Who crashes counts as having left. Then the next round can begin.
 *
 * Keys: `NAME/waiters/…` for each who takes part, `NAME/ready` during a round, as the `DoubleBarrier` of etcd's Go recipes
 * has them.
 */
export class DoubleBarrier {
  private readonly client: Client;
  private readonly name: Bytes;
  private readonly count: number;
  private readonly ready: Buffer;
  private readonly waiters: KeyRange;

  constructor(client: Client, name: Bytes, count: number) {
    if (!Number.isSafeInteger(count) || count < 1) throw new RangeError('a round takes at least one');
    this.client = client;
    this.name = name;
    this.count = count;
    this.ready = under(name, 'ready');
    this.waiters = queueRange(under(name, 'waiters'));
  }

  /**
   * Resolves once all are there. Waits for a round that is under way to end first; throws `TooManyError` where more come
   * than take part, `LostError` if the lease ends meanwhile.
   */
  async enter(lease: HeldLease, options: WaitOptions = {}): Promise<Crossing> {
    const { client } = this;
    const own = uniqueKey(client, under(this.name, 'waiters'), lease.id);
    const standing = { key: own, lease, provided: key(this.ready).isMissing };
    for (;;) {
      await this.waitForEndOfRound(options);
      let round: Round | null = null;
      try {
        const turn = await stand(client, standing, options, async (place, signal) => {
          const completeRevision = await this.waitForAll(place, signal);
          round = { completeRevision, readyRevision: await this.begin(place, signal) };
        });
        return new Crossing(client, this, turn, round as unknown as Round, lease);
      } catch (error) {
        if (!(error instanceof NotNowError)) throw error;
      }
    }
  }

  /** Resolves once nobody of the round is left. */
  async waitForOthers({ completeRevision, readyRevision }: Round, { signal = NEVER }: WaitOptions): Promise<void> {
    const { client } = this;
    const request = { ...this.waiters, limit: 1, keysOnly: true, maxCreateRevision: completeRevision };
    for (;;) {
      const { header, kvs } = await persist(client, signal, () => client.kv.range(request, { signal }));
      if (kvs[0] === undefined) break;
      await waitForDelete(client, kvs[0].key, (header?.revision ?? 0) + 1, signal);
    }
    await persist(client, signal, () => this.endRound(readyRevision));
  }

  private async endRound(readyRevision: number): Promise<void> {
    await this.client.kv
      .transaction()
      .if(key(this.ready).createRevision.equals(readyRevision))
      .do(remove(this.ready))
      .commit();
  }

  /** Resolves when no round is under way. One whose members are all gone is ended. */
  private async waitForEndOfRound({ signal = NEVER }: WaitOptions): Promise<void> {
    const { client } = this;
    for (;;) {
      const { revision, ready, waiters } = await persist(client, signal, () => this.look(0, signal));
      if (ready === null) return;
      if (waiters[0] !== undefined) {
        await waitForDelete(client, waiters[0].key, revision + 1, signal);
        continue;
      }
      const isStale = key(this.ready).createRevision.equals(ready.createRevision);
      const removal = client.kv.transaction().if(isStale, key(this.waiters).isMissing).do(remove(this.ready));
      await persist(client, signal, () => removal.commit({ signal }));
    }
  }

  /** The state as of a revision; 0 for now. */
  private async look(
    revision: number,
    signal: AbortSignal,
  ): Promise<{ revision: number; ready: KeyValue | null; waiters: readonly KeyValue[] }> {
    const oldestFirst = { sortOrder: SortOrder.ASCEND, sortTarget: SortTarget.CREATE, keysOnly: true, revision };
    const outcome = await this.client.kv
      .transaction()
      .do(get(this.ready, { revision }), get(this.waiters, oldestFirst))
      .commit({ signal });
    const [ready, waiters] = outcome.results as unknown as [{ kvs: KeyValue[] }, { kvs: KeyValue[] }];
    const at = revision === 0 ? (outcome.header?.revision ?? 0) : revision;
    return { revision: at, ready: ready.kvs[0] ?? null, waiters: waiters.kvs };
  }

  /** Answers at which revision all were there. */
  private async waitForAll(place: Place, signal: AbortSignal): Promise<number> {
    const { client, count } = this;
    // What was when the place was taken says whether it is one of the first; later some may have left already.
    let atRevision = place.revision;
    for (;;) {
      try {
        const { ready, revision, waiters } = await persist(client, signal, () => this.look(atRevision, signal));
        const index = waiters.findIndex((each) => each.key.equals(place.key));
        if (index < 0) throw lostWhileWaiting();
        if (ready !== null && ready.createRevision > place.revision) return ready.createRevision;
        if (index >= count) throw new TooManyError(`${count} take part, and they are there already`);
        const last = waiters[count - 1];
        if (last !== undefined) return last.createRevision;
        return await this.follow(place, new Set(waiters.map((each) => keyFromBytes(each.key))), revision + 1, signal);
      } catch (error) {
        if (!isBehindCompaction(error) && !isError(error, ErrCompacted)) throw error;
        atRevision = 0;
      }
    }
  }

  /** Counts those who come and go; answers at which revision all were there. */
  private async follow(place: Place, there: Set<Key>, startRevision: number, signal: AbortSignal): Promise<number> {
    const everything = prefix(under(this.name, ''));
    const base = keyFromBytes(this.waiters.key);
    for await (const { kv, type } of this.client.watch(everything, { startRevision, signal }).events()) {
      if (kv === null) continue;
      const at = keyFromBytes(kv.key);
      if (type === EventType.DELETE) {
        if (kv.key.equals(place.key)) throw lostWhileWaiting();
        there.delete(at);
      } else if (kv.key.equals(this.ready)) {
        return kv.modRevision;
      } else if (at.startsWith(base)) {
        there.add(at);
        if (there.size >= this.count) return kv.modRevision;
      }
    }
    throw new CanceledError(signal.reason);
  }

  /** Says that the round is under way, if nobody did; answers the revision since which it is. */
  private async begin(place: Place, signal: AbortSignal): Promise<number> {
    const isThere = key(place.key).createRevision.equals(place.revision);
    const beginning = this.client.kv
      .transaction()
      .if(isThere, key(this.ready).isMissing)
      .do(put(this.ready, ''))
      .otherwise(get(this.ready), get(place.key));
    const outcome = await persist(this.client, signal, () => beginning.commit());
    if (outcome.succeeded) return outcome.header?.revision ?? 0;
    const [ready, own] = outcome.results;
    if (own.kvs[0]?.createRevision !== place.revision || ready.kvs[0] === undefined) throw lostWhileWaiting();
    return ready.kvs[0].createRevision;
  }
}

function lostWhileWaiting(): LostError {
  return new LostError('the place was lost while waiting');
}
