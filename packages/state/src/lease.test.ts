import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Key, Prng, type U64, U64_ZERO, u64FromNumber } from '@etsd/base';
import {
  type EtcdError,
  LeaseCheckpoint,
  LeaseCheckpointRequest,
  LeaseGrantRequest,
  LeaseRecord,
  LeaseRevokeRequest,
} from '@etsd/proto';
import { LEASE_TTL_MAX_SECONDS, Lessor, leaseTtlMinSeconds } from './lease.ts';

const seed = Number(process.env['SEED'] ?? 20261121);

/** A store that only counts, and a backend that is a sorted map. */
class Surroundings {
  revision = 5;
  readonly transactions: Key[][] = [];
  readonly records = new Map<string, Buffer>();
  private open: Key[] | null = null;

  begin(): void {
    assert.equal(this.open, null);
    this.open = [];
  }

  deleteRange(key: Key, rangeEnd: Key): number {
    assert.equal(rangeEnd, '');
    this.open?.push(key);
    return 1;
  }

  end(): number {
    this.transactions.push(this.open as Key[]);
    this.open = null;
    return ++this.revision;
  }

  put(bucket: string, key: Buffer, value: Buffer): void {
    assert.equal(bucket, 'lease');
    this.records.set(key.toString('hex'), value);
  }

  delete(_bucket: string, key: Buffer): void {
    this.records.delete(key.toString('hex'));
  }

  scan(_bucket: string, _from: null | Buffer, _to: null | Buffer, visit: (k: Buffer, v: Buffer) => boolean): void {
    for (const key of [...this.records.keys()].sort()) {
      if (!visit(Buffer.from(key, 'hex'), this.records.get(key) as Buffer)) return;
    }
  }
}

function setup(): { around: Surroundings; lessor: Lessor; apply: Apply } {
  const around = new Surroundings();
  const lessor = new Lessor({ store: around, backend: around, ttlMinSeconds: 2 });
  return { around, lessor, apply: new Apply(lessor) };
}

/** Applies requests; answers as text. */
class Apply {
  private readonly lessor: Lessor;
  private said = '';
  private readonly waiter = {
    done: (result: unknown): void => {
      const { id, ttl, revision } = result as { id: U64; ttl: number; revision: number };
      this.said = `${Number.parseInt(id, 16)} ttl ${ttl} rev ${revision}`;
    },
    fail: (error: EtcdError): void => {
      this.said = error.message;
    },
  };

  constructor(lessor: Lessor) {
    this.lessor = lessor;
  }

  grant(id: U64 | number, ttl: number): string {
    const ID = typeof id === 'number' ? u64FromNumber(id) : id;
    this.lessor.applyGrant(LeaseGrantRequest.create({ ID, TTL: ttl }), this.waiter);
    return this.said;
  }

  revoke(id: number): string {
    this.lessor.applyRevoke(LeaseRevokeRequest.create({ ID: u64FromNumber(id) }), this.waiter);
    return this.said;
  }

  checkpoint(...pairs: [number, number][]): void {
    const checkpoints = pairs.map(([id, remainingTTL]) =>
      LeaseCheckpoint.create({ ID: u64FromNumber(id), remainingTTL }),
    );
    this.lessor.applyCheckpoint(LeaseCheckpointRequest.create({ checkpoints }), null);
  }
}

describe('lessor', () => {
  it('grants and refuses as etcd does', () => {
    const { apply } = setup();
    assert.equal(apply.grant(7, 100), '7 ttl 100 rev 5');
    assert.equal(apply.grant(7, 50), 'etcdserver: lease already exists');
    assert.equal(apply.grant(8, 1), '8 ttl 2 rev 5');
    assert.equal(apply.grant(9, -5), '9 ttl 2 rev 5');
    assert.equal(apply.grant(10, LEASE_TTL_MAX_SECONDS), '10 ttl 9000000000 rev 5');
    assert.equal(apply.grant(7, LEASE_TTL_MAX_SECONDS + 1), 'etcdserver: too large lease TTL');
    assert.equal(apply.grant(U64_ZERO, 10), 'etcdserver: requested lease not found');
    assert.equal(apply.revoke(99), 'etcdserver: requested lease not found');
  });

  it('raises the shortest time to live to one and a half elections', () => {
    assert.deepEqual([100, 1000, 1001, 5000].map(leaseTtlMinSeconds), [1, 2, 2, 8]);
  });

  it('revokes all keys in one transaction, in their order, and none in no transaction', () => {
    const { around, lessor, apply } = setup();
    apply.grant(1, 10);
    for (const key of ['b', 'aa', 'ÿ', 'a', 'b']) lessor.attach(key, u64FromNumber(1));
    lessor.detach('b');
    lessor.attach('c', u64FromNumber(1));
    assert.equal(apply.revoke(1), '1 ttl 10 rev 6');
    assert.deepEqual(around.transactions, [['a', 'aa', 'c', 'ÿ']]);
    assert.equal(lessor.attachedCount, 0);
    apply.grant(1, 10);
    assert.equal(apply.revoke(1), '1 ttl 10 rev 6');
    assert.equal(around.transactions.length, 1);
  });

  it('stores leases as etcd does, and reads them again with what checkpoints left', () => {
    const { around, apply } = setup();
    apply.grant(3, 600);
    apply.grant(2, 60);
    apply.checkpoint([3, 123], [77, 5]);
    assert.deepEqual([...around.records.keys()], ['0000000000000003', '0000000000000002']);
    const stored = LeaseRecord.decode(around.records.get('0000000000000003') as Buffer);
    assert.deepEqual([stored.ID, stored.TTL, stored.remainingTTL], ['0000000000000003', 600, 123]);
    const again = new Lessor({ store: around, backend: around, ttlMinSeconds: 2 });
    again.open();
    assert.deepEqual(
      [...again.leases.values()].map((lease) => [lease.id, lease.ttl, lease.remaining]),
      [
        ['0000000000000002', 60, 0],
        ['0000000000000003', 600, 123],
      ],
    );
    again.attach('k', u64FromNumber(3));
    again.attach('orphan', u64FromNumber(9));
    assert.equal(again.leaseOf('k'), '0000000000000003');
    assert.equal(again.leaseOf('orphan'), U64_ZERO);
  });

  it('knows which key hangs on which lease, after any order of changes', () => {
    // Method: random grants, attachments, detachments and revokes beside a plain map from key to lease.
    console.log(`seed ${seed}`);
    const random = new Prng(seed);
    const { around, lessor, apply } = setup();
    const model = new Map<Key, number>();
    const leases = new Set<number>();
    for (let round = 0; round < 20_000; round++) {
      const id = 1 + random.below(6);
      const key = `k${random.below(12)}`;
      const dice = random.below(10);
      if (dice < 2) {
        apply.grant(id, 10);
        leases.add(id);
      } else if (dice < 6 && leases.has(id)) {
        lessor.attach(key, u64FromNumber(id));
        model.set(key, id);
      } else if (dice < 8) {
        lessor.detach(key);
        model.delete(key);
      } else if (dice === 8 && leases.delete(id)) {
        const keys = [...model].filter(([, lease]) => lease === id).map(([held]) => held);
        around.transactions.length = 0;
        apply.revoke(id);
        assert.deepEqual(around.transactions, keys.length === 0 ? [] : [keys.sort()]);
        for (const held of keys) model.delete(held);
      }
      assert.equal(lessor.attachedCount, model.size);
      assert.equal(lessor.leaseOf(key), u64FromNumber(model.get(key) ?? 0));
      assert.equal(lessor.size, leases.size);
    }
  });

  it('tells whoever keeps deadlines', () => {
    const { lessor, apply } = setup();
    const heard: string[] = [];
    lessor.listener = {
      granted: (lease) => heard.push(`granted ${lease.ttl}`),
      revoked: (lease) => heard.push(`revoked ${lease.ttl}`),
      replaced: () => heard.push('replaced'),
    };
    apply.grant(1, 10);
    apply.revoke(1);
    lessor.open();
    assert.deepEqual(heard, ['granted 10', 'revoked 10', 'replaced']);
  });
});
