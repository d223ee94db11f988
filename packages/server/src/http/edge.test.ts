/** Goal: who sends an HTTP/1.1 request slowly, or none that is one, is cut off, counted, and keeps nobody waiting. */
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { HttpEdge } from './edge.ts';
import type { HttpFront } from './front.ts';
import type { WebExchange } from './web-exchange.ts';

test('a head that does not come to its end, and rubbish', async () => {
  const misuses: string[] = [];
  const front = { serve: () => assert.fail('no request was complete') } as unknown as HttpFront;
  const edge = new HttpEdge(
    front,
    1024 * 1024,
    (kind, peer) => void misuses.push(`${kind} ${peer.replace(/:\d+$/, '')}`),
    300,
  );
  let taken = 0;
  const server = createServer((socket) => {
    taken++;
    edge.accept(socket, Buffer.alloc(0), { asked: () => assert.fail('nothing was asked'), gone() {} });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const answerTo = (bytes: string): Promise<string> =>
    new Promise((resolve) => {
      let answer = '';
      const socket = connect(port, '127.0.0.1').setEncoding('latin1');
      socket.on('data', (text: string) => {
        answer += text;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(answer));
      socket.write(bytes);
    });
  const [slow, silent, rubbish] = await Promise.all([
    answerTo('GET /version HTTP/1.1\r\nHost: x\r\nX-Slow'),
    answerTo(''),
    answerTo('\0\0\0\0\r\n\r\n'),
  ]);
  assert.match(slow, /^HTTP\/1\.1 408 /);
  assert.match(silent, /^HTTP\/1\.1 408 /);
  assert.match(rubbish, /^HTTP\/1\.1 400 /);
  assert.deepEqual(misuses.sort(), ['http1_malformed 127.0.0.1', 'http1_timeout 127.0.0.1', 'http1_timeout 127.0.0.1']);
  // An idle connection does not outlive the member.
  const idle = connect(port, '127.0.0.1');
  await new Promise((resolve) => idle.once('connect', resolve));
  const ended = new Promise((resolve) => idle.once('close', resolve));
  while (taken < 4) await new Promise((resolve) => setImmediate(resolve));
  edge.close();
  idle.resume();
  await ended;
  server.close();
});

test('who hands over a connection hears once that it has asked for something', async () => {
  const heard: string[] = [];
  const front = { serve: (exchange: WebExchange) => exchange.abort() } as unknown as HttpFront;
  const edge = new HttpEdge(front, 1024);
  const server = createServer((socket) => {
    edge.accept(socket, Buffer.alloc(0), { asked: () => heard.push('asked'), gone: () => heard.push('gone') });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume().write('GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n');
  await closed;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  edge.close();
  assert.deepEqual(heard, ['asked', 'gone']);
});

test('who reads only once all is sent still gets the answer to a request that was refused half-way', async () => {
  const body = '{"error":"too long"}';
  const front = {
    serve: (exchange: WebExchange) => exchange.readBody(1024, () => exchange.respond(429, [], body)),
  } as unknown as HttpFront;
  const edge = new HttpEdge(front, 1024);
  const server = createServer((socket) => edge.accept(socket, Buffer.alloc(0), { asked() {}, gone() {} }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const refused = async (head: string): Promise<void> => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1');
    const broken: unknown[] = [];
    socket.on('error', (error) => broken.push(error));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\n${head}\r\n`);
    // More than the buffers between the two hold, so that the server has to have read on behind its answer.
    await new Promise((resolve) => socket.write(Buffer.alloc(0x800000, ' '), resolve));
    let answer = '';
    socket.on('data', (text: string) => {
      answer += text;
    });
    await closed;
    assert.deepEqual(broken, []);
    assert.match(answer, /^HTTP\/1\.1 429 /);
    assert.match(answer, /^connection: close\r$/im);
    assert.ok(answer.endsWith(`\r\n\r\n${body}`), answer);
  };
  await Promise.all([
    refused('Transfer-Encoding: chunked\r\n\r\n800000'),
    refused(`Content-Length: ${0x800000 + 2}\r\n`),
  ]);
  edge.close();
  server.close();
});
