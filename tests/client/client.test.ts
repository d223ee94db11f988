/**
 * Goal: the client library keeps its promises on both servers, also while these are killed and started again. Method: a
 * member on disk, its clients in this process, SIGKILL in between.
 */
import { after, before, describe, test } from 'node:test';
import { EtcdClient } from '@etsd/client';
import { needsPeer } from '@etsd/testkit';
import { type Product, startServer, type TestServer } from '../support/server.ts';
import {
  type Connect,
  elections,
  everyday,
  guarded,
  intercepted,
  lockThroughKills,
  manyWatches,
  namespaces,
  slowReader,
  typedValues,
  upkeep,
  watchThroughKills,
} from './promises.ts';

const connect: Connect = (options) => new EtcdClient(options);

type Script = (server: TestServer, connect: Connect) => Promise<void>;

for (const product of ['etsd', 'etcd'] as const) {
  const skip = product === 'etcd' && needsPeer('etcd');
  describe(`@etsd/client against ${product}`, { skip, timeout: 180_000 }, () => {
    let server: TestServer;
    const onServer = (script: Script) => () => script(server, connect);
    before(async () => {
      server = await start(product);
    });
    after(() => server.dispose());
    test('values go in and come out by their codec', onServer(typedValues));
    test('a thousand watches share one stream', onServer(manyWatches));
    test('a watch that is read slowly loses nothing and delays nobody', onServer(slowReader));
    test('interceptors see every call', onServer(intercepted));
    test('an election has one leader, whom observers see', onServer(elections));
    test('a namespace hides its prefix, and what lies outside', onServer(namespaces));
    test('keys, pages, transactions, leases', onServer(everyday));
    test('members and maintenance', onServer(upkeep));
    test('tokens are renewed, refusals keep their code', onServer(guarded));
    test('watches go on where they were, through kills of the server', () => onOwnServer(product, watchThroughKills));
    test('a lock is held by one at a time, through kills of the server', () => onOwnServer(product, lockThroughKills));
  });
}

function start(product: Product): Promise<TestServer> {
  return startServer({ product, flags: ['--auth-token-ttl', '1'] });
}

async function onOwnServer(product: Product, script: Script): Promise<void> {
  const server = await start(product);
  try {
    await script(server, connect);
  } finally {
    await server.dispose();
  }
}
