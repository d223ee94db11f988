import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { needsPeer } from '@etsd/testkit';
import { Client } from '../support/client.ts';
import type { Product, TestServer } from '../support/server.ts';

/** The server under test; ETSD_TEST_PRODUCT=etcd turns the tests on the real one, to check the tests. */
export const PRODUCT = (process.env['ETSD_TEST_PRODUCT'] ?? 'etsd') as Product;

export const skip = PRODUCT === 'etcd' ? needsPeer('etcd') : false;

/** For what is known to end etcd 3.5, or to be beyond it. */
export const skipOnEtcd = PRODUCT === 'etcd' ? 'real etcd 3.5 does not survive this' : skip;

/** How long a small request may take while the server is under attack. */
const PROMPT_MS = 2000;

/** Another client is served: it writes and reads back, promptly. */
export async function assertAlive(server: TestServer): Promise<void> {
  assert.ok(server.isRunning, `the server is gone: ${server.tail(20)}`);
  const client = new Client(server.address);
  try {
    const key = Buffer.from('still-alive');
    const started = Date.now();
    await client.expect('KV/Put', { key, value: Buffer.from('yes') }, PROMPT_MS * 5);
    const range = await client.expect('KV/Range', { key }, PROMPT_MS * 5);
    const took = Date.now() - started;
    assert.equal(range['count'], '1');
    assert.ok(took < PROMPT_MS, `a put and a range took ${took} ms`);
  } finally {
    client.close();
  }
}

/** Resident memory of the server in MiB. */
export function residentMiB(server: TestServer): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'));
  return Number(line?.[1]) / 1024;
}
