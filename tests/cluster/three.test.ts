import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { findPeerProgram, needsPeer } from '@etsd/testkit';
import type { Message } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

const product = (process.env['ETSD_TEST_PRODUCT'] ?? 'etsd') as Product;
const skip = product === 'etcd' ? needsPeer('etcd') : false;
/** Twice the election timeout of a second, since timeouts are drawn between one and two, and something for a busy machine. */
const ELECTION_MS_MAX = 5000;

/** A table without what belongs to one cluster or one build. */
function settled(table: string): string[] {
  const rows = table
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('│'));
  return rows.map((row) => {
    const cells = row
      .split('│')
      .slice(1, -1)
      .map((cell) => cell.trim());
    return cells
      .map((cell) => cell.replace(/^127\.0\.0\.1:\d+$/, 'ENDPOINT').replace(/^[0-9a-f]{9,16}$/, 'ID'))
      .join(' | ');
  });
}

async function statusTable(products: Product[]): Promise<string[]> {
  await using cluster = await TestCluster.start({ products });
  const leader = await cluster.agreed();
  await cluster.client(leader).expect('KV/Put', { key: Buffer.from('a'), value: Buffer.from('1') });
  await cluster.caughtUp();
  const args = ['--endpoints', cluster.endpoints, 'endpoint', 'status', '-w', 'table'];
  return settled(execFileSync(findPeerProgram('etcdctl') as string, args, { encoding: 'utf8' }));
}

// Goal: an operator's first look at a cluster shows what it shows with etcd: columns, one leader, one term, one index.
test('etcdctl endpoint status prints the same table as for etcd', { skip: needsPeer('etcd', 'etcdctl') }, async () => {
  // Which of the three leads is chance, and so is how big a fresh file is; how often they had to vote, too.
  const shape = (rows: string[]): unknown => {
    const [head, ...members] = rows.map((row) => row.split(' | ')) as [string[], ...string[][]];
    const of = (name: string): string[] => members.map((row) => row[head.indexOf(name)] as string);
    const indexes = of('RAFT INDEX');
    assert.equal(new Set(indexes).size, 1, `one index: ${indexes}`);
    assert.deepEqual(of('RAFT APPLIED INDEX'), indexes);
    assert.equal(new Set(of('RAFT TERM')).size, 1, `one term: ${of('RAFT TERM')}`);
    return {
      head,
      leaders: of('IS LEADER').sort(),
      learners: of('IS LEARNER'),
      versions: of('VERSION').map((version) => version.replace(/\d+$/, '')),
      errors: of('ERRORS'),
      ids: of('ID'),
      endpoints: of('ENDPOINT'),
    };
  };
  const ours = shape(await statusTable([product, product, product]));
  assert.deepEqual(ours, shape(await statusTable(['etcd', 'etcd', 'etcd'])));
});

// Goal: any one of three may vanish: writes go on within an election, and what was written is on all three in the end.
test(`${product}: the death of any one member stops nothing for longer than an election`, { skip }, async (context) => {
  await using cluster = await TestCluster.start({ products: [product, product, product] });
  await cluster.agreed();
  let written = 0;
  const write = async (): Promise<void> => {
    const value = Buffer.from(String(++written));
    await eventually(ELECTION_MS_MAX, `write ${written}`, async () => {
      for (const member of cluster.running) {
        const { code } = await cluster
          .client(member)
          .call('KV/Put', { key: Buffer.from(`key${written}`), value }, 1000);
        if (code === 0) return true;
      }
      return null;
    });
  };
  for (const victim of [...cluster.members]) {
    for (let count = 0; count < 20; count++) await write();
    const role = (await cluster.leader()) === victim ? 'leader' : 'follower';
    await victim.kill();
    const started = performance.now();
    await write();
    context.diagnostic(
      `${role} ${victim.membership.name} killed: written ${(performance.now() - started).toFixed(0)} ms later`,
    );
    for (let count = 0; count < 20; count++) await write();
    await victim.start();
    await cluster.agreed();
  }
  const revision = await cluster.caughtUp();
  const answers = new Set<string>();
  for (const member of cluster.members) {
    const request = { key: Buffer.from('key'), range_end: Buffer.from('kez'), serializable: true };
    const { kvs } = (await cluster.client(member).expect('KV/Range', request)) as { kvs: Message[] };
    assert.equal(kvs.length, written, member.membership.name);
    answers.add(JSON.stringify(kvs));
  }
  assert.equal(answers.size, 1, 'the same keys at the same revisions on all three');
  const hashes = [...(await cluster.hashes(revision)).values()].map(({ hash }) => hash);
  assert.equal(new Set(hashes).size, 1, `hashes ${hashes}`);
});
