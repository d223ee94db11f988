import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeNames } from './names.ts';
import { startNameServer } from './testing/name-server.ts';

test('an address stands for itself, localhost for one of this machine', async () => {
  const names = new NodeNames();
  assert.deepEqual(await names.addresses('192.0.2.7'), ['192.0.2.7']);
  assert.deepEqual(await names.addresses('::1'), ['::1']);
  assert.equal((await names.addresses('localhost'))[0], '127.0.0.1');
});

// Goal: the records of a service come from a name server over the network, the preferred first.
test('services are asked of the name server, in the order of preference', async () => {
  const server = await startNameServer(
    new Map([
      [
        '_etcd-server._tcp.example.test',
        [
          { target: 'two.test', port: 2381, priority: 20, weight: 0 },
          { target: 'one.test', port: 2380, priority: 10, weight: 0 },
        ],
      ],
    ]),
  );
  try {
    const names = new NodeNames([server.address]);
    const found = await names.services('_etcd-server._tcp.example.test');
    assert.deepEqual(
      found.map(({ target, port }) => `${target}:${port}`),
      ['one.test:2380', 'two.test:2381'],
    );
    await assert.rejects(names.services('_other._tcp.example.test'), /ENOTFOUND/);
  } finally {
    server.close();
  }
});
