/**
 * Requests per second on `/v2/keys`, one product after the other, on this machine:
 *
 *   node tests/v2/load.ts [--seconds 3] [--clients 16]
 */
import { Agent, request as send } from 'node:http';
import { parseArgs } from 'node:util';
import { needsPeer } from '../support/binaries.ts';
import { type Product, startServer } from '../support/server.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, clients: { type: 'string', default: '16' } },
});
const VALUE = `value=${'x'.repeat(256)}`;
const KINDS = [
  ['put', 'PUT', '/v2/keys/a/b', VALUE],
  ['get', 'GET', '/v2/keys/a/b', ''],
  ['queue', 'POST', '/v2/keys/q', VALUE],
] as const;

function ask(agent: Agent, port: number, [, method, path, body]: (typeof KINDS)[number]): Promise<number> {
  return new Promise((resolve, reject) => {
    const form = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length };
    const headers = body === '' ? {} : form;
    const outgoing = send({ agent, port, host: '127.0.0.1', method, path, headers }, (incoming) => {
      incoming.resume();
      incoming.on('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

for (const product of ['etcd', 'etsd'] as Product[]) {
  const missing = product === 'etcd' ? needsPeer('etcd') : false;
  if (missing !== false) {
    console.log(missing);
    continue;
  }
  const server = await startServer({ product, flags: ['--enable-v2'] });
  try {
    for (const kind of KINDS) {
      const agent = new Agent({ keepAlive: true, maxSockets: Number(values.clients) });
      const endMs = performance.now() + Number(values.seconds) * 1000;
      let done = 0;
      const client = async (): Promise<void> => {
        while (performance.now() < endMs) {
          if ((await ask(agent, server.clientPort, kind)) > 201) throw new Error(`${product} ${kind[0]} failed`);
          done++;
        }
      };
      await Promise.all(Array.from({ length: Number(values.clients) }, client));
      agent.destroy();
      console.log(`${product} ${kind[0]}: ${(done / Number(values.seconds)).toFixed(0)} requests/s`);
    }
  } finally {
    await server.dispose();
  }
}
