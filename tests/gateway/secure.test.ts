/** Goal: the same over TLS, HTTP/2 and with certificates. Method: openssl's certificates, the platform's clients. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, connect as connect2 } from 'node:http2';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { freePort } from '@etsd/testkit';
import { hasOpenssl, makeCertificates } from '../support/certificates.ts';
import { startServer, type TestServer } from '../support/server.ts';

const skip = hasOpenssl() ? false : 'openssl not found';
const folder = skip === false ? makeCertificates(mkdtempSync(join(tmpdir(), 'etsd-gateway-'))) : '';
after(() => folder !== '' && rmSync(folder, { recursive: true, force: true }));
const pem = (name: string): Buffer => readFileSync(join(folder, name));

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

async function startSecure(flags: string[]): Promise<{ server: TestServer; port: number }> {
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const own = ['--cert-file', join(folder, 'server.pem'), '--key-file', join(folder, 'server.key')];
  const server = await startServer({
    product: 'etsd',
    flags: ['--listen-client-urls', url, '--advertise-client-urls', url, ...own, ...flags],
  });
  return { server, port };
}

const withCertificate = () => ({ cert: pem('client.pem'), key: pem('client.key') });

/** Over HTTP/1.1. */
function ask1(port: number, path: string, body: object, tls: object = {}, headers: object = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', path, method: 'POST', ca: pem('ca.pem'), agent: false, ...tls };
    const outgoing = request({ ...options, headers: { ...headers } }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => (text += chunk));
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text, headers: incoming.headers }));
    });
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify(body));
  });
}

/** Over HTTP/2. `until` ends an endless answer. */
function ask2(
  session: ClientHttp2Session,
  path: string,
  body: object | null,
  until: (text: string) => boolean = () => false,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const method = body === null ? 'GET' : 'POST';
    const stream = session.request({ ':path': path, ':method': method }, { endStream: body === null });
    let text = '';
    let headers: Record<string, unknown> = {};
    stream.setEncoding('utf8');
    stream.on('response', (all) => {
      headers = all as Record<string, unknown>;
    });
    stream.on('data', (chunk: string) => {
      text += chunk;
      if (until(text)) stream.close();
    });
    stream.on('error', reject);
    stream.on('close', () => resolve({ status: Number(headers[':status']), text, headers }));
    if (body !== null) stream.end(JSON.stringify(body));
  });
}

/** Requests of a stream that come when the answers to earlier ones are there. */
async function talkOverHttp2(session: ClientHttp2Session): Promise<void> {
  const stream = session.request({ ':path': '/v3/watch', ':method': 'POST' });
  let text = '';
  let wake: () => void = () => {};
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  const until = async (lines: number): Promise<string> => {
    while (text.split('\n').length <= lines) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return text.split('\n')[lines - 1] as string;
  };
  stream.write(JSON.stringify({ create_request: { key: 'YQ==' } }));
  assert.match(await until(1), /"created":true/);
  const second = JSON.stringify({ create_request: { key: 'Yg==', watch_id: 7 } });
  stream.write(second.slice(0, 10));
  stream.write(second.slice(10));
  assert.match(await until(2), /"watch_id":"7","created":true/);
  stream.write(JSON.stringify({ cancel_request: { watch_id: 7 } }));
  assert.match(await until(3), /"watch_id":"7","canceled":true/);
  stream.close();
}

const put = { key: 'YQ==', value: 'Yg==' };

test('TLS, over HTTP/1.1 and HTTP/2, singly and as a stream', { skip }, async () => {
  const { server, port } = await startSecure([]);
  try {
    assert.equal((await ask1(port, '/v3/kv/put', put)).status, 200);
    const session = connect2(`https://127.0.0.1:${port}`, { ca: pem('ca.pem') });
    const range = await ask2(session, '/v3/kv/range', { key: 'YQ==' });
    assert.deepEqual([range.status, /"value":"Yg=="/.test(range.text)], [200, true]);
    assert.equal(range.headers['grpc-metadata-content-type'], 'application/grpc');
    const watch = { create_request: { key: 'YQ==', start_revision: 1 } };
    const lines = await ask2(session, '/v3/watch', watch, (text) => text.split('\n').length > 2);
    assert.match(lines.text, /"created":true\}\}\n\{"result":.*"events"/);
    await talkOverHttp2(session);
    assert.equal((await ask2(session, '/version', null)).status, 200);
    assert.equal((await ask2(session, '/api/keys/a', null)).text, 'b');
    assert.equal((await ask2(session, '/nothing', null)).status, 404);
    const big = await ask2(session, '/v3/kv/put', { key: 'YQ==', value: 'A'.repeat(6_000_000) });
    assert.equal(big.status, 429);
    assert.equal((await ask2(session, '/v3/kv/range', { key: 'YQ==' })).status, 200, 'the connection serves on');
    session.close();
  } finally {
    await server.dispose();
  }
});

const setup: readonly (readonly [string, object])[] = [
  ['user/add', { name: 'root', password: 'r' }],
  ['role/add', { name: 'root' }],
  ['user/grant', { user: 'root', role: 'root' }],
  ['user/add', { name: 'client', options: { no_password: true } }],
  ['user/grant', { user: 'client', role: 'root' }],
];

for (const passes of [false, true]) {
  const title = passes ? 'is an identity where that is asked for' : 'is no identity, and says so';
  test(`a certificate's name, through the gateway, ${title}`, { skip }, async () => {
    const more = passes ? ['--gateway-client-cert-auth'] : [];
    const { server, port } = await startSecure([
      '--trusted-ca-file',
      join(folder, 'ca.pem'),
      '--client-cert-auth',
      ...more,
    ]);
    const tls = withCertificate();
    try {
      for (const [path, body] of setup) assert.equal((await ask1(port, `/v3/auth/${path}`, body, tls)).status, 200);
      assert.equal((await ask1(port, '/v3/kv/put', put, tls)).status, 200, 'before authentication is on');
      await ask1(port, '/v3/auth/enable', {}, tls);
      for (const path of ['/v3/kv/put', '/api/txn']) {
        const answer = await ask1(port, path, path === '/api/txn' ? {} : put, tls);
        if (passes) assert.equal(answer.status, 200, answer.text);
        else {
          assert.equal(answer.status, 400);
          assert.match(answer.text, /^CommonName of client sending a request against gateway will be ignored/);
        }
      }
      const session = connect2(`https://127.0.0.1:${port}`, { ca: pem('ca.pem'), ...tls });
      assert.equal((await ask2(session, '/v3/kv/range', { key: 'YQ==' })).status, passes ? 200 : 400);
      session.close();
      assert.equal((await ask1(port, '/version', {}, tls)).status, 405, 'other paths do not ask');
    } finally {
      await server.dispose();
    }
  });
}

test('an address for figures shows these and takes no call, whatever the others demand', { skip }, async () => {
  const figures = await freePort();
  const flags = ['--trusted-ca-file', join(folder, 'ca.pem'), '--client-cert-auth'];
  const { server } = await startSecure([...flags, '--listen-metrics-urls', `http://127.0.0.1:${figures}`]);
  const plain = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${figures}${path}`, { method });
  try {
    assert.match(await (await plain('/metrics')).text(), /etcd_server_has_leader 1/);
    for (const path of ['/health', '/livez', '/readyz']) assert.equal((await plain(path)).status, 200, path);
    for (const path of ['/version', '/api/keys', '/api/status', '/v3/kv/range', '/']) {
      assert.equal((await plain(path, path === '/v3/kv/range' ? 'POST' : 'GET')).status, 404, path);
    }
    const session = connect2(`http://127.0.0.1:${figures}`);
    assert.equal((await ask2(session, '/v3/kv/put', put)).status, 404);
    const call = session.request({
      ':method': 'POST',
      ':path': '/etcdserverpb.KV/Range',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const status = new Promise((resolve, reject) => {
      call.on('response', (headers) => resolve(headers['grpc-status']));
      call.on('error', reject);
    });
    call.resume();
    call.end(Buffer.from([0, 0, 0, 0, 3, 10, 1, 97]));
    assert.equal(await status, '12', 'there is no such service here');
    session.close();
  } finally {
    await server.dispose();
  }
});
