/** Where recipes are tested: a member of either product, clients of it, and wires between that can be cut. */
import assert from 'node:assert/strict';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type ClientOptions, EtcdClient, prefix } from '@etsd/client';
import { needsPeer } from '@etsd/testkit';
import { type Product, startServer, type TestServer } from '../../support/server.ts';

/** A connection to the member that can be lost. */
export class Wire {
  readonly address: string;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private isCut = false;

  private constructor(server: Server, port: number) {
    this.server = server;
    this.address = `127.0.0.1:${port}`;
  }

  static async to(target: number): Promise<Wire> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const wire = new Wire(server, (server.address() as { port: number }).port);
    server.on('connection', (socket) => wire.join(socket, connect(target, '127.0.0.1')));
    return wire;
  }

  /** Connections break, and new ones do too until it is mended. What was on its way is lost. */
  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
    if (this.isCut) for (const socket of [near, far]) socket.resetAndDestroy();
  }
}

/** What a test has at hand; everything is closed at its end. */
export class Field implements AsyncDisposable {
  readonly server: TestServer;
  readonly client: EtcdClient;
  /** A name for keys that no other test uses. */
  readonly name: string;
  private readonly closers: (() => Promise<void>)[] = [];

  constructor(server: TestServer, name: string) {
    this.server = server;
    this.name = name;
    this.client = this.another();
  }

  another(options: Partial<ClientOptions> = {}): EtcdClient {
    const client = new EtcdClient({ endpoints: this.server.address, ...options });
    this.closers.push(() => client.close());
    // Leases that a test leaves behind would be renewed for as long as the process lives.
    const hold = client.leases.hold.bind(client.leases);
    client.leases.hold = async (ttlSeconds, held) => {
      const lease = await hold(ttlSeconds, held);
      this.closers.push(() => lease.abandon());
      return lease;
    };
    return client;
  }

  /** A client whose connection can be cut. */
  async wired(): Promise<{ client: EtcdClient; wire: Wire }> {
    const wire = await Wire.to(this.server.clientPort);
    this.closers.push(() => wire.close());
    return { wire, client: this.another({ endpoints: wire.address, keepaliveMs: 1000 }) };
  }

  /** The keys that begin with the test's name, without it. */
  async keys(rest = ''): Promise<string[]> {
    const found: string[] = [];
    const start = this.name + rest;
    for await (const kv of this.client.kv.list(prefix(start))) found.push(kv.key.toString().slice(start.length));
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.closers.reverse()) await close();
  }
}

/** That it has not come so far; a moment later it may. */
export async function stillWaits(waiting: Promise<unknown>): Promise<void> {
  const first = await Promise.race([
    waiting.then(() => 'done'),
    new Promise((resolve) => setTimeout(resolve, 50, 'waits')),
  ]);
  assert.equal(first, 'waits');
}

export type Script = (field: Field, context: TestContext) => Promise<void>;

/** Runs each script against both products, one member for all scripts of a product, at the same time. */
export function onBothProducts(title: string, scripts: Readonly<Record<string, Script>>): void {
  for (const product of ['etsd', 'etcd'] as const satisfies Product[]) {
    const skip = product === 'etcd' && needsPeer('etcd');
    describe(`${title} on ${product}`, { skip, timeout: 240_000, concurrency: true }, () => {
      let server: TestServer | null = null;
      before(async () => {
        server = await startServer({ product });
      });
      after(async () => {
        await server?.dispose();
      });
      for (const [index, [what, script]] of Object.entries(scripts).entries()) {
        test(what, async (context) => {
          assert.ok(server !== null);
          await using field = new Field(server, `t${index}/`);
          await script(field, context);
        });
      }
    });
  }
}
