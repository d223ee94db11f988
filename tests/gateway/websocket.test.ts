/** Goal: browsers watch and keep leases alive over a WebSocket. Method: the platform's own client. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { type Product, startServer, type TestServer } from '../support/server.ts';
import { ask } from './http.ts';

const b64 = (text: string): string => Buffer.from(text).toString('base64');
const flags = ['--cors', 'http://good.example:8080'];

let server: TestServer;
before(async () => {
  server = await startServer({ product: (process.env['ETSD_TEST_PRODUCT'] ?? 'etsd') as Product, flags });
});
after(() => server.dispose());

/** A WebSocket whose messages can be awaited one by one. */
class Talk {
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
  private readonly heard: string[] = [];
  private wake: (() => void) | null = null;

  constructor(path: string, protocols: string[] = []) {
    this.socket = new WebSocket(`ws://127.0.0.1:${server.clientPort}${path}`, protocols);
    this.socket.onmessage = ({ data }) => {
      this.heard.push(String(data));
      this.wake?.();
    };
    this.closed = new Promise((resolve) => {
      this.socket.onclose = ({ code }) => resolve(code);
    });
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.socket.onopen = () => resolve();
      this.socket.onerror = () => reject(new Error('refused'));
    });
    return this;
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  async next(): Promise<string> {
    while (this.heard.length === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.heard.splice(0, 1)[0] as string;
  }
}

const put = (key: string, value: string, headers = {}) =>
  ask(server.clientPort, {
    method: 'POST',
    path: '/v3/kv/put',
    headers,
    body: JSON.stringify({ key: b64(key), value: b64(value) }),
  });

test('a watch: requests and events as messages, both ways, until the client leaves', async () => {
  const talk = await new Talk('/v3/watch').open();
  talk.send({ create_request: { key: b64('a') } });
  assert.match(await talk.next(), /^\{"result":\{"header":.*"created":true\}\}$/);
  await put('a', '1');
  assert.match(await talk.next(), /"events":\[\{"kv":\{"key":"YQ==".*"value":"MQ=="\}\}\]\}\}$/);
  talk.send({ cancel_request: { watch_id: 0 } });
  assert.match(await talk.next(), /"canceled":true/);
  talk.send({ create_request: { key: b64('b'), watch_id: 5 } });
  assert.match(await talk.next(), /"watch_id":"5","created":true/);
  talk.socket.close();
  assert.ok([1000, 1005].includes(await talk.closed));
});

test('a lease kept alive, and a single request', async () => {
  await ask(server.clientPort, { method: 'POST', path: '/v3/lease/grant', body: '{"TTL":100,"ID":7}' });
  const talk = await new Talk('/v3/lease/keepalive').open();
  for (let round = 0; round < 3; round++) {
    talk.send({ ID: 7 });
    assert.match(await talk.next(), /"ID":"7","TTL":"100"\}\}$/);
  }
  talk.socket.send('no JSON');
  assert.match(await talk.next(), /^\{"error":\{"code":3,"message":"Failed to decode request: invalid character 'o'/);
  assert.equal(await talk.closed, 1000);
  const single = await new Talk('/v3/kv/range').open();
  single.send({ key: b64('none') });
  assert.match(await single.next(), /^\{"header":/);
  assert.equal(await single.closed, 1000);
});

test('a page of another origin is refused, a path that speaks no WebSocket answers plainly', async () => {
  const upgrade = (path: string, more: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(server.clientPort, '127.0.0.1');
      let text = '';
      socket.on('error', reject);
      socket.on('data', (chunk) => {
        text += chunk.toString();
        resolve(text.split('\r\n', 1)[0] as string);
        socket.destroy();
      });
      const head = 'Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
      socket.write(`GET ${path} HTTP/1.1\r\n${head}${more}\r\n`);
    });
  const good = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  assert.match(await upgrade('/v3/watch', good), / 101 /);
  assert.match(await upgrade('/v3/watch', `${good}Origin: http://good.example:8080\r\n`), / 101 /);
  assert.match(await upgrade('/v3/watch', `${good}Origin: http://evil.example:8080\r\n`), / 403 /);
  assert.match(await upgrade('/v3/watch', 'Sec-WebSocket-Version: 13\r\n'), / 400 /);
  assert.match(await upgrade('/v3/watch', good.replace('13', '8')), / 400 /);
  assert.match(await upgrade('/version', good), / 200 /);
});

test('a token comes as a subprotocol', async () => {
  const post = (path: string, body: object, headers = {}) =>
    ask(server.clientPort, { method: 'POST', path: `/v3/auth/${path}`, headers, body: JSON.stringify(body) });
  await post('user/add', { name: 'root', password: 'r' });
  await post('role/add', { name: 'root' });
  await post('user/grant', { user: 'root', role: 'root' });
  await post('enable', {});
  const login = await post('authenticate', { name: 'root', password: 'r' });
  const { token } = JSON.parse(login.body) as { token: string };
  const stranger = await new Talk('/v3/watch').open();
  stranger.send({ create_request: { key: b64('a') } });
  assert.match(await stranger.next(), /"canceled":true.*permission denied|user name is empty/);
  const talk = await new Talk('/v3/watch', ['Bearer', token]).open();
  assert.equal(talk.socket.protocol, 'Bearer');
  talk.send({ create_request: { key: b64('a') } });
  assert.match(await talk.next(), /"created":true\}\}$/);
  assert.equal((await put('a', '2')).status, 400);
  assert.equal((await put('a', '2', { authorization: `Bearer ${token}` })).status, 200);
  assert.match(await talk.next(), /"value":"Mg=="/);
  talk.socket.close();
  stranger.socket.close();
});
