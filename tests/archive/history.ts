/** What a client did to a store, so that every state it went through can be told again. */
import { Prng } from '@etsd/base';
import { type EtcdClient, put } from '@etsd/client';

/** A key as a client sees it. */
export interface SeenKey {
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: string;
}

export type SeenState = ReadonlyMap<string, SeenKey>;

const NO_LEASE = '0000000000000000';

/** Writes at random, one request after the other, and keeps what it was told. */
export class RecordedClient {
  /** Of the last change. */
  revision = 1;
  /** By revision: which keys changed, and to what; null for deleted. */
  private readonly changes = new Map<number, ReadonlyMap<string, SeenKey | null>>();
  /** By the wall clock: when a revision was known to be there. */
  readonly times: { timeMs: number; revision: number }[] = [];
  private readonly state = new Map<string, SeenKey>();
  private readonly leases: string[] = [];
  private readonly random: Prng;
  private readonly keys: number;

  constructor(seed: number, keys = 60) {
    this.random = new Prng(seed);
    this.keys = keys;
  }

  /** The state that a revision left. */
  at(revision: number): SeenState {
    const state = new Map<string, SeenKey>();
    for (let each = 2; each <= revision; each++) {
      for (const [key, seen] of this.changes.get(each) ?? []) {
        if (seen === null) state.delete(key);
        else state.set(key, seen);
      }
    }
    return state;
  }

  async act(client: EtcdClient): Promise<void> {
    const choice = this.random.below(100);
    if (choice < 60) await this.put(client);
    else if (choice < 75) await this.transaction(client);
    else if (choice < 88) await this.remove(client);
    else if (choice < 93) await this.grant(client);
    else if (choice < 96) await this.revoke(client);
    else if (choice < 98) await this.compact(client);
    else await this.putLarge(client);
    this.times.push({ timeMs: Date.now(), revision: this.revision });
  }

  private key(): string {
    return `key/${this.random.below(this.keys)}`;
  }

  private value(): string {
    return `${this.random.u32()}`.repeat(this.random.below(60));
  }

  private async put(client: EtcdClient, value = this.value()): Promise<void> {
    const key = this.key();
    const lease = this.random.below(4) === 0 ? this.leases.at(-1) : undefined;
    const { header } = await client.kv.put(key, value, lease === undefined ? {} : { lease });
    this.changed(header?.revision ?? 0, [[key, value, lease ?? NO_LEASE]]);
  }

  private putLarge(client: EtcdClient): Promise<void> {
    return this.put(client, 'x'.repeat(20_000 + this.random.below(30_000)));
  }

  /** Several keys at one revision. */
  private async transaction(client: EtcdClient): Promise<void> {
    const keys = [...new Set([this.key(), this.key(), this.key()])];
    const values = keys.map((key) => [key, this.value(), NO_LEASE] as const);
    const operations = values.map(([key, value]) => put(key, value));
    const { header } = await client.kv
      .transaction()
      .do(...operations)
      .commit();
    this.changed(header?.revision ?? 0, values);
  }

  private async remove(client: EtcdClient): Promise<void> {
    const key = this.key();
    const { header, deleted } = await client.kv.delete(key);
    if (deleted > 0) this.changed(header?.revision ?? 0, [[key, null, NO_LEASE]]);
  }

  private async grant(client: EtcdClient): Promise<void> {
    const { ID } = await client.leases.grant(9000);
    this.leases.push(ID);
  }

  private async revoke(client: EtcdClient): Promise<void> {
    const lease = this.leases.pop();
    if (lease === undefined) return;
    const { header } = await client.leases.revoke(lease);
    const keys = [...this.state]
      .filter(([, seen]) => seen.lease === lease)
      .map(([key]) => [key, null, NO_LEASE] as const);
    if (keys.length > 0) this.changed(header?.revision ?? 0, keys);
  }

  private async compact(client: EtcdClient): Promise<void> {
    const revision = this.revision - this.random.below(50);
    if (revision > this.compacted) {
      await client.kv.compact(revision);
      this.compacted = revision;
    }
  }

  private compacted = 1;

  private changed(
    revision: number,
    keys: readonly (readonly [key: string, value: string | null, lease: string])[],
  ): void {
    const changes = new Map<string, SeenKey | null>();
    for (const [key, value, lease] of keys) {
      const before = this.state.get(key);
      if (value === null) {
        this.state.delete(key);
        changes.set(key, null);
        continue;
      }
      const create = before?.create ?? revision;
      const seen = { value, create, mod: revision, version: (before?.version ?? 0) + 1, lease };
      this.state.set(key, seen);
      changes.set(key, seen);
    }
    if (revision !== this.revision + 1) throw new Error(`revision ${revision} follows ${this.revision}`);
    this.revision = revision;
    this.changes.set(revision, changes);
  }
}
