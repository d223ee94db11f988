import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askPeer, readAnswer } from './ask-peer.ts';
import { Neighbourhood } from './neighbours.fixture.ts';

const HEAD = 'HTTP/1.1 200 OK\r\nX-Name: v\r\n';
const ROWS: [name: string, text: string, isEnd: boolean, body: string | null][] = [
  ['a body of known length', `${HEAD}Content-Length: 3\r\n\r\nabc`, false, 'abc'],
  ['not all of it yet', `${HEAD}Content-Length: 3\r\n\r\nab`, false, null],
  ['and never', `${HEAD}Content-Length: 3\r\n\r\nab`, true, null],
  ['chunks', `${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n`, false, 'abc'],
  ['chunks without an end', `${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`, true, null],
  ['no length: until the end', `${HEAD}\r\nabc`, true, 'abc'],
  ['no length, more may come', `${HEAD}\r\nabc`, false, null],
  ['half a head', 'HTTP/1.1 200 OK\r\nX-Na', true, null],
  ['another protocol', 'SSH-2.0\r\n\r\n', true, null],
];
for (const [name, text, isEnd, body] of ROWS) {
  test(`an answer is read: ${name}`, () => {
    const answer = readAnswer(Buffer.from(text), isEnd);
    assert.equal(answer === null ? null : answer.body.toString(), body);
    if (answer !== null) assert.deepEqual([answer.status, answer.headers.get('x-name')], [200, 'v']);
  });
}

test('a peer is asked, and one that is silent, gone or without end is given up', async () => {
  const around = new Neighbourhood();
  await around.answers('good', 1, (path) => ({ body: path }));
  await around.answers('silent', 1, () => null);
  await around.answers('endless', 1, () => ({ headers: { 'Content-Length': '9000000' }, body: 'x'.repeat(5_000_000) }));
  const ask = (url: string) =>
    around.outcome(askPeer(url, '/members', { world: around.parts({}).world, tls: null, timeoutMs: 1000 }));
  assert.equal((await ask('http://good:1')).body.toString(), '/members');
  const before = around.nowMs;
  await assert.rejects(ask('http://silent:1'), /no answer from http:\/\/silent:1 in 1000 ms/);
  assert.ok(around.nowMs - before >= 1000);
  await assert.rejects(ask('http://nobody:1'), /nobody listens/);
  await assert.rejects(ask('http://endless:1'), /the answer is too long/);
});
