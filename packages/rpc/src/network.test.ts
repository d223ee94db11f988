import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import type { Socket as NodeSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import * as tls from 'node:tls';
import type { SocketAddress, TlsOptions } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import * as grpc from '@grpc/grpc-js';
import { GrpcChannel, RpcServer } from './index.ts';

const world = nodeWorld();
let directory: string;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'etsd-rpc-'));
});

after(() => rmSync(directory, { recursive: true }));

/** A server with one echoing method, and everything that is not gRPC told apart. */
function echoServer(): RpcServer {
  const server = new RpcServer(world);
  server.handle('/t.S/Echo', {
    kind: 'unary',
    message(call, bytes, start, end) {
      call.send(Buffer.from(bytes.subarray(start, end)));
      call.end();
    },
  });
  server.handle('/t.S/Who', {
    kind: 'unary',
    message(call) {
      call.send(Buffer.from(`${call.socket.encrypted} ${call.socket.peerCertificate?.commonName ?? '-'}`));
      call.end();
    },
  });
  server.handleHttp({
    request(exchange) {
      exchange.readBody(1_000_000, (body) => {
        const text = `${exchange.method} ${exchange.path} ${body === null ? 'too long' : body.length}`;
        exchange.respond(200, ['content-type', 'text/plain'], Buffer.from(text));
      });
    },
  });
  return server;
}

function portOf(address: SocketAddress): number {
  return 'port' in address ? address.port : 0;
}

describe('unix sockets', () => {
  it('carry calls', async () => {
    const server = echoServer();
    const path = join(directory, 'server.sock');
    await server.listen({ path });
    const channel = new GrpcChannel(world, { path });
    assert.equal((await channel.unary('/t.S/Echo', Buffer.from('over a file'))).toString(), 'over a file');
    channel.close();
    await server.close();
  });
});

describe('HTTP beside gRPC on one port', () => {
  const server = echoServer();
  const old = http.createServer((request, response) => response.end(`HTTP/${request.httpVersion} ${request.url}`));
  let origin = '';

  before(async () => {
    server.onHttp1((socket, firstBytes) => {
      const raw = socket.detach() as NodeSocket;
      raw.unshift(firstBytes);
      old.emit('connection', raw);
      raw.resume();
    });
    const listener = await server.listen({ host: '127.0.0.1', port: 0 });
    origin = `http://127.0.0.1:${portOf(listener.address)}`;
  });

  after(() => server.close());

  it('hands HTTP/1.1 over, keep-alive and bodies included', async () => {
    for (let i = 0; i < 3; i++) assert.equal(await (await fetch(`${origin}/old${i}`)).text(), `HTTP/1.1 /old${i}`);
    const response = await fetch(`${origin}/post`, { method: 'POST', body: 'x'.repeat(200_000) });
    assert.equal(await response.text(), 'HTTP/1.1 /post');
  });

  function request(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders, body: Buffer | null) {
    return new Promise<string>((resolve, reject) => {
      const stream = session.request(headers, { endStream: body === null });
      let status = 0;
      let text = '';
      stream.on('response', (fields) => {
        status = Number(fields[':status']);
      });
      stream.on('data', (chunk) => {
        text += chunk;
      });
      stream.on('end', () => resolve(`${status} ${text}`));
      stream.on('error', reject);
      if (body !== null) stream.end(body);
    });
  }

  it('serves plain requests over HTTP/2', async () => {
    const session = http2.connect(origin);
    assert.equal(await request(session, { ':path': '/a?b' }, null), '200 GET /a?b 0');
    const post = { ':path': '/c', ':method': 'POST' };
    assert.equal(await request(session, post, Buffer.alloc(900_000)), '200 POST /c 900000');
    assert.equal(await request(session, post, Buffer.alloc(1_100_000)), '200 POST /c too long');
    assert.equal(await request(session, { ':path': '/h', ':method': 'HEAD' }, null), '200 ');
    session.close();
  });
});

describe('TLS', () => {
  let authority: TlsOptions;
  let server: RpcServer;
  let port = 0;
  const pem = (name: string): string => readFileSync(join(directory, name), 'utf8');

  /** A certificate authority, and certificates of a server and a client signed by it. */
  function makeCertificates(): void {
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test authority');
    for (const name of ['server', 'client']) {
      openssl(
        'req',
        '-new',
        ...key,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
        '-subj',
        `/CN=${name} of the test`,
      );
      const sign = ['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'];
      execFileSync('sh', ['-c', 'echo subjectAltName=DNS:localhost,IP:127.0.0.1 > san.cnf'], { cwd: directory });
      openssl(...sign, '-out', `${name}.pem`, '-extfile', 'san.cnf');
    }
  }

  before(async () => {
    makeCertificates();
    authority = { ca: pem('ca.pem'), cert: pem('server.pem'), key: pem('server.key') };
    server = echoServer();
    const listener = await server.listen({ host: '127.0.0.1', port: 0 }, { tls: authority });
    port = portOf(listener.address);
  });

  after(() => server.close());

  it('serves our client and that of grpc-js, and knows who has a certificate', async () => {
    const client = { ca: pem('ca.pem'), cert: pem('client.pem'), key: pem('client.key') };
    const channel = new GrpcChannel(world, { host: '127.0.0.1', port }, { dial: { tls: client } });
    assert.equal((await channel.unary('/t.S/Who', Buffer.alloc(0))).toString(), 'true client of the test');
    const big = Buffer.alloc(1_500_000, 5);
    assert.ok((await channel.unary('/t.S/Echo', big)).equals(big));
    channel.close();
    const credentials = grpc.credentials.createSsl(Buffer.from(pem('ca.pem')));
    const js = new grpc.Client(`localhost:${port}`, credentials);
    const same = (bytes: Buffer) => bytes;
    const response = await new Promise<Buffer | undefined>((resolve, reject) => {
      js.makeUnaryRequest('/t.S/Who', same, same, Buffer.alloc(0), (error, value) =>
        error === null ? resolve(value) : reject(error),
      );
    });
    assert.equal(response?.toString(), 'true -');
    js.close();
  });

  it('refuses a server it does not trust', async () => {
    const channel = new GrpcChannel(world, { host: '127.0.0.1', port }, { dial: { tls: {} } });
    await assert.rejects(channel.unary('/t.S/Who', Buffer.alloc(0)), { code: 14, message: /certificate/ });
    channel.close();
  });

  it('takes renewed certificates from the next connection on, also for clients that dial an address', async () => {
    let now: TlsOptions = authority;
    const renewed = echoServer();
    const listener = await renewed.listen(
      { host: '127.0.0.1', port: 0 },
      { tls: { ...authority, current: () => now } },
    );
    const subject = () =>
      new Promise<unknown>((resolve, reject) => {
        const options = { host: '127.0.0.1', port: portOf(listener.address), rejectUnauthorized: false };
        const socket = tls.connect(options, () => {
          resolve(socket.getPeerCertificate().subject.CN);
          socket.destroy();
        });
        socket.on('error', reject);
      });
    assert.equal(await subject(), 'server of the test');
    now = { ...authority, cert: pem('client.pem'), key: pem('client.key') };
    assert.equal(await subject(), 'client of the test');
    now = { ...authority, cert: 'half a certificate' };
    assert.equal(await subject(), 'client of the test');
    await renewed.close();
  });

  it('can demand a certificate', async () => {
    const strict = echoServer();
    const tls = { ...authority, requireClientCertificate: true };
    const listener = await strict.listen({ host: '127.0.0.1', port: 0 }, { tls });
    const address = { host: '127.0.0.1', port: portOf(listener.address) };
    const anonymous = new GrpcChannel(world, address, { dial: { tls: { ca: pem('ca.pem') } } });
    await assert.rejects(anonymous.unary('/t.S/Who', Buffer.alloc(0)), { code: 14 });
    anonymous.close();
    await strict.close();
  });
});
