/**
 * Goal: over fetch and the JSON gateway the client keeps the same promises, and needs nothing that a browser has not.
 * Method: the same scripts against servers of both products; and one in a realm that has nothing of Node.js.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EtcdClient } from '@etsd/client/fetch';
import { needsPeer } from '@etsd/testkit';
import { NODE } from '../support/binaries.ts';
import { type Product, startServer, type TestServer } from '../support/server.ts';
import {
  type Connect,
  everyday,
  guarded,
  intercepted,
  namespaces,
  slowReader,
  typedValues,
  upkeep,
  watchThroughKills,
} from './promises.ts';

const connect: Connect = (options) => new EtcdClient(options);

for (const product of ['etsd', 'etcd'] as const) {
  const skip = product === 'etcd' && needsPeer('etcd');
  describe(`@etsd/client/fetch against ${product}`, { skip, timeout: 180_000 }, () => {
    let server: TestServer;
    before(async () => {
      server = await start(product);
    });
    after(() => server.dispose());
    test('values go in and come out by their codec', () => typedValues(server, connect));
    test('a watch that is read slowly loses nothing and delays nobody', () => slowReader(server, connect));
    test('interceptors see every call', () => intercepted(server, connect));
    test('a namespace hides its prefix, and what lies outside', () => namespaces(server, connect));
    test('without anything of Node.js', () => bare(server.address));
    test('keys, pages, transactions, leases', () => everyday(server, connect));
    test('members and maintenance', () => upkeep(server, connect));
    test('tokens are renewed, refusals keep their code', () => guarded(server, connect));
    test('watches go on where they were, through kills of the server', async () => {
      const own = await start(product);
      try {
        await watchThroughKills(own, connect);
      } finally {
        await own.dispose();
      }
    });
  });
}

function start(product: Product): Promise<TestServer> {
  return startServer({ product, flags: ['--auth-token-ttl', '1'] });
}

async function bare(address: string): Promise<void> {
  const script = join(import.meta.dirname, 'bare-runtime.ts');
  const child = spawn(NODE, ['--experimental-vm-modules', script, address], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  assert.equal(code, 0, output);
  assert.match(output, /^done: keys, text, watch, lease, ids$/m);
}
