// Goal: any member may archive, whoever leads: each archive is whole and leads to the state that the cluster agreed on,
// also where leaders were killed with entries that nobody else had. Method: three real members that share a directory.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { nodeWorld } from '@etsd/runtime/node';
import { type Chain, planRestore, readArchive, replayPlan } from '@etsd/server';
import type { Message } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import { prove } from './point-in-time.ts';

const { disk } = nodeWorld();
const WAIT_MS = 300_000;
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** HashKV of what the archive of one member leads to. */
async function restoredHash(
  chain: Chain,
  revision: number,
  place: string,
): Promise<{ hash: number; revision: number }> {
  const backend = new MemoryBackend();
  const plan = planRestore([chain], { kind: 'revision', revision }, { clusterId: '', memberId: '' });
  const { replay, restored } = await replayPlan(plan, backend, { disk, temporary: place, pause });
  const job = replay.store.hashKv(revision);
  if (job instanceof Error) throw job;
  while (!job.slice(1 << 20));
  return { hash: job.hash, revision: restored.revision };
}

test('each member of a cluster archives, through changes of leaders', { timeout: 900_000 }, async () => {
  const place = mkdtempSync(join(tmpdir(), 'archive-cluster-'));
  const archive = join(place, 'archive');
  const flags = ['--archive-dir', archive, '--archive-interval', '200ms', '--archive-base-interval', '2s'];
  const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'], flags });
  try {
    let revision = 1;
    const write = async (count: number): Promise<void> => {
      for (let at = 0; at < count; at++) {
        const request = { key: Buffer.from(`k${at % 40}`), value: Buffer.from(`${revision}`.padEnd(200, '.')) };
        // A leader that is killed takes the answer with it; what matters is what the cluster says in the end.
        const header = await eventually(WAIT_MS, 'a put', async () => {
          for (const member of cluster.running) {
            const { response } = await cluster.client(member).call('KV/Put', request, 5000);
            if (response !== null) return response['header'] as Message;
          }
          return null;
        });
        revision = Number(header['revision']);
      }
    };
    await write(120);
    for (let round = 0; round < 2; round++) {
      const leader = await eventually(WAIT_MS, 'a leader', () => cluster.leader());
      // Put to the leader alone, and not waited for: some of it may be nobody's.
      const lost = Array.from({ length: 30 }, (_unused, at) =>
        cluster.client(leader).call('KV/Put', { key: Buffer.from(`k${at}`), value: Buffer.from('late') }, 2000),
      );
      await leader.kill();
      await Promise.all(lost);
      await write(60);
      await leader.start();
      await write(20);
    }
    const [first] = cluster.members;
    assert.ok(first !== undefined);
    const hash = await cluster.client(first).expect('Maintenance/HashKV', { revision: String(revision) }, WAIT_MS);
    await eventually(WAIT_MS, 'everything archived by all', async () => {
      const chains = await readArchive(disk, archive);
      return chains.length === 3 && chains.every(({ end }) => (end?.revision ?? 0) >= revision) ? chains : null;
    });
    await Promise.all(cluster.members.map((member) => member.stop(WAIT_MS)));
    const chains = await readArchive(disk, archive);
    assert.equal(new Set(chains.map(({ name }) => name.memberId)).size, 3);
    assert.equal(new Set(chains.map(({ name }) => name.clusterId)).size, 1);
    for (const chain of chains) {
      const restored = await restoredHash(chain, revision, place);
      assert.deepEqual(restored, { hash: Number(hash['hash']), revision }, chain.name.directory);
      const proof = await prove(chain, join(place, 'proof'));
      assert.deepEqual(proof.problems, [], chain.name.directory);
    }
  } finally {
    await cluster.dispose();
    rmSync(place, { recursive: true, force: true });
  }
});
