import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { eventually } from '../support/conditions.ts';
import { startServer } from '../support/server.ts';
import { compare } from './golden.ts';
import { ask } from './http.ts';
import { POLICY_FLAGS, policySteps, type Step, steps } from './requests.ts';

const skip = needsPeer('etcd');

async function compareAll(context: TestContext, all: readonly Step[], flags: string[]): Promise<void> {
  const servers = await Promise.all([startServer({ product: 'etcd', flags }), startServer({ product: 'etsd', flags })]);
  try {
    // Decided a moment after the start, and part of what is compared.
    for (const { clientPort } of servers) {
      await eventually(30_000, 'a version of the cluster', async () => {
        const { body } = await ask(clientPort, { method: 'GET', path: '/version', headers: { host: 'good.example' } });
        return String(body).includes('not_decided') ? null : true;
      });
    }
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
