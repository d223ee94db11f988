/** Goal: each request that etcd refuses is refused with etcd's status and text, and what it takes reaches raft. */
import assert from 'node:assert/strict';
import { type IncomingHttpHeaders, request } from 'node:http';
import { after, before, beforeEach, describe, it } from 'node:test';
import { u64FromNumber, u64ToHex } from '@etsd/base';
import { Entry, Message, MessageType } from '@etsd/proto';
import { CLUSTER, NotingHost, Station, until } from './testing/loopback.ts';

const US = u64FromNumber(0xa);
const PEER = u64FromNumber(0xb);
const GONE = u64FromNumber(0xdead);
const STRANGER = u64FromNumber(0xc0ffee);

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

describe('the peer port', () => {
  const host = new NotingHost();
  const station = new Station(US);
  host.removedIds.add(GONE);

  before(async () => {
    await station.listen();
    // Nobody listens at the peer's address: what matters here is what it may ask.
    station.open(host, { sink: { receive: async () => {} } }).addPeer(PEER, ['http://127.0.0.1:9']);
  });
  after(() => station.close());
  beforeEach(() => {
    host.messages.length = 0;
  });

  const good = {
    'X-Server-From': u64ToHex(PEER),
    'X-Server-Version': '3.5.30',
    'X-Min-Cluster-Version': '3.0.0',
    'X-Etcd-Cluster-ID': u64ToHex(CLUSTER),
    'X-Raft-To': u64ToHex(US),
  };

  /** Sends a request; a stream's answer ends after its head. */
  function ask(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: Buffer | null = null,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request(`${station.url}${path}`, { method, headers, agent: false }, (response) => {
        const status = response.statusCode ?? 0;
        if (status === 200 && path.includes('/stream/')) {
          resolve({ status, headers: response.headers, body: '' });
          response.destroy();
          return;
        }
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => resolve({ status, headers: response.headers, body: text }));
      });
      call.on('error', reject);
      call.end(body ?? undefined);
    });
  }

  const without = (name: keyof typeof good): Record<string, string> => {
    const rest: Record<string, string> = { ...good };
    delete rest[name];
    return rest;
  };

  const stream = `/raft/stream/message/${u64ToHex(PEER)}`;
  const refusals: ReadonlyArray<
    readonly [what: string, method: string, path: string, headers: Record<string, string>, status: number, body: string]
  > = [
    ['another method', 'POST', stream, good, 405, 'Method Not Allowed\n'],
    ['an unknown kind', 'GET', '/raft/stream/msgappv3/b', good, 404, 'invalid path\n'],
    ['no id', 'GET', '/raft/stream/message', good, 404, 'invalid path\n'],
    ['a bad id', 'GET', '/raft/stream/message/xyz', good, 404, 'invalid from\n'],
    ['an id too long', 'GET', '/raft/stream/message/10000000000000000', good, 404, 'invalid from\n'],
    ['a removed member', 'GET', `/raft/stream/message/${u64ToHex(GONE)}`, good, 410, 'removed member\n'],
    ['a stranger', 'GET', `/raft/stream/msgapp/${u64ToHex(STRANGER)}`, good, 404, 'error sender not found\n'],
    ['who means somebody else', 'GET', stream, { ...good, 'X-Raft-To': 'c' }, 412, 'to field mismatch\n'],
    ['another cluster', 'GET', stream, { ...good, 'X-Etcd-Cluster-ID': 'abc' }, 412, 'cluster ID mismatch\n'],
    ['no cluster', 'GET', stream, without('X-Etcd-Cluster-ID'), 412, 'cluster ID mismatch\n'],
    ['too old', 'GET', stream, { ...good, 'X-Server-Version': '2.3.8' }, 412, 'incompatible version\n'],
    ['without version', 'GET', stream, without('X-Server-Version'), 412, 'incompatible version\n'],
    ['too new', 'GET', stream, { ...good, 'X-Min-Cluster-Version': '3.6.0' }, 412, 'incompatible version\n'],
  ];
  for (const [what, method, path, headers, status, body] of refusals) {
    it(`refuses a stream: ${what}`, async () => {
      const answer = await ask(method, path, headers);
      assert.deepEqual([answer.status, answer.body], [status, body]);
    });
  }

  it('opens streams of both kinds, and says who it is', async () => {
    for (const kind of ['message', 'msgapp']) {
      const answer = await ask('GET', `/raft/stream/${kind}/${u64ToHex(PEER)}`, good);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['x-server-version'], '3.5.30');
      assert.equal(answer.headers['x-etcd-cluster-id'], u64ToHex(CLUSTER));
      assert.equal(answer.headers['transfer-encoding'], 'chunked');
    }
  });

  const vote = Message.create({ type: MessageType.MsgVote, from: PEER, to: US, term: 5, index: 3, logTerm: 4 });
  const posts: ReadonlyArray<
    readonly [what: string, message: Message | string, headers: Record<string, string>, status: number, body: string]
  > = [
    ['takes a message', vote, good, 204, ''],
    ['refuses what is none', 'no message', good, 400, 'error unmarshalling raft message\n'],
    ['refuses a removed sender', Message.create({ ...vote, from: GONE }), good, 500, 'error processing raft message\n'],
    ['refuses another receiver', Message.create({ ...vote, to: PEER }), good, 500, 'error processing raft message\n'],
    ['refuses no message at all', '', good, 500, 'error processing raft message\n'],
    [
      'refuses a message without term',
      Message.create({ ...vote, term: 0 }),
      good,
      500,
      'error processing raft message\n',
    ],
    [
      'refuses a message of its own',
      Message.create({ ...vote, from: US }),
      good,
      500,
      'error processing raft message\n',
    ],
    ['refuses a local kind', Message.create({ ...vote, type: 19 }), good, 500, 'error processing raft message\n'],
    [
      'refuses entries with a gap',
      Message.create({ ...vote, type: MessageType.MsgApp, entries: [Entry.create({ term: 5, index: 9 })] }),
      good,
      500,
      'error processing raft message\n',
    ],
    [
      'refuses a snapshot without its file',
      Message.create({ ...vote, type: MessageType.MsgSnap }),
      good,
      500,
      'error processing raft message\n',
    ],
    ['refuses another cluster', vote, { ...good, 'X-Etcd-Cluster-ID': '1' }, 412, 'cluster ID mismatch\n'],
  ];
  for (const [what, message, headers, status, body] of posts) {
    it(`post: ${what}`, async () => {
      const bytes = typeof message === 'string' ? Buffer.from(message) : Message.encode(message);
      const answer = await ask('POST', '/raft', { ...headers, 'Content-Type': 'application/protobuf' }, bytes);
      assert.deepEqual([answer.status, answer.body], [status, body]);
      assert.deepEqual(host.messages, status === 204 ? [message] : []);
    });
  }

  it('post: a body too large ends its connection long before it is read', async () => {
    const piece = Buffer.alloc(1024 * 1024);
    const sent = await new Promise<number>((resolve) => {
      let pieces = 0;
      const call = request(`${station.url}/raft`, { method: 'POST', headers: good, agent: false });
      call.on('error', () => {});
      call.on('close', () => resolve(pieces));
      const pump = (): void => {
        while (!call.destroyed && pieces < 1000) {
          pieces++;
          if (!call.write(piece)) return void call.once('drain', pump);
        }
      };
      pump();
    });
    assert.ok(sent > 100 && sent < 300, `${sent} MB were taken`);
    assert.deepEqual(host.messages, []);
  });

  it('post: only POST', async () => {
    const answer = await ask('GET', '/raft', good);
    assert.deepEqual([answer.status, answer.headers.allow, answer.body], [405, 'POST', 'Method Not Allowed\n']);
  });

  const framed = (length: number, bytes: Buffer): Buffer => {
    const head = Buffer.alloc(8);
    head.writeBigUInt64BE(BigInt(length));
    return Buffer.concat([head, bytes]);
  };
  const encoded = Message.encode(vote);
  const snapshots: ReadonlyArray<readonly [what: string, body: Buffer, text: string]> = [
    ['nothing', Buffer.alloc(0), 'failed to decode raft message (EOF)\n'],
    ['another message', framed(encoded.length, encoded), 'wrong raft message type\n'],
    [
      'too long a message',
      framed(2 ** 60, encoded),
      'failed to decode raft message (rafthttp: error limit exceeded)\n',
    ],
    ['too short a message', framed(100, encoded), 'failed to decode raft message (unexpected EOF)\n'],
  ];
  for (const [what, body, text] of snapshots) {
    it(`snapshot: refuses ${what}`, async () => {
      const answer = await ask('POST', '/raft/snapshot', good, body);
      assert.deepEqual([answer.status, answer.body], [400, text]);
    });
  }

  it('answers a probe with health and time', async () => {
    const answer = await ask('GET', '/raft/probing', {});
    assert.equal(answer.status, 200);
    assert.match(answer.body, /^\{"OK":true,"Now":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"\}\n$/);
  });

  it('leaves other paths to others', async () => {
    for (const path of ['/', '/members', '/raft/other', '/version']) {
      assert.equal((await ask('GET', path, good)).status, 404);
    }
  });

  it('answers a stranger who says where it is, as a member that joins must be', async () => {
    const joiner = new Station(STRANGER);
    const joinerHost = new NotingHost();
    await joiner.listen();
    joiner.open(joinerHost);
    const message = Message.create({ ...vote, from: STRANGER });
    const headers = { ...good, 'X-Server-From': u64ToHex(STRANGER), 'X-PeerURLs': joiner.url };
    assert.equal((await ask('POST', '/raft', headers, Message.encode(message))).status, 204);
    const reply = Message.create({ type: MessageType.MsgVoteResp, from: US, to: STRANGER, term: 5 });
    station.transport.send([reply]);
    await until('the reply', () => joinerHost.messages.length > 0);
    assert.deepEqual(joinerHost.messages, [reply]);
    await joiner.close();
  });

  it('says once to its member that it was removed, when a peer says so', async () => {
    const removed = new Station(GONE);
    const removedHost = new NotingHost();
    await removed.listen();
    const transport = removed.open(removedHost);
    transport.addPeer(US, [station.url]);
    await until('the removal', () => removedHost.removals > 0);
    transport.send([Message.create({ ...vote, from: GONE, to: US })]);
    await until('the post refused', () => removed.logger.has('permanently removed'));
    assert.equal(removedHost.removals, 1);
    await removed.close();
  });
});
