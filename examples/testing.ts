/**
 * A program's own tests, with a member inside of the test's process: no port, no waiting, nothing left behind.
 * `node_modules/.bin/node --test examples/testing.ts`
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EtcdClient, prefix } from '@etsd/client';
import { memberFor } from '@etsd/server/testing';

/** What is to be tested: a service registers itself under a lease, and others list who is there. */
async function register(client: EtcdClient, name: string, address: string): Promise<void> {
  const { ID } = await client.leases.grant(10);
  await client.kv.put(`services/${name}`, address, { lease: ID });
}

async function services(client: EtcdClient): Promise<string[]> {
  const { kvs } = await client.kv.range(prefix('services/'));
  return kvs.map((kv) => kv.value.toString());
}

test('a service that registered is found', async (t) => {
  const { client } = await memberFor(t);
  await register(client, 'mail', '10.0.0.7:25');
  assert.deepEqual(await services(client), ['10.0.0.7:25']);
});

test('a service that says nothing for its time to live is gone', async (t) => {
  const { client, clock } = await memberFor(t);
  await register(client, 'mail', '10.0.0.7:25');
  await clock.advance(9_000);
  assert.equal((await services(client)).length, 1);
  await clock.advance(3_000);
  assert.deepEqual(await services(client), []);
});
