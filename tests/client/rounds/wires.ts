import { connect, createServer, type Server, type Socket } from 'node:net';

/** A port in front of a member's own, so that its clients can be cut off without its noticing anything else. */
export class Wire {
  readonly address: string;
  private readonly server: Server;
  private readonly target: number;
  private readonly pairs = new Set<readonly [Socket, Socket]>();
  private isCut = false;

  private constructor(server: Server, target: number) {
    this.server = server;
    this.target = target;
    this.address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    server.on('connection', (socket) => this.accept(socket));
  }

  static async to(target: number): Promise<Wire> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new Wire(server, target);
  }

  /** All connections break, and new ones are refused until `heal`. */
  cut(): void {
    this.isCut = true;
    for (const pair of this.pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  /** All connections break; new ones can be made. */
  snap(): void {
    this.cut();
    this.isCut = false;
  }

  /** Bytes stop in both directions, and nobody is told, until `heal`. */
  stall(): void {
    for (const pair of this.pairs) for (const socket of pair) socket.pause();
  }

  heal(): void {
    this.isCut = false;
    for (const pair of this.pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(near: Socket): void {
    if (this.isCut) {
      near.on('error', () => {});
      near.resetAndDestroy();
      return;
    }
    const far = connect({ host: '127.0.0.1', port: this.target });
    const pair = [near, far] as const;
    this.pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('data', (bytes: Buffer) => to.write(bytes));
      from.on('close', () => {
        this.pairs.delete(pair);
        to.destroy();
      });
    }
  }
}
