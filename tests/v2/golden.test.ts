import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsPeer } from '../support/binaries.ts';
import { startServer } from '../support/server.ts';
import { compare } from './compare.ts';
import { type Step, steps, stepsWithout } from './requests.ts';

const skip = needsPeer('etcd');

async function compareAll(context: TestContext, all: readonly Step[], flags: string[]): Promise<void> {
  const servers = await Promise.all([startServer({ product: 'etcd', flags }), startServer({ product: 'etsd', flags })]);
  try {
    const differences = await compare(all, servers[0].clientPort, servers[1].clientPort);
    context.diagnostic(`${all.length} requests compared`);
    const report = differences.map(({ asked, left, right }) => `── ${asked}\netcd: ${left}\netsd: ${right}`);
    assert.equal(report.join('\n\n'), '');
  } finally {
    for (const server of servers) await server.dispose();
  }
}

// Goal: what was written for etcd 2 finds the same API. Method: the same requests to both, in order, bad ones included;
// statuses, headers and bodies to the byte, but for times and ids.
test('the API of etcd 2 answers as etcd does', { skip }, async (context) => {
  assert.ok(steps().length >= 300, 'the list has shrunk');
  await compareAll(context, steps(), ['--enable-v2']);
});

test('without the flag nothing is there, as in etcd', { skip }, async (context) => {
  await compareAll(context, stepsWithout(), []);
});
