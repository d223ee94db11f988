// Goal: a log that was cut behind entries which changed nothing can be opened again. Method: a short log, many
// transactions that do nothing, a restart.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { startServer } from '../support/server.ts';

/** Puts a key if it is in its hundredth version, which it is not. */
const IDLE = {
  compare: [{ result: 'EQUAL', target: 'VERSION', key: Buffer.from('a'), version: '100' }],
  success: [{ request_put: { key: Buffer.from('a'), value: Buffer.from('c') } }],
  failure: [],
};

test('a member starts again after its log was cut behind transactions without effect', async () => {
  const server = await startServer({ product: 'etsd', flags: ['--snapshot-count', '20'] });
  const client = new Client(server.address);
  try {
    await client.expect('KV/Put', { key: Buffer.from('a'), value: Buffer.from('b') });
    const isCut = () => server.logs.filter((line) => line.includes('"cut the log"')).length >= 3;
    await eventually(20_000, 'the log is cut', async () => {
      const { code, message } = await client.call('KV/Txn', IDLE);
      assert.equal(code, 0, message);
      return isCut() ? true : null;
    });
    await server.stop();
    await server.start();
    const { count } = await client.expect('KV/Range', { key: Buffer.from('a') });
    assert.equal(count, '1');
  } finally {
    client.close();
    await server.dispose();
  }
});
