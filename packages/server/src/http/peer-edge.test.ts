import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { PeerEdge } from './peer-edge.ts';

// Goal: the advisories of July 2026: a peer port that lets everybody take his time with the head of a request, or send as
// long a body as he likes, is shut by a few thousand connections of anybody.

const edge = new PeerEdge(200);
const server = createServer({ pauseOnConnect: true }, (socket) => edge.accept(socket));
before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
after(() => {
  edge.close();
  server.close();
});

test('a head that does not come ends its connection', { timeout: 60_000 }, async () => {
  edge.route('/known', (_request, response) => response.end('here'));
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (bytes) => {
    answer += bytes.toString();
  });
  socket.write('GET /known HTTP/1.1\r\nHost: a\r\nX-Slow: ');
  await new Promise((resolve) => socket.on('close', resolve));
  assert.match(answer, /^HTTP\/1\.1 408 /);
  assert.equal((await fetch(`http://127.0.0.1:${port}/known`)).status, 200, 'others are served');
});
