import type { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product, TestServer } from '../support/server.ts';
import type { Scene } from './run.ts';

const MEMBERS_MIN = 3;
const MEMBERS_MAX = 5;
const READY_MS = 60_000;

/**
 * Changes who belongs to the cluster, at random, until so many changes are done and nobody of the first members is left:
 * members are added, as voters or as learners that are promoted, and removed, leaders too. Each kind of product is replaced by
 * its own kind, so that a mixed cluster stays mixed.
 */
export function churn(changes: number): (scene: Scene) => Promise<void> {
  return async (scene) => {
    const { cluster, prng } = scene;
    const first = new Set(cluster.members);
    const missing: Product[] = [];
    for (let done = 0; done < changes || first.size > 0; ) {
      const mayAdd = cluster.members.length < MEMBERS_MAX;
      const mayRemove = cluster.members.length > MEMBERS_MIN;
      if (mayAdd && (!mayRemove || prng.chance(0.5))) {
        const product = missing.pop() ?? prng.pick(cluster.members).product;
        done += await add(scene, product, prng.chance(0.5));
      } else {
        const old = cluster.members.filter((member) => first.has(member));
        const leader = await cluster.leader();
        const victim = prng.chance(0.3) && leader !== null ? leader : prng.pick(old.length > 0 ? old : cluster.members);
        await remove(scene, victim, victim === leader);
        first.delete(victim);
        missing.push(victim.product);
        done++;
      }
    }
  };
}

/** Answers how many changes that were. */
async function add(scene: Scene, product: Product, isLearner: boolean): Promise<number> {
  const member = await scene.cluster.addMember(product, { isLearner });
  const { name } = member.membership;
  scene.note(`added ${product} ${name}${isLearner ? ' as a learner' : ''}`);
  member.launch();
  if (isLearner) await promote(scene.cluster, member);
  await member.ready();
  scene.joined(member);
  scene.note(`${name} serves`);
  return isLearner ? 2 : 1;
}

async function remove(scene: Scene, member: TestServer, isLeader: boolean): Promise<void> {
  scene.note(`removing ${isLeader ? 'leader ' : ''}${member.membership.name}`);
  scene.leaving(member);
  await scene.cluster.removeMember(member);
}

/** Makes a learner a voter once the leader finds that it has what the leader has. */
async function promote(cluster: TestCluster, member: TestServer): Promise<void> {
  const id = await cluster.idOf(member);
  let last = '';
  await eventually(
    READY_MS,
    `${member.membership.name} is promoted`,
    async () => {
      const leader = (await cluster.leader()) ?? cluster.members[0];
      const { code, message } = await cluster
        .client(leader as TestServer)
        .call('Cluster/MemberPromote', { ID: id }, 5000);
      last = message;
      // An answer that was lost may have been a yes.
      return code === 0 || /can only promote a learner member$/.test(message) ? true : null;
    },
    200,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; last answer: ${last}\n${member.tail(10)}`);
  });
}
