import assert from 'node:assert/strict';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { nodeWorld } from '@etsd/runtime/node';
import { registerTestService } from '../interop/test-service.ts';
import { RpcServer } from '../src/index.ts';
import { ALL_CASES } from './all.ts';
import { makeCertificate } from './certificate.ts';
import type { Target } from './peer.ts';
import { judge } from './suite.ts';

const certificate = makeCertificate();

function target(port: number, tls: boolean): Target {
  const body = Buffer.from('00000000021040', 'hex'); // SimpleRequest { response_size: 64 }
  return { host: '127.0.0.1', port, tls, path: '/grpc.testing.TestService/UnaryCall', body, patienceMs: 5000 };
}

for (const tls of [false, true]) {
  const skip = tls && certificate === null ? 'openssl is not there to make a certificate' : false;
  // Goal: our server keeps every rule, on a plain socket and under TLS, where records cut the frames elsewhere.
  describe(`our server keeps the rules of HTTP/2 and HPACK, ${tls ? 'TLS' : 'plain'}`, { skip }, () => {
    const world = nodeWorld();
    // Few enough streams that the rules about their number can be tried.
    const server = new RpcServer(world, { limits: { concurrentStreams: 128 } });
    let port = 0;

    before(async () => {
      if (skip !== false) return;
      registerTestService(server, world.timers);
      const options = tls && certificate !== null ? { tls: { ...certificate, alpn: ['h2'] } } : {};
      const { address } = await server.listen({ host: '127.0.0.1', port: 0 }, options);
      port = 'port' in address ? address.port : 0;
    });

    after(() => server.close());

    for (const entry of ALL_CASES) {
      it(`${entry.section}: ${entry.title}`, async (context) => {
        const { status, reason } = await judge(entry, target(port, tls));
        if (status === 'skipped') context.skip(reason);
        else assert.equal(status, 'passed', reason);
      });
    }
  });
}

// Goal: the suite asks for what RFC 9113 says and not for what our server happens to do. Method: another implementation
// (nghttp2, by way of node:http2) must keep nearly all of it, and a server that answers nothing almost none.
describe('the suite itself', () => {
  it('finds little to complain about in node:http2', async () => {
    const server = createServer();
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.on('data', () => {});
      stream.on('end', () => {
        if (stream.closed || stream.destroyed) return;
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.end(Buffer.alloc(64));
      });
    });
    server.on('sessionError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const failed: string[] = [];
    try {
      for (const entry of ALL_CASES) {
        const verdict = await judge(entry, { ...target(port, false), patienceMs: 300 });
        if (verdict.status === 'failed') failed.push(`${verdict.section} ${verdict.title}: ${verdict.reason}`);
      }
    } finally {
      server.close();
    }
    assert.ok(failed.length < ALL_CASES.length * 0.2, `${failed.length} of ${ALL_CASES.length}:\n${failed.join('\n')}`);
  });
});
