import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsPeer } from '../support/binaries.ts';
import { startServer } from '../support/server.ts';
import { compare } from './golden.ts';
import { POLICY_FLAGS, policySteps, type Step, steps } from './requests.ts';

const skip = needsPeer('etcd');

async function compareAll(context: TestContext, all: readonly Step[], flags: string[]): Promise<void> {
  const servers = await Promise.all([startServer({ product: 'etcd', flags }), startServer({ product: 'etsd', flags })]);
  try {
    const { compared, differences } = await compare(all, servers[0].clientPort, servers[1].clientPort);
    context.diagnostic(`${compared} requests compared`);
    const report = differences.map(({ asked, left, right }) => `── ${asked}\netcd: ${left}\netsd: ${right}`);
    assert.equal(report.join('\n\n'), '');
  } finally {
    for (const server of servers) await server.dispose();
  }
}

// Goal: what was written for etcd's gateway finds the same one. Method: the same requests to both, answers to the byte.
test('the JSON gateway and what is beside it answer as etcd does', { skip }, async (context) => {
  assert.ok(steps().length >= 500, 'the list has shrunk');
  await compareAll(context, steps(), []);
});

test('so do lists of origins and of host names', { skip }, async (context) => {
  await compareAll(context, policySteps(), POLICY_FLAGS);
});
