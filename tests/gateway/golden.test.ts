import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '../support/binaries.ts';
import { startServer } from '../support/server.ts';
import { compare } from './golden.ts';

// Goal: what was written for etcd's gateway finds the same one. Method: the same requests to both, answers to the byte.
test('the JSON gateway and what is beside it answer as etcd does', { skip: needsPeer('etcd') }, async (context) => {
  const servers = await Promise.all([startServer({ product: 'etcd' }), startServer({ product: 'etsd' })]);
  try {
    const { compared, differences } = await compare(servers[0].clientPort, servers[1].clientPort);
    context.diagnostic(`${compared} requests compared`);
    const report = differences.map(({ asked, left, right }) => `── ${asked}\netcd: ${left}\netsd: ${right}`);
    assert.equal(report.join('\n\n'), '');
    assert.ok(compared >= 500, 'the list has shrunk');
  } finally {
    for (const server of servers) await server.dispose();
  }
});
