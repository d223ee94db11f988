import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Listener, Socket, SocketReceiver } from '../index.ts';
import { nodeWorld } from '../node/index.ts';
import { inProcessPath, LocalNetwork, ManualClock, OwnedTimers } from './index.ts';

// Goal: time that is moved by hand passes in order, and all that follows from one timer is done before the next.

test('timers fire in the order in which they are due, those of one moment as they were asked for', async () => {
  const clock = new ManualClock({ wallMs: 1000 });
  const seen: string[] = [];
  const note = (what: string) => () => void seen.push(`${what}@${clock.nowMs()}`);
  clock.timers.after(20, note('b'));
  clock.timers.after(10, note('a'));
  clock.timers.after(20, note('c'));
  const every = clock.timers.every(8, note('e'));
  clock.timers.after(5, note('never')).cancel();
  await clock.advance(20);
  assert.deepEqual(seen, ['e@8', 'a@10', 'e@16', 'b@20', 'c@20']);
  every.cancel();
  await clock.advance(100);
  assert.equal(seen.length, 5);
  assert.equal(clock.wallMs(), 1120);
  assert.throws(() => clock.advance(-1), RangeError);
});

test('a timer that is asked for by what another one began fires within the same advance', async () => {
  const clock = new ManualClock();
  const seen: number[] = [];
  clock.timers.after(10, () => {
    clock.timers.endOfTurn(() => {
      void Promise.resolve().then(() => clock.timers.after(5, () => seen.push(clock.nowMs())));
    });
  });
  clock.timers.after(20, () => seen.push(clock.nowMs()));
  await clock.advance(30);
  assert.deepEqual(seen, [15, 20]);
});

test('two advances follow each other; time stands while somebody is busy', async () => {
  const clock = new ManualClock();
  let turns = 0;
  const release = clock.waitWhile(() => turns++ < 50);
  await Promise.all([clock.advance(10), clock.advance(10)]);
  assert.equal(clock.nowMs(), 20);
  assert.ok(turns >= 50);
  release();
});

test('owned timers end with their owner', async () => {
  const clock = new ManualClock();
  const timers = new OwnedTimers(clock.timers);
  let fired = 0;
  timers.after(10, () => fired++);
  timers.every(10, () => fired++);
  await clock.advance(10);
  assert.equal(fired, 2);
  timers.close();
  timers.after(10, () => fired++);
  await clock.advance(100);
  assert.equal(fired, 2);
});

// Goal: a connection inside of the process keeps the contract of a socket.

class Recorder implements SocketReceiver {
  received = '';
  events: string[] = [];
  opened = (): void => void this.events.push('opened');
  data = (bytes: Buffer, start: number, end: number): void => {
    this.received += bytes.toString('latin1', start, end);
  };
  written = (): void => void this.events.push('written');
  ended = (): void => void this.events.push('ended');
  closed = (error: Error | null): void => void this.events.push(error === null ? 'closed' : `closed ${error.message}`);
}

interface Connection {
  readonly socket: Socket;
  readonly client: Recorder;
  readonly accepted: Socket;
  readonly server: Recorder;
  readonly listener: Listener;
  readonly clock: ManualClock;
  readonly network: LocalNetwork;
}

async function connect(): Promise<Connection> {
  const clock = new ManualClock();
  const network = new LocalNetwork(clock.timers, nodeWorld().network);
  const server = new Recorder();
  const sockets: Socket[] = [];
  const path = inProcessPath('a');
  const listener = await network.listen({ path }, {}, (socket) => {
    sockets.push(socket);
    socket.start(server);
  });
  const client = new Recorder();
  const socket = network.dial({ path });
  socket.start(client);
  await clock.settle();
  return { socket, client, accepted: sockets[0] as Socket, server, listener, clock, network };
}

test('bytes and the ends of the streams arrive in order, and both sides are closed', async () => {
  const { socket, client, accepted, server, clock } = await connect();
  assert.deepEqual(client.events, ['opened']);
  const bytes = Buffer.from('..hello..');
  assert.equal(socket.write(bytes, 2, 7), true);
  bytes.fill('x');
  socket.end();
  await clock.settle();
  assert.equal(server.received, 'hello');
  assert.deepEqual(server.events, ['ended']);
  accepted.write(Buffer.from('bye'), 0, 3);
  accepted.end();
  await clock.settle();
  assert.equal(client.received, 'bye');
  assert.deepEqual(client.events, ['opened', 'ended', 'closed']);
  assert.deepEqual(server.events, ['ended', 'closed']);
});

test('a reader that pauses holds the writer back, and lets it go on', async () => {
  const { socket, client, accepted, server, clock } = await connect();
  accepted.pause();
  const piece = Buffer.alloc(300_000, 'x');
  assert.equal(socket.write(piece, 0, piece.length), false);
  await clock.settle();
  assert.equal(server.received, '');
  accepted.resume();
  await clock.settle();
  assert.equal(server.received.length, piece.length);
  assert.deepEqual(client.events, ['opened', 'written']);
});

test('a side that is destroyed is noticed by the other; nobody listens where nobody does', async () => {
  const { socket, server, listener, clock, network } = await connect();
  socket.destroy();
  await clock.settle();
  assert.match(server.events.join(), /^closed ECONNRESET/);
  await assert.rejects(
    network.listen({ path: inProcessPath('a') }, {}, () => {}),
    /EADDRINUSE/,
  );
  await listener.close();
  const refused = new Recorder();
  network.dial({ path: inProcessPath('a') }).start(refused);
  await clock.settle();
  assert.match(refused.events.join(), /^closed ECONNREFUSED/);
});
