/** Goal: whoever sends too much, too slowly or reads nothing harms nobody else. Method: raw sockets beside a good client. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { Prng } from '@etsd/base';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { ask } from './http.ts';

const seed = Number(process.env['ETSD_TEST_SEED'] ?? process.pid);

let server: TestServer;
before(async () => {
  server = await startServer({ product: 'etsd' });
});
after(() => server.dispose());

const b64 = (text: string): string => Buffer.from(text).toString('base64');

async function serves(): Promise<void> {
  const body = JSON.stringify({ key: b64('a') });
  assert.equal((await ask(server.clientPort, { method: 'POST', path: '/v3/kv/range', body })).status, 200);
}

/** Sends these bytes and takes what comes, until the other side closes or `enough` has come. */
function raw(bytes: Buffer | string, enough: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(server.clientPort, '127.0.0.1');
    let text = '';
    const done = (): void => {
      socket.destroy();
      resolve(text);
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (enough(text)) done();
    });
    socket.on('error', done);
    socket.on('close', done);
    socket.end(bytes);
  });
}

async function figure(name: string): Promise<number> {
  const { body } = await ask(server.clientPort, { method: 'GET', path: '/metrics' });
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1]);
}

test('bytes that are no request, or nearly one', async (context) => {
  context.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  const good = 'POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 14\r\n\r\n{"key":"YQ=="}';
  assert.match(await raw(good), /^HTTP\/1.1 200/);
  const paths = [
    '/v3/watch',
    '/api/keys/a',
    '/api/txn',
    '/api/watch?wait=0',
    '/v3/lease/keepalive',
    '/%',
    '/api/keys/%',
  ];
  for (let round = 0; round < 150; round++) {
    const bytes = Buffer.from(good.replace('/v3/kv/range', random.pick(paths)));
    for (let changes = random.below(4); changes > 0; changes--) bytes[random.below(bytes.length)] = random.below(256);
    await raw(random.chance(0.2) ? bytes.subarray(0, random.below(bytes.length)) : bytes);
  }
  await serves();
});

test('a body without an end is cut off, before it is all in memory', async () => {
  const socket = connect(server.clientPort, '127.0.0.1');
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  socket.write('POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
  const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, ' '), Buffer.from('\r\n')]);
  let sent = 0;
  const pump = (): void => {
    while (!socket.destroyed && text === '' && sent < 2000) {
      sent++;
      if (!socket.write(piece)) {
        socket.once('drain', pump);
        return;
      }
    }
  };
  pump();
  await eventually(30_000, 'an answer', () => (text === '' ? null : text));
  assert.match(text, /^HTTP\/1.1 429/);
  socket.destroy();
  await closed;
  await serves();
});

test('a watcher that does not read is not told more than fits, and its leaving ends the watch', async () => {
  const before = await figure('etcd_debugging_mvcc_watcher_total');
  const sockets: Socket[] = [];
  for (const [index, head] of [
    'POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n{"create_request":{"key":"c2xvdw=="}}'.replace(
      '34',
      '38',
    ),
    'GET /api/watch?key=slow HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n',
  ].entries()) {
    const socket = connect(server.clientPort, '127.0.0.1');
    socket.on('error', () => {});
    const opened = new Promise<void>((resolve) => socket.once('data', () => resolve()));
    socket.write(head);
    await opened;
    socket.pause();
    sockets[index] = socket;
  }
  const value = Buffer.alloc(500_000, 'x').toString('base64');
  for (let round = 0; round < 40; round++) {
    const body = JSON.stringify({ key: b64('slow'), value });
    assert.equal((await ask(server.clientPort, { method: 'POST', path: '/v3/kv/put', body })).status, 200);
  }
  const held = await figure('process_resident_memory_bytes');
  assert.ok(held < 900e6, `${held} bytes of memory`);
  for (const socket of sockets) socket.destroy();
  await eventually(30_000, 'both watchers gone', async () =>
    (await figure('etcd_debugging_mvcc_watcher_total')) === before ? true : null,
  );
});

test('a large range goes out piece by piece, whole, and to one who leaves not at all', async () => {
  const value = Buffer.alloc(500_000, 'y');
  for (let index = 0; index < 30; index++) {
    const body = JSON.stringify({ key: b64(`big/${index}`), value: value.toString('base64') });
    await ask(server.clientPort, { method: 'POST', path: '/v3/kv/put', body });
  }
  const body = JSON.stringify({ key: b64('big/'), range_end: b64('big0') });
  const answer = await ask(server.clientPort, { method: 'POST', path: '/v3/kv/range', body });
  const { kvs, count } = JSON.parse(answer.body) as { kvs: { value: string }[]; count: string };
  assert.deepEqual([kvs.length, count], [30, '30']);
  assert.ok(kvs.every((kv) => Buffer.from(kv.value, 'base64').equals(value)));
  const request = `POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  for (let round = 0; round < 5; round++) await raw(request, (text) => text.length > 100_000);
  await serves();
  const page = await ask(server.clientPort, { method: 'GET', path: '/api/keys?prefix=big/' });
  assert.equal(page.status, 200);
});

test('a snapshot comes whole, as lines', async () => {
  const { status, body } = await ask(server.clientPort, {
    method: 'POST',
    path: '/v3/maintenance/snapshot',
    body: '{}',
  });
  assert.equal(status, 200);
  const lines = body.trimEnd().split('\n');
  const blobs = lines.map((line) => (JSON.parse(line) as { result: { blob: string } }).result.blob);
  const file = Buffer.concat(blobs.map((blob) => Buffer.from(blob, 'base64')));
  const digest = createHash('sha256').update(file.subarray(0, -32)).digest();
  assert.ok(file.length > 15e6, 'with all that was put before');
  assert.deepEqual(file.subarray(-32), digest);
});
