/**
 * Requests per second through the gateway, one product after the other, on this machine:
 *
 *   node tests/gateway/load.ts [--seconds 3] [--clients 16]
 */
import { Agent, request as send } from 'node:http';
import { parseArgs } from 'node:util';
import { needsPeer } from '@etsd/testkit';
import { type Product, startServer } from '../support/server.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, clients: { type: 'string', default: '16' } },
});
const body = {
  put: JSON.stringify({ key: 'YQ==', value: Buffer.alloc(256, 'x').toString('base64') }),
  range: JSON.stringify({ key: 'YQ==' }),
};

function ask(agent: Agent, port: number, verb: keyof typeof body): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { agent, port, host: '127.0.0.1', method: 'POST', path: `/v3/kv/${verb}` };
    const outgoing = send({ ...options, headers: { 'content-length': body[verb].length } }, (incoming) => {
      incoming.resume();
      incoming.on('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.on('error', reject);
    outgoing.end(body[verb]);
  });
}

for (const product of ['etcd', 'etsd'] as Product[]) {
  const missing = product === 'etcd' ? needsPeer('etcd') : false;
  if (missing !== false) {
    console.log(missing);
    continue;
  }
  const server = await startServer({ product });
  try {
    for (const verb of ['put', 'range'] as const) {
      const agent = new Agent({ keepAlive: true, maxSockets: Number(values.clients) });
      const endMs = performance.now() + Number(values.seconds) * 1000;
      let done = 0;
      const client = async (): Promise<void> => {
        while (performance.now() < endMs) {
          if ((await ask(agent, server.clientPort, verb)) !== 200) throw new Error(`${product} ${verb} failed`);
          done++;
        }
      };
      await Promise.all(Array.from({ length: Number(values.clients) }, client));
      agent.destroy();
      console.log(`${product} ${verb}: ${(done / Number(values.seconds)).toFixed(0)} requests/s`);
    }
  } finally {
    await server.dispose();
  }
}
