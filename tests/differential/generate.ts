import { EMPTY, keyFromBytes, keyToBytes, type Prng, prefixEnd } from '@etsd/base';
import type { Message } from '../support/client.ts';
import type { Op, View } from './ops.ts';

const INT64_MAX = '9223372036854775807';
const INT64_MIN = '-9223372036854775808';
const SORT_TARGETS = ['KEY', 'VERSION', 'CREATE', 'MOD', 'VALUE'] as const;
const COMPARE_TARGETS = ['VERSION', 'CREATE', 'MOD', 'VALUE', 'LEASE'] as const;
const COMPARE_RESULTS = ['EQUAL', 'GREATER', 'LESS', 'NOT_EQUAL'] as const;

/** Keys that have broken stores before: borders of the byte range, prefixes of each other, long ones, other scripts. */
const ODD_KEYS = [
  '\0',
  '\0\0',
  '\x01',
  '\xff',
  '\xff\xff',
  '\xff\0',
  '\xfe',
  'a',
  'a\0',
  'a\xff',
  'a\xff\xff',
  'aa',
  'ab',
  'b',
  'foo',
  'foo/',
  'foo/bar',
  'foo/bar\0',
  'foo0',
  'fop',
  '\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87',
  'x'.repeat(300),
  `${'x'.repeat(300)}\0`,
  'y'.repeat(3000),
  '%s%n',
  '../../etc',
  ' ',
];
const ODD_BYTES = [0, 0, 1, 0x2f, 0x61, 0x61, 0x7f, 0x80, 0xfe, 0xff, 0xff];

/**
 * Draws operations. Everything comes from the generator's own random source and from what both servers agreed upon, so
 * the same seed against servers that behave alike gives the same operations.
 */
export class Generator {
  private readonly prng: Prng;
  private readonly txnRevisions: boolean;
  private readonly leases: string[] = [];
  private readonly weights: [number, () => Op][];
  private totalWeight = 0;
  /**
   * Whether the transaction being drawn may delete. If so, its puts keep no value or lease of before: etcd 3.5 ends
   * itself when such a put finds that the same transaction has deleted the key over an open range.
   */
  private deletesInTxn = true;
  private view: View = { revision: 1, compactRevision: 0, streams: [] };

  constructor(prng: Prng, txnRevisions = true) {
    this.prng = prng;
    this.txnRevisions = txnRevisions;
    for (let index = 1; index <= 12; index++) this.leases.push(String(index * 1000 + 7));
    this.leases.push('1', '-1', '-77', INT64_MAX, INT64_MIN, '4611686018427387905', '72057594037927936');
    this.weights = [
      [22, () => ({ kind: 'call', method: 'KV/Put', request: this.put() })],
      [22, () => ({ kind: 'call', method: 'KV/Range', request: this.range(true) })],
      [9, () => ({ kind: 'call', method: 'KV/DeleteRange', request: this.deleteRange() })],
      [17, () => ({ kind: 'call', method: 'KV/Txn', request: this.txn(0, 8) })],
      [1.2, () => ({ kind: 'call', method: 'KV/Compact', request: this.compaction() })],
      [3, () => ({ kind: 'call', method: 'Maintenance/HashKV', request: { revision: this.revision() } })],
      [4, () => ({ kind: 'call', method: 'Lease/LeaseGrant', request: { ID: this.lease(), TTL: this.longTtl() } })],
      [2, () => ({ kind: 'call', method: 'Lease/LeaseRevoke', request: { ID: this.lease() } })],
      [3, () => ({ kind: 'call', method: 'Lease/LeaseTimeToLive', request: { ID: this.lease(), keys: this.often() } })],
      [1, () => ({ kind: 'call', method: 'Lease/LeaseLeases', request: {} })],
      [0.3, () => ({ kind: 'call', method: 'Maintenance/Alarm', request: { action: 'GET', alarm: 'NONE' } })],
      [0.4, () => ({ kind: 'grant-auto', ttl: this.longTtl() })],
      [0.4, () => ({ kind: 'grant-short', id: '555', ttl: this.prng.pick(['-5', '0', '1', '2', INT64_MIN]) })],
      [1, () => ({ kind: 'keep-alive', ids: [this.lease(), this.lease(), this.lease()] })],
      [6, () => this.watch()],
      [0.5, () => ({ kind: 'settle' })],
    ];
    for (const [weight] of this.weights) this.totalWeight += weight;
  }

  next(view: View): Op {
    this.view = view;
    let point = this.prng.float() * this.totalWeight;
    for (const [weight, draw] of this.weights) {
      point -= weight;
      if (point < 0) return draw();
    }
    return { kind: 'settle' };
  }

  private often(): boolean {
    return this.prng.chance(0.5);
  }

  private seldom(probability = 0.08): boolean {
    return this.prng.chance(probability);
  }

  private key(): Buffer {
    const kind = this.prng.below(100);
    if (kind < 2) return EMPTY;
    if (kind < 45) return keyToBytes(`k${this.prng.below(40)}`);
    if (kind < 60) return keyToBytes(`dir/${this.prng.below(4)}/${this.prng.below(10)}`);
    if (kind < 85) return keyToBytes(this.prng.pick(ODD_KEYS));
    const bytes = Buffer.alloc(this.prng.between(1, 4));
    for (let index = 0; index < bytes.length; index++) bytes[index] = this.prng.pick(ODD_BYTES);
    return bytes;
  }

  private value(): Buffer {
    const kind = this.prng.below(200);
    if (kind < 10) return EMPTY;
    if (kind === 10) return Buffer.alloc(this.prng.between(10_000, 200_000), this.prng.u32() & 255);
    if (kind < 60) return keyToBytes(`v${this.prng.below(5)}`);
    return this.prng.bytes(this.prng.between(1, 40));
  }

  /** Every kind of end a range can have, the senseless ones too. */
  private rangeEnd(key: Buffer): Buffer {
    const kind = this.prng.below(100);
    if (kind < 40) return EMPTY;
    if (kind < 50) return Buffer.from([0]);
    if (kind < 68) return keyToBytes(prefixEnd(keyFromBytes(key)));
    if (kind < 72) return key;
    if (kind < 76) return Buffer.concat([key, Buffer.from([0])]);
    return this.key();
  }

  private revision(): string {
    const { revision, compactRevision } = this.view;
    const kind = this.prng.below(100);
    if (kind < 40) return '0';
    if (kind < 75) return String(this.prng.between(Math.max(compactRevision, 1), revision));
    if (kind < 80) return String(compactRevision);
    if (kind < 85) return String(compactRevision - this.prng.below(3));
    if (kind < 90) return String(revision + this.prng.below(2));
    if (kind < 93) return String(revision + this.prng.below(2000));
    if (kind < 95) return '1';
    return this.prng.pick(['-1', '-100', INT64_MAX, INT64_MIN, '9007199254740993', '4294967296']);
  }

  private limit(): string {
    const kind = this.prng.below(100);
    if (kind < 55) return '0';
    if (kind < 92) return String(this.prng.below(12));
    return this.prng.pick(['-1', '100000', INT64_MAX, INT64_MIN, '4294967297']);
  }

  private bound(): string {
    if (this.prng.chance(0.85)) return '0';
    if (this.seldom()) return this.prng.pick(['-3', INT64_MAX, INT64_MIN]);
    return String(this.prng.between(Math.max(1, this.view.revision - 60), this.view.revision + 1));
  }

  private lease(): string {
    return this.prng.pick(this.leases);
  }

  /** Times so long that nothing expires during a run, and some that are refused. */
  private longTtl(): string {
    const kind = this.prng.below(100);
    if (kind < 80) return String(this.prng.between(100_000, 200_000));
    if (kind < 90) return '9000000000';
    return this.prng.pick(['9000000001', INT64_MAX]);
  }

  /** `alone`: not within a transaction, where a request that one version refuses would leave different data behind. */
  private range(alone: boolean): Message {
    const key = this.key();
    const sorted = this.prng.chance(0.35);
    return {
      key,
      range_end: this.rangeEnd(key),
      limit: this.limit(),
      revision: alone || this.txnRevisions ? this.revision() : '0',
      sort_order: sorted ? this.prng.pick(['NONE', 'ASCEND', 'DESCEND']) : alone && this.seldom(0.01) ? 7 : 'NONE',
      // Never a target outside the enumeration: it ends etcd 3.5 with a nil dereference.
      sort_target: sorted ? this.prng.pick(SORT_TARGETS) : 'KEY',
      serializable: this.seldom(0.2),
      keys_only: this.seldom(0.15),
      count_only: this.seldom(0.1),
      min_mod_revision: this.bound(),
      max_mod_revision: this.bound(),
      min_create_revision: this.bound(),
      max_create_revision: this.bound(),
    };
  }

  private put(mayIgnore = true): Message {
    const ignoreValue = mayIgnore && this.seldom();
    const ignoreLease = mayIgnore && this.seldom();
    return {
      key: this.key(),
      value: ignoreValue && !this.seldom() ? EMPTY : this.value(),
      lease: ignoreLease && !this.seldom() ? '0' : this.prng.chance(0.2) ? this.lease() : '0',
      prev_kv: this.seldom(0.3),
      ignore_value: ignoreValue,
      ignore_lease: ignoreLease,
    };
  }

  private deleteRange(): Message {
    const key = this.key();
    // Deleting everything is allowed, but not so often that the store is always empty.
    const wide = this.prng.chance(0.3);
    return { key, range_end: wide ? this.rangeEnd(key) : EMPTY, prev_kv: this.seldom(0.3) };
  }

  private compaction(): Message {
    const { revision, compactRevision } = this.view;
    const kind = this.prng.below(100);
    let target = String(this.prng.between(compactRevision + 1, Math.max(compactRevision + 1, revision - 20)));
    if (kind < 10) target = this.revision();
    else if (kind < 20) target = String(revision);
    return { revision: target, physical: this.often() };
  }

  private compare(): Message {
    const key = this.key();
    const target = this.prng.pick(COMPARE_TARGETS);
    const compare: Message = {
      key,
      target: this.seldom(0.01) ? 9 : target,
      result: this.seldom(0.01) ? 9 : this.prng.pick(COMPARE_RESULTS),
      range_end: this.prng.chance(0.2) ? this.rangeEnd(key) : EMPTY,
    };
    // Now and then the value is missing or belongs to another target.
    if (this.seldom(0.06)) return compare;
    const stated = this.seldom(0.06) ? this.prng.pick(COMPARE_TARGETS) : target;
    const near = String(this.prng.between(Math.max(0, this.view.revision - 20), this.view.revision));
    switch (stated) {
      case 'VERSION':
        compare['version'] = this.seldom() ? '-1' : String(this.prng.below(4));
        break;
      case 'CREATE':
        compare['create_revision'] = this.often() ? '0' : near;
        break;
      case 'MOD':
        compare['mod_revision'] = this.often() ? '0' : near;
        break;
      case 'VALUE':
        compare['value'] = this.often() ? keyToBytes(`v${this.prng.below(5)}`) : this.value();
        break;
      case 'LEASE':
        compare['lease'] = this.often() ? '0' : this.lease();
        break;
    }
    return compare;
  }

  private requestOp(depth: number, size: number): Message {
    const kind = this.prng.below(1000);
    if (kind < 3) return {};
    if (kind < 400) return { request_put: this.put(!this.deletesInTxn) };
    if (kind < 700) return { request_range: this.range(false) };
    if (kind < 880 || depth >= 3) {
      if (!this.deletesInTxn) return { request_range: this.range(false) };
      return { request_delete_range: this.deleteRange() };
    }
    return { request_txn: this.txn(depth + 1, size) };
  }

  private txn(depth: number, size: number): Message {
    // Rarely one operation too many, exactly the limit, or far beyond it.
    if (depth === 0) {
      if (this.seldom(0.01)) return this.hugeTxn();
      this.deletesInTxn = this.prng.chance(0.75);
    }
    const many = (limit: number, draw: () => Message): Message[] => {
      const list: Message[] = [];
      for (let left = this.prng.below(limit + 1); left > 0; left--) list.push(draw());
      return list;
    };
    const inner = Math.max(1, Math.floor(size / 2));
    return {
      compare: many(depth === 0 ? 3 : 2, () => this.compare()),
      success: many(size, () => this.requestOp(depth, inner)),
      failure: many(this.often() ? 0 : size, () => this.requestOp(depth, inner)),
    };
  }

  private hugeTxn(): Message {
    const size = this.prng.pick([127, 128, 129, 400]);
    const list = Array.from({ length: size }, (_unused, index) => ({
      request_put: { key: keyToBytes(`huge/${index}`), value: EMPTY },
    }));
    const compares = Array.from({ length: size }, () => this.compare());
    switch (this.prng.below(4)) {
      case 0:
        return { compare: compares, success: [], failure: [] };
      case 1:
        return { compare: [], success: [], failure: list };
      case 2:
        // The limit counts what is nested as well.
        return { compare: [], success: [{ request_txn: { success: list } }], failure: [] };
      default:
        return { compare: [], success: list, failure: [] };
    }
  }

  private watch(): Op {
    const { streams } = this.view;
    if (streams.length === 0 || (streams.length < 4 && this.seldom(0.1))) return { kind: 'watch-open' };
    const { slot: stream, watchers } = this.prng.pick(streams);
    const kind = this.prng.below(100);
    if (kind < 3) return { kind: 'watch-close', stream };
    if (kind < 15) return { kind: 'watch-progress', stream };
    if (kind < 35 || watchers.length >= 12) {
      const known = watchers.length > 0 && !this.seldom();
      return { kind: 'watch-cancel', stream, id: known ? this.prng.pick(watchers) : '123456' };
    }
    return { kind: 'watch-create', stream, request: this.watchCreate(watchers) };
  }

  private watchCreate(watchers: string[]): Message {
    const key = this.key();
    const filters: string[] = [];
    if (this.seldom(0.15)) filters.push('NOPUT');
    if (this.seldom(0.15)) filters.push('NODELETE');
    let id = '0';
    if (this.seldom(0.2)) id = this.prng.pick(['1', '2', '3', '5', '1000', '-7', INT64_MAX]);
    if (watchers.length > 0 && this.seldom(0.05)) id = this.prng.pick(watchers);
    return {
      key,
      range_end: this.rangeEnd(key),
      start_revision: this.revision(),
      progress_notify: this.seldom(0.2),
      filters,
      prev_kv: this.prng.chance(0.4),
      watch_id: id,
      fragment: this.seldom(0.2),
    };
  }
}
