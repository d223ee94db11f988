import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsPeer, needsPeer34 } from '@etsd/testkit';
import { type Product, startServer } from '../support/server.ts';
import { compare, type Difference } from './compare.ts';
import { type Step, steps, steps34, stepsWithout, UNLIKE_34, updates34 } from './requests.ts';

const skip = needsPeer('etcd');

interface Compared {
  readonly peer?: Product;
  readonly flags?: string[];
  /** What the peer may answer otherwise, and how that ends. */
  readonly unlike?: ReadonlyMap<string, RegExp>;
}

async function compareAll(context: TestContext, all: readonly Step[], compared: Compared): Promise<void> {
  const { peer = 'etcd', flags = ['--enable-v2'], unlike = new Map() } = compared;
  const servers = await Promise.all([startServer({ product: peer, flags }), startServer({ product: 'etsd', flags })]);
  try {
    const differences = await compare(all, servers[0].clientPort, servers[1].clientPort);
    context.diagnostic(`${all.length} requests compared`);
    const isKnown = ({ asked, left }: Difference): boolean => unlike.get(asked)?.test(left) === true;
    const report = differences
      .filter((difference) => !isKnown(difference))
      .map(({ asked, left, right }) => `── ${asked}\n${peer}: ${left}\netsd: ${right}`);
    assert.equal(report.join('\n\n'), '');
  } finally {
    for (const server of servers) await server.dispose();
  }
}

// Goal: what was written for etcd 2 finds the same API. Method: the same requests to both, in order, bad ones included;
// statuses, headers and bodies to the byte, but for times and ids.
test('the API of etcd 2 answers as etcd does', { skip }, async (context) => {
  assert.ok(steps().length >= 300, 'the list has shrunk');
  await compareAll(context, steps(), {});
});

test('without the flag nothing is there, as in etcd', { skip }, async (context) => {
  await compareAll(context, stepsWithout(), { flags: [] });
});

// Goal: who comes from the release before finds it as well. Method: the same against etcd 3.4; it answers otherwise where
// the two releases of etcd do, and nowhere else (docs/http-v2.md lists it).
test('etcd 3.4 answers the same but for what 3.5 has changed', { skip: needsPeer34() }, async (context) => {
  const compared: Compared = { peer: 'etcd-3.4', unlike: UNLIKE_34 };
  await Promise.all([steps34(), updates34()].map((all) => compareAll(context, all, compared)));
});
