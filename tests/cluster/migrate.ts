import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findPeerProgram } from '@etsd/testkit';
import type { Scene } from '../chaos/run.ts';
import type { Message } from '../support/client.ts';
import type { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product, TestServer } from '../support/server.ts';

const PATIENCE_MS = 60_000;

/**
 * What docs/migration.md tells an operator to do, with the same commands: every member is replaced by one of the other
 * product, one after the other, while clients go on.
 */
export function replaceAll(to: Product): (scene: Scene) => Promise<void> {
  return async (scene) => {
    const old = scene.cluster.members.filter(({ product }) => product !== to);
    for (const member of old) await replace(scene, member, to);
  };
}

async function replace(scene: Scene, old: TestServer, to: Product): Promise<void> {
  const { cluster } = scene;
  const fresh = await cluster.newcomer(to);
  const { name, advertisePeerUrl } = fresh.membership;
  const added = await ctl(cluster, null, 'member', 'add', name, '--learner', `--peer-urls=${advertisePeerUrl}`);
  fresh.membership.initialCluster = /ETCD_INITIAL_CLUSTER="([^"]+)"/.exec(added)?.[1] ?? '';
  const id = /Member +([0-9a-f]+) +added/.exec(added)?.[1] as string;
  scene.note(`${to} ${name} joins as a learner`);
  fresh.launch();
  // Refused for as long as the learner lags behind.
  await ctl(cluster, /can only promote a learner member(?! which)/, 'member', 'promote', id);
  await fresh.ready();
  scene.joined(fresh);
  await equalHashes(cluster);
  const oldId = idIn(await ctl(cluster, null, 'member', 'list'), old.membership.name);
  scene.leaving(old);
  await ctl(cluster, /member not found/i, 'member', 'remove', oldId);
  scene.note(`${old.product} ${old.membership.name} is replaced by ${to} ${name}`);
  await cluster.forget(old);
}

function idIn(list: string, name: string): string {
  const line = list.split('\n').find((one) => one.includes(` ${name}, `));
  if (line === undefined) throw new Error(`no ${name} in:\n${list}`);
  return line.split(',')[0] as string;
}

/**
 * `etcdctl` of the real one, until it succeeds; its errors pass while a leader is chosen or a member not ready. `done`: what
 * it says where it was done before and only the answer was lost.
 */
async function ctl(cluster: TestCluster, done: RegExp | null, ...words: string[]): Promise<string> {
  let last = '';
  return await eventually(
    PATIENCE_MS,
    `etcdctl ${words.join(' ')}`,
    async () => {
      // A learner answers no more than the status, so it is not asked.
      const voters = cluster.members.filter((member) => member.isReady).map((member) => member.address);
      try {
        const args = ['--endpoints', voters.join(','), ...words];
        return (await promisify(execFile)(findPeerProgram('etcdctl') as string, args)).stdout;
      } catch (error) {
        last = String((error as { stderr?: string }).stderr ?? error).slice(-300);
        return done?.test(last) === true ? '' : null;
      }
    },
    200,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it said: ${last}`);
  });
}

/** `endpoint hashkv` over all members, at one revision; asked again where a compaction came in between. */
async function equalHashes(cluster: TestCluster): Promise<void> {
  const [first] = cluster.running as [TestServer];
  await eventually(PATIENCE_MS, 'hashes of one state', async () => {
    const { response } = await cluster.client(first).call('KV/Range', { key: Buffer.from('a') }, 5000);
    if (response === null) return null;
    const hashes = await cluster.hashes(Number((response['header'] as Message)['revision']));
    const answers = [...hashes.values()];
    if (new Set(answers.map(({ compactRevision }) => compactRevision)).size > 1) return null;
    if (new Set(answers.map(({ hash }) => hash)).size === 1) return true;
    throw new Error(`hashes differ: ${JSON.stringify([...hashes])}`);
  });
}
