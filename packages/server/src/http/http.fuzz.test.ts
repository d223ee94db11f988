/**
 * Goal: whatever is asked over plain HTTP, or said by a member on the peer port, is answered or refused: no parser throws.
 * Method: good requests and bodies with a few things wrong.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Prng, silentLogger } from '@etsd/base';
import { jsonToMessage, METHODS, ProtoError, TxnRequest } from '@etsd/proto';
import { membersFromJson, membersToJson } from '@etsd/state';
import { forSeeds, mutate } from '@etsd/testkit';
import { readAnswer } from '../bootstrap/ask-peer.ts';
import type { PeerRequests } from '../duties/member-versions.ts';
import { answerHash, PeerHashes } from '../duties/peer-hashes.ts';
import { FakeExchange, type FakeRequest } from './exchange.fixture.ts';
import { HttpFront } from './front.ts';
import { HealthFigures } from './health-figures.ts';
import type { HttpMember, HttpPolicy } from './routes.ts';

const member: HttpMember = {
  serverVersion: '3.5.30',
  clusterVersion: () => '3.5.0',
  hasLeader: () => true,
  isLearner: () => false,
  alarms: () => ['NOSPACE'],
  probeRead: async () => undefined,
  metricsPage: () => '',
  figures: new HealthFigures(),
};

const TARGETS = [
  '/version',
  '/health?exclude=NOSPACE&serializable=true',
  '/livez/ping',
  '/readyz?verbose',
  '//',
  '/%',
  '*',
  'http://h/x?y#z',
  '',
];

function text(prng: Prng, from: readonly string[]): string {
  return mutate(prng, Buffer.from(prng.pick(from), 'latin1')).toString('latin1');
}

async function ask(request: FakeRequest, policy: HttpPolicy): Promise<FakeExchange> {
  const exchange = new FakeExchange(request);
  new HttpFront({ member, policy, gateway: null, api: null }).serve(exchange);
  await exchange.over;
  assert.ok(exchange.isAborted || (exchange.status >= 200 && exchange.status < 600));
  return exchange;
}

test('targets, hosts and origins of plain HTTP', async () => {
  const open = { cors: ['*'], hostWhitelist: ['*'], ignoresNames: () => false };
  for (const target of TARGETS) assert.equal((await ask({ target }, open)).isAborted, false, target);
  await forSeeds(3000, async (prng) => {
    const policy = {
      cors: prng.pick([['*'], ['http://a'], []]),
      hostWhitelist: prng.pick([['*'], ['a']]),
      ignoresNames: () => prng.chance(0.5),
    };
    const headers: Record<string, string> = {};
    if (prng.chance(0.5)) headers['origin'] = text(prng, ['http://a', 'null']);
    if (prng.chance(0.5)) headers['host'] = text(prng, ['a:2379', '[::1]:1']);
    const method = prng.pick(['GET', 'OPTIONS', 'POST', 'HEAD', 'X']);
    await ask({ method, target: text(prng, TARGETS), headers, isSecure: prng.chance(0.5) }, policy);
  });
});

// Goal: what the gateway is sent is a message, or refused with the one error that it answers.
test('JSON of requests to the gateway', async () => {
  let taken = 0;
  await forSeeds(3000, (prng) => {
    const { request } = prng.pick(METHODS);
    const seed = {
      key: 'Zm9v',
      rangeEnd: 'AA==',
      value: 'djE=',
      lease: '7',
      TTL: 5,
      ID: '123',
      limit: '9',
      prevKv: true,
    };
    const txn = { compare: [{ key: 'Zm9v', target: 'VALUE' }], success: [{ requestPut: seed }] };
    const good = JSON.stringify({ ...seed, ...txn, name: 'ann', peerURLs: ['http://a'], createRequest: seed });
    try {
      const message = jsonToMessage(request, mutate(prng, Buffer.from(good)).toString('utf8'));
      request.encode(message);
      taken++;
    } catch (error) {
      assert.ok(error instanceof ProtoError, String((error as Error).stack));
    }
  });
  assert.ok(taken > 100, `${taken} were taken`);
  const deep = `${'{"success":[{"requestTxn":'.repeat(20_000)}{}${'}]}'.repeat(20_000)}`;
  assert.throws(() => jsonToMessage(TxnRequest, deep), ProtoError);
});

const MEMBERS = Buffer.from(
  membersToJson([
    {
      id: '00000000000000aa',
      name: 'a',
      peerURLs: ['http://a:2380'],
      clientURLs: ['http://a:2379'],
      isLearner: true,
      isStarted: true,
    },
  ]),
);

test('what members say of themselves', async () => {
  let taken = 0;
  await forSeeds(3000, (prng) => {
    const members = membersFromJson(mutate(prng, MEMBERS).toString('utf8'));
    if (members === undefined) return;
    taken++;
    for (const { id, peerURLs } of members) {
      assert.match(id, /^[0-9a-f]{16}$/);
      assert.ok(peerURLs.every((url) => typeof url === 'string'));
    }
  });
  assert.ok(taken > 50, `${taken} were read`);
});

const ANSWER = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Cluster-ID: aa\r\nContent-Length: 11\r\n\r\n{"a":"bcd"}',
);
const CHUNKED = Buffer.from(
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n8;x=y\r\nabcdefgh\r\n0\r\n\r\n',
);

test('answers of members, read by hand', async () => {
  await forSeeds(3000, (prng) => {
    const bytes = mutate(prng, prng.pick([ANSWER, CHUNKED]));
    for (const isEnd of [true, false]) {
      try {
        const answer = readAnswer(bytes, isEnd);
        if (answer !== null) assert.ok(answer.body.length <= bytes.length);
      } catch (error) {
        // Refused in words of its own; a mistake of ours would be of a class of its own, too.
        assert.equal((error as Error).constructor, Error, String((error as Error).stack));
      }
    }
  });
});

test('questions about hashes, and their answers', async () => {
  const question = Buffer.from('{"revision":7}');
  const good = Buffer.from('{"header":{"revision":9},"hash":12345,"compact_revision":3}');
  const peers = (body: Buffer): PeerRequests => ({
    request: (_id, _method, _path, _body, _type, _ms, done) => done(null, 200, body),
  });
  await forSeeds(3000, (prng) => {
    const body = mutate(prng, question);
    let answered = 0;
    answerHash(
      {
        clusterId: '00000000000000aa',
        logger: silentLogger,
        hashes: {
          byRevision: (revision: number, done: (error: null, result: object, current: number) => void) => {
            assert.ok(Number.isSafeInteger(revision));
            done(null, { hash: 1, compactRevision: 0 }, 5);
          },
        },
      } as never,
      'aa',
      body,
      ({ status }) => {
        answered++;
        assert.ok([200, 400, 412].includes(status), String(status));
      },
    );
    assert.equal(answered, 1);
    const asking = new PeerHashes({
      memberId: '00000000000000aa',
      peers: peers(mutate(prng, good)),
      members: () => [{ id: '00000000000000bb', peerURLs: [] }],
      timeoutMs: 1,
      logger: silentLogger,
    });
    asking.ask(7, ([answer]) => assert.ok(answer?.hash !== null || answer.error !== null));
  });
});
