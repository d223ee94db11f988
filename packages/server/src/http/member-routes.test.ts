/** The membership routes of the peer port, over real HTTP; answers are etcd's. */
import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after, test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import { ErrLearnerNotReady, ErrMemberNotFound, ErrTimeout, type EtcdError } from '@etsd/proto';
import { MemberRecord } from '@etsd/state';
import { membersRoute, promoteRoute } from './member-routes.ts';
import type { PeerHandler } from './peer-edge.ts';

const CLUSTER = '0000000000001cab';
const MEMBERS = [
  new MemberRecord('f7875276d5273a18', ['http://a:1'], false, 'a', ['http://a:2']),
  new MemberRecord(u64FromNumber(7), ['http://l:1'], true),
];
const MEMBERS_TEXT =
  '[{"id":17836315519559875096,"peerURLs":["http://a:1"],"name":"a","clientURLs":["http://a:2"]},{"id":7,"peerURLs":["http://l:1"],"isLearner":true}]\n';

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

async function ask(handler: PeerHandler, method: string, path: string) {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { method });
  return { status: answer.status, headers: answer.headers, body: await answer.text() };
}

function members(error: EtcdError | null = null): PeerHandler {
  return membersRoute({
    clusterId: CLUSTER,
    members: { list: () => MEMBERS },
    readBarrier: (waiter) => (error === null ? waiter.done() : waiter.fail(error)),
  });
}

test('/members lists the members and names the cluster', async () => {
  for (const path of ['/members', '/members?linearizable=true']) {
    const { status, headers, body } = await ask(members(), 'GET', path);
    assert.deepEqual([status, body], [200, MEMBERS_TEXT]);
    assert.equal(headers.get('x-etcd-cluster-id'), '1cab');
    assert.equal(headers.get('content-type'), 'application/json');
  }
  const failed = await ask(members(ErrTimeout), 'GET', '/members?linearizable=true');
  assert.deepEqual([failed.status, failed.body], [500, 'etcdserver: request timed out\n']);
  assert.equal((await ask(members(ErrTimeout), 'GET', '/members')).status, 200, 'from what this member knows');
  const refused = await ask(members(), 'POST', '/members');
  assert.deepEqual([refused.status, refused.headers.get('allow'), refused.body], [405, 'GET', 'Method Not Allowed\n']);
});

test('/members/promote/ID promotes here, and says why not', async () => {
  const promoted: string[] = [];
  const route = (error: EtcdError | null) =>
    promoteRoute(CLUSTER, {
      promoteHere(id, waiter) {
        promoted.push(id);
        if (error === null) waiter.done(MEMBERS);
        else waiter.fail(error);
      },
    });
  const path = '/members/promote/17836315519559875096';
  const done = await ask(route(null), 'POST', path);
  assert.deepEqual([done.status, done.body, promoted], [200, MEMBERS_TEXT, ['f7875276d5273a18']]);
  const rows: [EtcdError, number, string][] = [
    [ErrMemberNotFound, 404, 'membership: ID not found\n'],
    [ErrLearnerNotReady, 412, `${ErrLearnerNotReady.message}\n`],
    [ErrTimeout, 500, '{"message":"etcdserver: request timed out"}\n'],
  ];
  for (const [error, status, text] of rows) {
    const answer = await ask(route(error), 'POST', path);
    assert.deepEqual([answer.status, answer.body], [status, text]);
  }
  for (const text of ['x', '', '1x', '99999999999999999999']) {
    const answer = await ask(route(null), 'POST', `/members/promote/${text}`);
    assert.deepEqual([answer.status, answer.body], [404, `member ${text} not found in cluster\n`]);
  }
  assert.equal((await ask(route(null), 'GET', path)).status, 405);
});

test('a client that hangs up before the answer harms nobody', async () => {
  let answerLater: (() => void) | null = null;
  const server = createServer(
    membersRoute({
      clusterId: CLUSTER,
      members: { list: () => MEMBERS },
      readBarrier: (waiter) => {
        answerLater = () => waiter.done();
      },
    }),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const asked = new Promise<ServerResponse>((resolve) =>
    server.on('request', (_request, response) => resolve(response)),
  );
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write('GET /members?linearizable=true HTTP/1.1\r\nHost: x\r\n\r\n');
  const response = await asked;
  const gone = new Promise<void>((resolve) => response.on('close', () => resolve()));
  socket.destroy();
  await gone;
  assert.doesNotThrow(() => answerLater?.());
});
