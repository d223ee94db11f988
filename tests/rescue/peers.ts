/**
 * Members with peers whose directories are damaged while they are down: three processes, a client that remembers what was
 * acknowledged, and in each round one member that is ended, damaged and started again, while the others go on.
 *
 *     node tests/rescue/peers.ts --runs 50 --seed 7
 *
 * Allowed is: it starts, has everything that was acknowledged as soon as it has caught up, and never serves anything else; or
 * it refuses with file and position, and one command lets it fetch everything from its peers.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Prng } from '@etsd/base';
import { NODE, ROOT } from '../support/binaries.ts';
import type { Message } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import { damage, PLACE } from './damage.ts';

/** Other programs share the machine. */
const PATIENT_MS = 120_000;
const KEYS = 40;
const WRITES = 60;
const ALL = { key: Buffer.from([0]), range_end: Buffer.from([0]) };

export interface Result {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of our tools as a process of its own. */
export function tool(name: 'etsdutl' | 'etsdctl', ...words: string[]): Promise<Result> {
  return new Promise((resolve) => {
    const args = [join(ROOT, `packages/cli/bin/${name}.ts`), ...words];
    execFile(NODE, args, { timeout: PATIENT_MS }, (error, stdout, stderr) => {
      resolve({ exit: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

export const directoryOf = (member: ClusterMember): string => join(member.dataDir, 'member.etcd');

/** What was acknowledged: by revision, the keys as they were then. */
export class Acknowledged {
  revision = 1;
  private readonly states = new Map<number, ReadonlyMap<string, string>>();
  private live = new Map<string, string>();

  /** Writes through one member, one after the other; each must succeed. */
  async write(cluster: TestCluster, through: ClusterMember, prng: Prng, count: number): Promise<void> {
    const client = cluster.client(through);
    for (let at = 0; at < count; at++) {
      const name = `key-${prng.below(KEYS)}`;
      const key = Buffer.from(name);
      const live = new Map(this.live);
      let answer: Message;
      if (prng.chance(0.15) && live.has(name)) {
        answer = await client.expect('KV/DeleteRange', { key }, PATIENT_MS);
        live.delete(name);
      } else {
        const value = Buffer.alloc(prng.chance(0.1) ? 5000 : 1 + prng.below(300), prng.chance(0.2) ? 0 : at + 1);
        answer = await client.expect('KV/Put', { key, value }, PATIENT_MS);
        live.set(name, value.toString('base64'));
      }
      this.revision = Number((answer['header'] as Message)['revision']);
      this.live = live;
      this.states.set(this.revision, live);
    }
  }

  /** Compares what a member says by itself, asking nobody, with what was acknowledged, at its newest and some older revisions. */
  async judge(cluster: TestCluster, member: ClusterMember): Promise<number> {
    const client = cluster.client(member);
    const now = await client.expect('KV/Range', { ...ALL, serializable: true, count_only: true }, PATIENT_MS);
    const newest = Number((now['header'] as Message)['revision']);
    for (let revision = newest; revision > Math.max(1, newest - 200); revision -= 29) {
      const request = { ...ALL, serializable: true, revision: String(revision) };
      const { kvs } = await client.expect('KV/Range', request, PATIENT_MS);
      const found = (kvs as { key: Buffer; value: Buffer }[]).map(({ key, value }) => [
        key.toString(),
        value.toString('base64'),
      ]);
      const expected = [...(this.states.get(revision) ?? [])];
      const sorted = (entries: string[][]): string => JSON.stringify(entries.sort());
      assert.equal(sorted(found as string[][]), sorted(expected), `${member.membership.name} at revision ${revision}`);
    }
    return newest;
  }
}

/** `etsdutl rebuild`, the command that it prints for the start, and the one for the vote. */
export async function rebuild(cluster: TestCluster, member: ClusterMember): Promise<void> {
  const others = cluster.running.map(({ address }) => address).join(',');
  const done = await tool('etsdutl', 'rebuild', directoryOf(member), '--endpoints', others, '-w', 'json');
  assert.equal(done.exit, 0, done.stderr);
  const { start, promote, aside } = JSON.parse(done.stdout) as Record<'start' | 'promote' | 'aside', string>;
  const words = start.split(' ');
  const flag = (name: string): string => words[words.indexOf(name) + 1] as string;
  assert.equal(flag('--data-dir'), directoryOf(member));
  assert.equal(flag('--name'), member.membership.name);
  member.membership.state = flag('--initial-cluster-state') as 'existing';
  member.membership.initialCluster = flag('--initial-cluster');
  await member.start();
  await eventually(PATIENT_MS, 'it has its vote', async () => {
    const { exit } = await tool('etsdctl', ...promote.split(' ').slice(1));
    return exit === 0 ? true : null;
  });
  rmSync(aside, { recursive: true, force: true });
}

export type PeerOutcome = 'started' | 'rebuilt';

/** Ends, damages and starts one member; what became of it. */
async function round(
  cluster: TestCluster,
  told: Acknowledged,
  prng: Prng,
): Promise<{ outcome: PeerOutcome; what: string }> {
  const victim = prng.pick(cluster.members);
  const through = prng.pick(cluster.members.filter((member) => member !== victim));
  await told.write(cluster, prng.pick(cluster.members), prng, WRITES);
  if (prng.chance(0.5)) await victim.kill();
  else await victim.stop(PATIENT_MS);
  await cluster.agreed(PATIENT_MS);
  if (prng.chance(0.5)) await told.write(cluster, through, prng, WRITES);
  const { name, what } = damage(directoryOf(victim), prng);
  const did = `${victim.membership.name}: ${name} ${what}`;
  victim.logs = [];
  victim.launch();
  try {
    await victim.ready().catch(() => {});
    if (!victim.isRunning) {
      assert.match(victim.log, PLACE, 'a refusal says where');
      await rebuild(cluster, victim);
    }
    // What it serves before it has caught up may be old, never wrong.
    await told.judge(cluster, victim);
    await told.write(cluster, through, prng, 5);
    await eventually(PATIENT_MS, 'it has everything', async () =>
      (await told.judge(cluster, victim)) === told.revision ? true : null,
    );
    const hashes = [...(await cluster.hashes(told.revision)).values()].map(({ hash }) => hash);
    assert.equal(new Set(hashes).size, 1, `hashes ${hashes}`);
  } catch (error) {
    throw new Error(`${did}: ${(error as Error).message}\n${victim.tail(5)}`, { cause: error });
  }
  return { outcome: victim.membership.state === 'existing' ? 'rebuilt' : 'started', what: did };
}

export async function damagedPeers(
  seed: number,
  runs: number,
  each: (line: string) => void = () => {},
): Promise<Record<PeerOutcome, number>> {
  const root = mkdtempSync(join(tmpdir(), 'etsd-peers-'));
  const outcomes: Record<PeerOutcome, number> = { started: 0, rebuilt: 0 };
  const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'], dataRoot: root });
  try {
    const told = new Acknowledged();
    await cluster.agreed(PATIENT_MS);
    for (let run = 0; run < runs; run++) {
      const prng = new Prng(seed * 100_000 + run);
      for (const member of cluster.members) member.membership.state = 'new';
      const { outcome, what } = await round(cluster, told, prng).catch((error: Error) => {
        throw new Error(`seed ${seed}, run ${run}: ${error.message}`, { cause: error });
      });
      outcomes[outcome]++;
      each(`run ${run}: ${outcome}: ${what}`);
    }
    return outcomes;
  } finally {
    await cluster.dispose();
    rmSync(root, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { seed: { type: 'string', default: '1' }, runs: { type: 'string', default: '20' } },
  });
  console.log(JSON.stringify(await damagedPeers(Number(values.seed), Number(values.runs), console.log)));
}
