/**
 * Goal: whoever watches etcd by its figures can watch etsd by the same ones. Method: three members of each product are given
 * the same work with `--metrics extensive`; of what their leaders then show, names, types, labels and buckets have to be the
 * same, and so have the counts of what the work was.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { TestCluster } from '../support/cluster.ts';
import type { Product } from '../support/server.ts';
import { OUR_OWN } from './documented.ts';
import { COUNTED_METHODS, runLoad } from './load.ts';
import { type Family, parsePage, readPage, type Sample } from './pages.ts';

/** What only a program in Go has; COMPAT.md lists them. */
const OF_GO = /^go_(?!threads$)/;
/** What etcd shows only once something went wrong that need not go wrong here. */
const BY_CHANCE = /^etcd_network_peer_received_failures_total$/;

/** Labels that name a member or a program: there is one, whatever it is. */
const NAMING = new Set(['To', 'From', 'Local', 'Remote', 'server_id', 'server_go_version']);

/** Figures without labels that the same work has to bring to the same value. */
const COUNTS = [
  'etcd_debugging_lease_granted_total',
  'etcd_debugging_lease_renewed_total',
  'etcd_debugging_lease_revoked_total',
  'etcd_debugging_mvcc_compact_revision',
  'etcd_debugging_mvcc_current_revision',
  'etcd_debugging_mvcc_db_compaction_keys_total',
  'etcd_debugging_mvcc_events_total',
  'etcd_debugging_mvcc_keys_total',
  'etcd_debugging_mvcc_total_put_size_in_bytes',
  'etcd_debugging_mvcc_watch_stream_total',
  'etcd_debugging_mvcc_watcher_total',
  'etcd_debugging_server_lease_expired_total',
  'etcd_mvcc_delete_total',
  'etcd_mvcc_put_total',
  'etcd_mvcc_txn_total',
  'etcd_server_health_failures',
  'etcd_server_health_success',
  'etcd_server_has_leader',
  'etcd_server_is_leader',
  'etcd_server_proposals_failed_total',
  'etcd_server_proposals_pending',
  'etcd_server_quota_backend_bytes',
];

async function pageAfterLoad(product: Product): Promise<Map<string, Family>> {
  await using cluster = await TestCluster.start({
    products: [product, product, product],
    flags: ['--metrics', 'extensive'],
  });
  const leader = await runLoad(cluster);
  return parsePage(await readPage(leader.clientPort));
}

/** The labels of a family, value by value, but for those that name somebody. */
function labelSets({ samples }: Family): string[] {
  const shown = samples.map(({ name, labels }) => {
    const pairs = Object.entries(labels)
      .filter(([label]) => label !== 'le')
      .map(([label, value]) => `${label}=${NAMING.has(label) ? '…' : value}`);
    return `${name}{${pairs.sort().join(',')}}`;
  });
  return [...new Set(shown)].sort();
}

function bucketsOf({ samples }: Family): string[] {
  return [...new Set(samples.map(({ labels }) => labels['le'] ?? ''))];
}

describe('figures after the same work', { skip: needsPeer('etcd') }, () => {
  let theirs: Map<string, Family>;
  let ours: Map<string, Family>;
  let shared: [Family, Family][];

  before(async () => {
    [theirs, ours] = await Promise.all([pageAfterLoad('etcd'), pageAfterLoad('etsd')]);
    shared = [...theirs].flatMap(([name, family]) => {
      const own = ours.get(name);
      return own === undefined ? [] : [[family, own] as [Family, Family]];
    });
  });
  after(() => theirs?.clear());

  it('have the same names, and each its explanation', () => {
    const wanted = [...theirs.keys()].filter((name) => !OF_GO.test(name));
    assert.deepEqual(
      wanted.filter((name) => !ours.has(name)),
      [],
      'missing',
    );
    assert.deepEqual(
      [...ours.keys()].filter((name) => !theirs.has(name) && !OUR_OWN.test(name) && !BY_CHANCE.test(name)),
      [],
      'unknown to etcd',
    );
    for (const { name, help } of ours.values()) assert.notEqual(help, '', name);
  });

  it('have the same types, labels and buckets', () => {
    for (const [family, own] of shared) {
      assert.equal(own.type, family.type, family.name);
      assert.deepEqual(bucketsOf(own), bucketsOf(family), family.name);
      assert.deepEqual(labelSets(own), labelSets(family), family.name);
    }
  });

  it('count the same', () => {
    const counted = (families: Map<string, Family>): [string, number | undefined][] =>
      COUNTS.map((name) => [name, families.get(name)?.samples[0]?.value]);
    assert.deepEqual(counted(ours), counted(theirs));
    const calls = (families: Map<string, Family>): Map<string, number> =>
      new Map(
        [...families.values()]
          .filter(({ name }) => /^grpc_server_(?:started|handled|msg_received)_total$/.test(name))
          .flatMap(({ samples }) => samples)
          .filter(({ labels }) => COUNTED_METHODS.has(labels['grpc_method'] ?? ''))
          .map((sample) => [describeSample(sample), sample.value]),
      );
    assert.deepEqual(calls(ours), calls(theirs));
  });

  it('count applied entries by kind and outcome', () => {
    const applied = (families: Map<string, Family>): Map<string, number> =>
      new Map(
        (families.get('etcd_server_apply_duration_seconds')?.samples ?? [])
          .filter(({ name, labels }) => name.endsWith('_count') && labels['version'] === 'v3')
          .map((sample) => [describeSample(sample), sample.value]),
      );
    assert.deepEqual(applied(ours), applied(theirs));
  });
});

function describeSample({ name, labels }: Sample): string {
  return `${name}${JSON.stringify(Object.entries(labels).sort())}`;
}
