/**
 * gRPC's interop test service on our transport: `npm run interop-server -- --port 10000 [--tls --cert C --key K]`.
 * Any language's interop client can be pointed at it.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { nodeWorld } from '@etsd/runtime/node';
import { RpcServer } from '../src/index.ts';
import { registerTestService } from './test-service.ts';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '10000' },
    tls: { type: 'boolean', default: false },
    cert: { type: 'string' },
    key: { type: 'string' },
  },
});

const world = nodeWorld();
const server = new RpcServer(world, { limits: { receiveMessageBytes: 64 * 1024 * 1024 } });
registerTestService(server, world.timers);
const { host, port, tls, cert, key } = values;
if (tls && (cert === undefined || key === undefined)) throw new Error('--tls needs --cert and --key');
const options = tls
  ? { tls: { cert: readFileSync(cert as string), key: readFileSync(key as string), alpn: ['h2'] } }
  : {};
const listener = await server.listen({ host, port: Number(port) }, options);
const { address } = listener;
console.log(
  `serving grpc.testing.TestService on ${'port' in address ? `${address.host}:${address.port}` : address.path}`,
);
