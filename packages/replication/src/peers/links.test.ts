/** Goal: links come up, go down and come back as they should; a peer that is slow, dead or mad harms nobody else. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { type U64, u64FromNumber, u64ToHex } from '@etsd/base';
import { Entry, Message, MessageType } from '@etsd/proto';
import { PIPELINE_POSTS_MAX, PIPELINE_QUEUE_MAX, STREAM_QUEUE_BYTES_MAX, SWEEP_MS } from './limits.ts';
import { probedTime } from './prober.ts';
import { CLUSTER, fastWorld, NotingHost, Station, until } from './testing/loopback.ts';

const NOBODY = 'http://127.0.0.1:9';

let closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing) await close();
  closing = [];
});

async function station(id: number, path: string | null = null): Promise<Station> {
  const made = new Station(id);
  await made.listen(path);
  closing.push(() => made.close());
  return made;
}

/** Two stations that know each other. */
async function pair(): Promise<[Station, Station, NotingHost, NotingHost]> {
  const left = await station(1);
  const right = await station(2);
  const hosts = [new NotingHost(), new NotingHost()] as const;
  left.open(hosts[0]);
  right.open(hosts[1]);
  left.transport.addPeer(right.id, [right.url]);
  right.transport.addPeer(left.id, [left.url]);
  return [left, right, ...hosts];
}

/** A server that stands for a peer which is not what it should be. */
async function oddPeer(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function heartbeat(from: U64, to: U64, term = 1): Message {
  return Message.create({ type: MessageType.MsgHeartbeat, from, to, term });
}

function bigAppend(from: U64, to: U64, index: number): Message {
  const entries = [Entry.create({ term: 1, index: index + 1, data: Buffer.alloc(1024 * 1024, index) })];
  return Message.create({ type: MessageType.MsgApp, from, to, term: 1, logTerm: 1, index, entries });
}

/** All streams between them are up. */
const bothActive = (left: Station, right: Station): boolean =>
  left.transport.counters.get(right.id)?.streams === 4 && right.transport.counters.get(left.id)?.streams === 4;

describe('links', () => {
  it('come up, go down when cut, and come back', async () => {
    const [left, right, leftHost, rightHost] = await pair();
    await until('both active', () => bothActive(left, right));
    right.cut();
    left.cut();
    await until('both inactive', () => !left.transport.activeSince(right.id) && !right.transport.activeSince(left.id));
    assert.ok(left.logger.has('lost TCP streaming connection with remote peer'));
    assert.ok(left.logger.has('peer became inactive'));
    await until('the report', () => leftHost.unreachable.includes(right.id));
    right.mend();
    left.mend();
    await until('both active again', () => bothActive(left, right));
    left.transport.send([heartbeat(left.id, right.id)]);
    await until('a message', () => rightHost.messages.length > 0);
    assert.ok(left.transport.counters.get(right.id)!.disconnects >= 1);
  });

  it('use the next URL where one does not answer, and follow an update', async () => {
    const [left, right, , rightHost] = await pair();
    left.transport.removePeer(right.id);
    left.transport.addPeer(right.id, [NOBODY, right.url]);
    await until('both active', () => bothActive(left, right));
    left.transport.updatePeer(right.id, [NOBODY]);
    left.transport.updatePeer(right.id, [NOBODY]);
    assert.notEqual(left.transport.activeSince(right.id), null, 'what stands stays');
    left.transport.updatePeer(right.id, [right.url]);
    left.transport.send([heartbeat(left.id, right.id)]);
    await until('a message', () => rightHost.messages.length > 0);
  });

  it('work where only one side can reach the other', async () => {
    const [left, right, leftHost, rightHost] = await pair();
    left.transport.updatePeer(right.id, [NOBODY]);
    left.cut();
    right.cut();
    left.mend();
    right.mend();
    const streams = (): number => right.transport.counters.get(left.id)!.streams;
    await until('half of the streams', () => streams() === 2 && left.transport.counters.get(right.id)!.streams === 2);
    assert.notEqual(left.transport.activeSince(right.id), null);
    assert.notEqual(right.transport.activeSince(left.id), null);
    left.transport.send([heartbeat(left.id, right.id)]);
    right.transport.send([heartbeat(right.id, left.id)]);
    await until('messages both ways', () => leftHost.messages.length > 0 && rightHost.messages.length > 0);
  });

  it('over unix sockets', async () => {
    const left = await station(1, join(tmpdir(), `etsd-peers-${process.pid}-l.sock`));
    const right = await station(2, join(tmpdir(), `etsd-peers-${process.pid}-r.sock`));
    left.open(new NotingHost());
    right.open(new NotingHost());
    left.transport.addPeer(right.id, [right.url]);
    right.transport.addPeer(left.id, [left.url]);
    await until('both active', () => bothActive(left, right));
  });

  it('end when a peer is removed: it is told so, and nothing more is sent', async () => {
    const [left, right, leftHost, rightHost] = await pair();
    await until('both active', () => bothActive(left, right));
    leftHost.removedIds.add(right.id);
    left.transport.removePeer(right.id);
    assert.equal(left.transport.activeSince(right.id), null);
    await until('the removal there', () => rightHost.removals === 1);
    left.transport.send([heartbeat(left.id, right.id)]);
    right.transport.send([heartbeat(right.id, left.id)]);
    await until('the refusal', () => right.logger.has('permanently removed'));
    assert.deepEqual([leftHost.messages, rightHost.messages], [[], []]);
  });

  it('tell of a removal though the connection breaks before all of it was said', async () => {
    const alone = await station(1);
    const host = new NotingHost();
    const url = await oddPeer((_request, response) => {
      response.writeHead(410, { 'X-Server-Version': '3.5.30', 'Content-Length': '100' });
      response.flushHeaders();
      response.write('removed', () => response.destroy());
    });
    alone.open(host);
    alone.transport.addPeer(u64FromNumber(2), [url]);
    await until('the removal', () => host.removals === 1);
  });

  it('of acknowledgements of one turn the last goes out, rejections all', async () => {
    const [left, right, , rightHost] = await pair();
    await until('both active', () => bothActive(left, right));
    const answer = (index: number, reject = false): Message =>
      Message.create({ type: MessageType.MsgAppResp, from: left.id, to: right.id, term: 1, index, reject });
    left.transport.send([answer(1), answer(2), answer(3), answer(9, true), answer(4), heartbeat(left.id, right.id)]);
    await until('the last', () => rightHost.messages.some(({ type }) => type === MessageType.MsgHeartbeat));
    assert.deepEqual(
      rightHost.messages.map(({ index }) => index),
      [3, 9, 4, 0],
    );
  });

  it('stay up while idle, by signs of life alone', async () => {
    const left = await station(1);
    const right = await station(2);
    const world = fastWorld(5);
    left.open(new NotingHost(), { world });
    right.open(new NotingHost(), { world });
    left.transport.addPeer(right.id, [right.url]);
    right.transport.addPeer(left.id, [left.url]);
    await until('both active', () => bothActive(left, right));
    const since = left.transport.activeSince(right.id)!;
    await until('some time', () => world.clock.nowMs() - since > 9000);
    assert.equal(left.transport.activeSince(right.id), since);
  });
});

describe('a peer that', () => {
  /** A peer that opened both its streams and reads neither. */
  async function deaf(at: Station, id: U64): Promise<void> {
    for (const kind of ['message', 'msgapp']) {
      const headers = {
        'X-Server-Version': '3.5.30',
        'X-Min-Cluster-Version': '3.0.0',
        'X-Etcd-Cluster-ID': u64ToHex(CLUSTER),
        'X-Raft-To': u64ToHex(at.id),
      };
      const call = request(`${at.url}/raft/stream/${kind}/${u64ToHex(id)}`, { headers, agent: false });
      call.on('error', () => {});
      call.on('response', (response) => response.pause().on('error', () => {}));
      call.on('socket', (socket: Socket) => closing.push(() => void socket.destroy()));
      call.end();
    }
    const hex = u64ToHex(id);
    const isItsStream = (line: string): boolean => line.includes('set message encoder') && line.includes(`"${hex}"`);
    await until('both its streams', () => at.logger.lines.filter(isItsStream).length === 2);
  }

  it('does not read is sent no more than the bound, is reported, and slows nobody', async () => {
    const [left, right, host, rightHost] = await pair();
    await until('the other active', () => bothActive(left, right));
    const slow = u64FromNumber(3);
    left.transport.addPeer(slow, [NOBODY]);
    await deaf(left, slow);
    const counters = left.transport.counters.get(slow)!;
    const before = process.memoryUsage().arrayBuffers;
    let sent = 0;
    while (counters.sentFailures === 0) {
      assert.ok(sent < 200, 'nothing was dropped');
      left.transport.send([bigAppend(left.id, slow, sent), heartbeat(left.id, right.id, ++sent)]);
      await until(`heartbeat ${sent}`, () => rightHost.messages.length === sent);
    }
    const taken = process.memoryUsage().arrayBuffers - before;
    assert.ok(taken < 2 * STREAM_QUEUE_BYTES_MAX, `${taken} bytes for a deaf peer`);
    await until('the report', () => host.unreachable.includes(slow));
  });

  it('takes nothing for too long is given up, with a line and a report', async () => {
    const left = await station(1);
    const host = new NotingHost();
    const slow = u64FromNumber(3);
    left.open(host, { world: fastWorld(10) }).addPeer(slow, [NOBODY]);
    await deaf(left, slow);
    for (let index = 0; index < 20; index++) left.transport.send([bigAppend(left.id, slow, index)]);
    const isGivenUp = (line: string): boolean => line.includes('stream-writer-type') && line.includes('i/o timeout');
    await until('its end', () => left.logger.lines.some(isGivenUp));
    await until('the report', () => host.unreachable.includes(slow));
  });

  it('sends frames that are none is cut off, with a line, and tried again', async () => {
    const left = await station(1);
    let streams = 0;
    const url = await oddPeer((call, response) => {
      if (!call.url!.includes('msgapp')) return;
      streams++;
      response.setHeader('X-Server-Version', '3.5.30');
      response.write(Buffer.from('ff00ff00ff00ff00', 'hex'));
    });
    const host = new NotingHost();
    left.open(host).addPeer(u64FromNumber(4), [url]);
    await until('another try', () => streams > 1);
    assert.ok(left.logger.has('malformed frame: a frame of unknown type 255'));
    assert.deepEqual(host.messages, []);
  });

  it('sends messages raft must not see has them dropped, and the stream goes on', async () => {
    const [left, right, leftHost] = await pair();
    await until('both active', () => bothActive(left, right));
    right.transport.send([
      heartbeat(u64FromNumber(0), left.id),
      Message.create({ type: MessageType.MsgVote, from: right.id, to: left.id }),
      heartbeat(right.id, left.id, 7),
    ]);
    await until('the good one', () => leftHost.messages.length > 0);
    assert.deepEqual(
      leftHost.messages.map(({ term }) => term),
      [7],
    );
    assert.equal(left.transport.counters.get(right.id)!.receivedFailures, 2);
  });

  it('could not be heard because this process stood still is not given up for that', async () => {
    const left = await station(1);
    const right = await station(2);
    const { timers, random, clock } = fastWorld(1);
    let leapMs = 0;
    const leaping = { nowMs: () => clock.nowMs() + leapMs, wallMs: () => clock.wallMs() };
    const sweeps: (() => void)[] = [];
    const every: typeof timers.every = (ms, callback, options) => {
      if (ms === SWEEP_MS) sweeps.push(callback);
      return timers.every(ms, callback, options);
    };
    const world = { clock: leaping, random, timers: { ...timers, every } };
    left.open(new NotingHost(), { world });
    right.open(new NotingHost());
    left.transport.addPeer(right.id, [right.url]);
    right.transport.addPeer(left.id, [left.url]);
    await until('both active', () => bothActive(left, right));
    const since = left.transport.activeSince(right.id);
    const received = left.transport.counters.get(right.id)!.receivedBytes;
    leapMs = 60_000;
    for (const sweep of sweeps) sweep();
    assert.equal(left.transport.activeSince(right.id), since);
    // What the other said meanwhile is read now.
    right.transport.send([heartbeat(right.id, left.id)]);
    await until('its word', () => left.transport.counters.get(right.id)!.receivedBytes > received);
    assert.equal(left.transport.activeSince(right.id), since);
  });

  it('says nothing on its stream is given up after the silence allowed', async () => {
    const left = await station(1);
    const url = await oddPeer((call, response) => {
      if (call.url!.includes('/stream/')) response.setHeader('X-Server-Version', '3.5.30').flushHeaders();
    });
    left.open(new NotingHost(), { world: fastWorld(20) }).addPeer(u64FromNumber(4), [url]);
    await until('the end', () => left.logger.has('i/o timeout'));
  });

  it('never answers posts holds a few of them; the rest is dropped and reported', async () => {
    const left = await station(1);
    let posts = 0;
    const url = await oddPeer((call) => {
      if (call.url === '/raft') posts++;
    });
    const host = new NotingHost();
    const id = u64FromNumber(4);
    left.open(host).addPeer(id, [url]);
    for (let count = 0; count < PIPELINE_POSTS_MAX + PIPELINE_QUEUE_MAX; count++) {
      left.transport.send([heartbeat(left.id, id)]);
    }
    await until('the posts', () => posts === PIPELINE_POSTS_MAX);
    assert.deepEqual(host.unreachable, []);
    left.transport.send([heartbeat(left.id, id), heartbeat(left.id, id)]);
    await until('the report', () => host.unreachable.length > 0);
    assert.deepEqual(host.unreachable, [id]);
    assert.equal(posts, PIPELINE_POSTS_MAX);
  });

  it('has another time is warned of, and its round trips are counted', async () => {
    const left = await station(1);
    const url = await oddPeer((_call, response) => {
      response.end(`{"OK":true,"Now":"${new Date(Date.now() - 3_600_000).toISOString()}"}\n`);
    });
    const id = u64FromNumber(4);
    left.open(new NotingHost(), { world: fastWorld(50) }).addPeer(id, [url]);
    await until('the warning', () => left.logger.has('prober found high clock drift'));
    assert.ok(left.transport.counters.get(id)!.roundTrips.count > 0);
  });
});

describe('requests to other members', () => {
  function ask(
    at: Station,
    id: U64,
    method: string,
    path: string,
    body: Buffer | null,
    timeoutMs = 5000,
  ): Promise<[string, number, string]> {
    return new Promise((resolve) => {
      at.transport.request(id, method, path, body, 'application/protobuf', timeoutMs, (error, status, answer) =>
        resolve([error?.message ?? '', status, answer.toString()]),
      );
    });
  }

  it('carry method, path, body and who asks, and bring status and body back', async () => {
    const left = await station(1);
    const id = u64FromNumber(4);
    const url = await oddPeer((call, response) => {
      let text = '';
      call.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      call.on('end', () => {
        response.statusCode = 418;
        response.end(`${call.method} ${call.url} ${call.headers['x-server-from']} ${text}`);
      });
    });
    left.open(new NotingHost()).addPeer(id, [url]);
    assert.deepEqual(await ask(left, id, 'POST', '/leases', Buffer.from('bytes')), ['', 418, 'POST /leases 1 bytes']);
    assert.deepEqual(await ask(left, id, 'GET', '/members/hashkv', null), ['', 418, 'GET /members/hashkv 1 ']);
  });

  it('fail for unknown members, for silent ones after a time, for dead ones at once', async () => {
    const left = await station(1);
    const [silent, dead] = [u64FromNumber(4), u64FromNumber(5)];
    const transport = left.open(new NotingHost());
    transport.addPeer(silent, [await oddPeer(() => {})]);
    transport.addPeer(dead, [NOBODY]);
    assert.deepEqual(await ask(left, u64FromNumber(9), 'GET', '/', null), ['unknown member', 0, '']);
    assert.deepEqual(await ask(left, silent, 'GET', '/', null, 50), ['request timed out', 0, '']);
    assert.match((await ask(left, dead, 'GET', '/', null))[0], /ECONNREFUSED/);
  });

  it('are answered with an error when the transport closes', async () => {
    const left = await station(1);
    const id = u64FromNumber(4);
    left.open(new NotingHost()).addPeer(id, [await oddPeer(() => {})]);
    const outcome = ask(left, id, 'GET', '/', null);
    await left.transport.close();
    assert.match((await outcome)[0], /abandoned|hang up/);
    assert.deepEqual(await ask(left, id, 'GET', '/', null), ['the member is stopped', 0, '']);
  });
});

describe('answers to probes', () => {
  const cases: ReadonlyArray<readonly [text: string, time: number | null]> = [
    ['{"OK":true,"Now":"1970-01-01T00:00:01.5Z"}\n', 1500],
    ['{"OK":true,"Now":"2026-11-21T01:15:44.903759743Z"}\n', Date.UTC(2026, 10, 21, 1, 15, 44, 903)],
    ['{"OK":false,"Now":"1970-01-01T00:00:01Z"}', null],
    ['{"OK":true,"Now":7}', null],
    ['{"OK":true,"Now":"noon"}', null],
    ['null', null],
    ['not json', null],
    [' '.repeat(5000), null],
  ];
  for (const [text, time] of cases) {
    it(`reads ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(probedTime(Buffer.from(text)), time));
  }
});
