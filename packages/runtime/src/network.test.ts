/**
 * Goal: the real network and the simulated one keep the same contract. Method: one suite for both. What is special to
 * the simulated one (cut links, crashes) is in sim/simulation.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Network, Socket, SocketReceiver } from './index.ts';
import { nodeWorld } from './node/index.ts';
import { SimUniverse } from './sim/index.ts';

/** Notes everything that happens to a socket. */
class Notes implements SocketReceiver {
  readonly events: string[] = [];
  readonly pieces: Buffer[] = [];
  private waiting: { isMet: () => boolean; resolve: () => void }[] = [];

  opened(): void {
    this.note('opened');
  }

  data(bytes: Buffer, start: number, end: number): void {
    this.pieces.push(Buffer.from(bytes.subarray(start, end)));
    this.note('data');
  }

  written(): void {
    this.note('written');
  }

  ended(): void {
    this.note('ended');
  }

  closed(error: Error | null): void {
    this.note(error === null ? 'closed' : 'closed with error');
  }

  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }

  /** Waits until something has happened. */
  until(isMet: () => boolean): Promise<void> {
    if (isMet()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ isMet, resolve }));
  }

  untilEvent(name: string): Promise<void> {
    return this.until(() => this.events.includes(name));
  }

  private note(event: string): void {
    if (event !== 'data' || this.events.at(-1) !== 'data') this.events.push(event);
    const { waiting } = this;
    this.waiting = waiting.filter(({ isMet }) => !isMet());
    for (const { isMet, resolve } of waiting) if (isMet()) resolve();
  }
}

interface Pair {
  readonly client: Socket;
  readonly clientNotes: Notes;
  readonly server: Socket;
  readonly serverNotes: Notes;
}

async function connect(network: Network): Promise<Pair> {
  const serverNotes = new Notes();
  let server: Socket | null = null;
  const listener = await network.listen({ host: '127.0.0.1', port: 0 }, {}, (socket) => {
    server = socket;
    socket.start(serverNotes);
    serverNotes.opened();
  });
  assert.ok('port' in listener.address && listener.address.port > 0);
  const client = network.dial(listener.address);
  const clientNotes = new Notes();
  client.start(clientNotes);
  await clientNotes.untilEvent('opened');
  await serverNotes.untilEvent('opened');
  await listener.close();
  return { client, clientNotes, server: server as unknown as Socket, serverNotes };
}

type Scenario = (network: Network) => Promise<void>;

const SUITE: readonly (readonly [name: string, scenario: Scenario])[] = [
  [
    'bytes arrive in order, both ways, and both ends close after both have ended',
    async (network) => {
      const { client, clientNotes, server, serverNotes } = await connect(network);
      assert.equal(client.remoteAddress, server.localAddress);
      assert.equal(client.localAddress, server.remoteAddress);
      for (let piece = 0; piece < 10; piece++) assert.ok(client.write(Buffer.from(`..${piece},`), 2, 4));
      server.write(Buffer.from('answer'), 0, 6);
      await serverNotes.until(() => serverNotes.bytes.toString() === '0,1,2,3,4,5,6,7,8,9,');
      client.end();
      await serverNotes.untilEvent('ended');
      server.write(Buffer.from('!'), 0, 1);
      server.end();
      await clientNotes.untilEvent('closed');
      await serverNotes.untilEvent('closed');
      assert.equal(clientNotes.bytes.toString(), 'answer!');
      assert.deepEqual(serverNotes.events, ['opened', 'data', 'ended', 'closed']);
    },
  ],
  [
    'a writer is held back while nobody reads, and told when there is room',
    async (network) => {
      const { client, clientNotes, server, serverNotes } = await connect(network);
      server.pause();
      const piece = Buffer.alloc(1 << 20, 7);
      let written = 0;
      while (client.write(piece, 0, piece.length)) {
        written++;
        assert.ok(written < 1000, 'there is a bound');
      }
      assert.ok(!clientNotes.events.includes('written'));
      server.resume();
      await clientNotes.untilEvent('written');
      await serverNotes.until(
        () => serverNotes.pieces.reduce((sum, part) => sum + part.length, 0) === (written + 1) << 20,
      );
      client.destroy();
      await serverNotes.until(() => /^(ended|closed)/.test(serverNotes.events.at(-1) ?? ''));
      server.destroy();
    },
  ],
  [
    'a destroyed socket is closed once, and takes writes without effect',
    async (network) => {
      const { client, clientNotes, server, serverNotes } = await connect(network);
      client.destroy(new Error('enough'));
      client.destroy();
      await clientNotes.untilEvent('closed with error');
      assert.ok(client.write(Buffer.from('x'), 0, 1));
      client.end();
      await serverNotes.until(() => serverNotes.events.length > 1);
      server.destroy();
      assert.deepEqual(clientNotes.events, ['opened', 'closed with error']);
      assert.equal(serverNotes.bytes.length, 0);
    },
  ],
  [
    'nobody there is an error',
    async (network) => {
      const listener = await network.listen({ host: '127.0.0.1', port: 0 }, {}, () => assert.fail('closed'));
      await listener.close();
      const notes = new Notes();
      network.dial(listener.address).start(notes);
      await notes.untilEvent('closed with error');
      assert.deepEqual(notes.events, ['closed with error']);
    },
  ],
  [
    'an address is taken once',
    async (network) => {
      const listener = await network.listen({ host: '127.0.0.1', port: 0 }, {}, () => {});
      await assert.rejects(
        network.listen(listener.address, {}, () => {}),
        /EADDRINUSE/,
      );
      await listener.close();
      await (await network.listen(listener.address, {}, () => {})).close();
    },
  ],
];

for (const [name, scenario] of SUITE) {
  test(`node network: ${name}`, () => scenario(nodeWorld().network));

  test(`simulated network: ${name}`, async () => {
    const universe = new SimUniverse(7);
    await universe.simulation.runToEnd(scenario(universe.addMachine('m').world.network));
  });
}
