import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Prng } from '@etsd/base';
import { Client } from '../support/client.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { frame, grpcHeaders, grpcMessage, PREFACE, RawConnection, settings, windowUpdate } from './raw.ts';
import { assertAlive, PRODUCT, residentMiB, skip } from './target.ts';

const SEED = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

let server: TestServer;

before(async () => {
  if (skip === false) server = await startServer({ product: PRODUCT });
});

after(async () => {
  await server?.dispose();
});

// Goal: whatever comes over a socket, the others are served.
test('garbage on the socket', { skip }, async (context) => {
  context.diagnostic(`seed ${SEED}`);
  const prng = new Prng(SEED);
  const rubbish: Buffer[] = [
    Buffer.from('\r\n\r\n\r\n'),
    Buffer.from('GET / HTTP/1.1\r\n'.repeat(3)),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'),
    // A TLS hello to a plain listener.
    Buffer.from('16030100f8010000f40303', 'hex'),
    Buffer.concat([PREFACE, prng.bytes(2000)]),
    // A frame which says that 16 MiB follow.
    Buffer.concat([PREFACE, settings([]), Buffer.from('ffffff0000000000010a', 'hex')]),
    Buffer.concat([PREFACE, settings([]), frame(1, 5, 1, prng.bytes(300))]),
    Buffer.concat([PREFACE, settings([]), grpcHeaders(1, '/etcdserverpb.KV/Range'), frame(0, 1, 1, prng.bytes(50))]),
  ];
  for (let count = 0; count < 30; count++) rubbish.push(prng.bytes(prng.between(1, 3000)));
  const connections: RawConnection[] = [];
  for (const bytes of rubbish) {
    const connection = await RawConnection.open(server.clientPort);
    connection.send(bytes);
    connections.push(connection);
  }
  await assertAlive(server);
  for (const connection of connections) connection.close();
  await assertAlive(server);
});

test('connections that never complete their preface', { skip }, async () => {
  const connections: RawConnection[] = [];
  for (let count = 0; count < 200; count++) {
    const connection = await RawConnection.open(server.clientPort);
    connection.send(PREFACE.subarray(0, count % PREFACE.length));
    connections.push(connection);
  }
  await assertAlive(server);
  for (const connection of connections) connection.close();
});

// Goal: a client that asks for much and reads nothing costs itself, not the server's memory and not the others.
test('a client that never reads its answers', { skip }, async (context) => {
  const client = new Client(server.address);
  for (let index = 0; index < 16; index++) {
    await client.expect('KV/Put', { key: Buffer.from(`bulk/${index}`), value: Buffer.alloc(1_000_000, index) });
  }
  const before = residentMiB(server);
  const connection = await RawConnection.open(server.clientPort);
  connection.socket.pause();
  connection.send(PREFACE, settings([[4, 0x7fffffff]]), windowUpdate(0, 0x7fff0000));
  const range = Buffer.concat([
    Buffer.from([0x0a, 5]),
    Buffer.from('bulk/'),
    Buffer.from([0x12, 5]),
    Buffer.from('bulk0'),
  ]);
  const calls = 100;
  for (let call = 0; call < calls; call++) {
    const stream = 2 * call + 1;
    connection.send(grpcHeaders(stream, '/etcdserverpb.KV/Range'), grpcMessage(stream, range));
  }
  for (let round = 0; round < 20; round++) await assertAlive(server);
  const growth = residentMiB(server) - before;
  context.diagnostic(`${calls} unread answers of 16 MB: resident memory grew by ${growth.toFixed(0)} MiB`);
  // Half a gigabyte is what a member sets aside for answers under way; all of them would be 1.6.
  if (PRODUCT === 'etsd') assert.ok(growth < 1200, `resident memory grew by ${growth.toFixed(0)} MiB`);
  connection.close();
  await client.expect('KV/DeleteRange', { key: Buffer.from('bulk/'), range_end: Buffer.from('bulk0') });
  client.close();
  await assertAlive(server);
});

test('a watcher that never reads its events', { skip }, async (context) => {
  const connection = await RawConnection.open(server.clientPort);
  connection.socket.pause();
  connection.send(PREFACE, settings([[4, 0x7fffffff]]), windowUpdate(0, 0x7fff0000));
  // create_request { key "\0", range_end "\0" }
  const create = Buffer.from([0x0a, 6, 0x0a, 1, 0, 0x12, 1, 0]);
  connection.send(grpcHeaders(1, '/etcdserverpb.Watch/Watch'), grpcMessage(1, create, false));
  await assertAlive(server);
  const before = residentMiB(server);
  const client = new Client(server.address);
  for (let index = 0; index < 300; index++) {
    await client.expect('KV/Put', { key: Buffer.from('event'), value: Buffer.alloc(500_000, index & 255) });
  }
  const growth = residentMiB(server) - before;
  context.diagnostic(`150 MB of unread events: resident memory grew by ${growth.toFixed(0)} MiB`);
  client.close();
  connection.close();
  await assertAlive(server);
});

/** How many sockets this process may hold, less those it has already. */
function socketLimit(): number {
  const limit = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
  return limit === 'unlimited' ? 1_000_000 : Number(limit) - 500;
}

const idle = Math.min(Number(process.env['ETSD_TEST_IDLE_CONNECTIONS'] ?? 10_000), socketLimit());

test(`${idle} idle connections`, { skip }, async (context) => {
  const before = residentMiB(server);
  const connections: RawConnection[] = [];
  while (connections.length < idle) {
    const batch = Math.min(200, idle - connections.length);
    connections.push(
      ...(await Promise.all(Array.from({ length: batch }, () => RawConnection.open(server.clientPort)))),
    );
  }
  // Half of them have said hello, half nothing at all.
  for (const [index, connection] of connections.entries()) if (index % 2 === 0) connection.send(PREFACE, settings([]));
  await assertAlive(server);
  context.diagnostic(`resident memory grew by ${(residentMiB(server) - before).toFixed(0)} MiB`);
  for (const connection of connections) connection.close();
  await assertAlive(server);
});
