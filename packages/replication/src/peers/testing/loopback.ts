/** Members whose transports talk over loopback, for tests. Logs and state machines are in memory. */
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TlsOptions as NodeTlsOptions } from 'node:tls';
import { type Logger, type LogLevel, type U64, u64FromNumber } from '@etsd/base';
import type { Message } from '@etsd/proto';
import { emptyState } from '@etsd/raft';
import type { World } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import type { IdentifiedMember } from '../../membership.ts';
import { foundingEntry } from '../../membership.ts';
import { ReplicationNode } from '../../node.ts';
import { MemoryLog, RecordingApplier, RecordingWaiter } from '../../testing/fakes.ts';
import { HttpTransport, type HttpTransportOptions, type PeerHost } from '../http-transport.ts';

export const CLUSTER: U64 = '00c1005e00c1005e';

/** Waits until something is so, or fails with what was awaited. */
export async function until(what: string, holds: () => boolean, timeoutMs = 15_000): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Keeps the lines. */
export class LineLogger implements Logger {
  readonly lines: string[] = [];

  enabled(): boolean {
    return true;
  }

  log(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }

  has(text: string): boolean {
    return this.lines.some((line) => line.includes(text));
  }
}

/** A member's side of the transport that only notes what it is told. */
export class NotingHost implements PeerHost {
  readonly messages: Message[] = [];
  readonly removedIds: Set<U64> = new Set();
  readonly unreachable: U64[] = [];
  readonly snapshots: string[] = [];
  removals = 0;

  step(message: Message): void {
    this.messages.push(message);
  }
  isRemoved(id: U64): boolean {
    return this.removedIds.has(id);
  }
  reportUnreachable(id: U64): void {
    this.unreachable.push(id);
  }
  reportSnapshot(id: U64, failed: boolean): void {
    this.snapshots.push(`${id} ${failed ? 'failed' : 'finished'}`);
  }
  removed(): void {
    this.removals++;
  }
}

/** One transport with the server of its peer port. */
export class Station {
  /** May be set until `open`: the id of a founding member follows from its URL. */
  id: U64;
  readonly world: World = nodeWorld();
  readonly logger: LineLogger = new LineLogger();
  readonly server: Server;
  private readonly sockets: Set<Socket> = new Set();
  private transportOrNull: HttpTransport | null = null;
  url = '';
  /** What the other paths of the peer port answer. */
  readonly pages: Map<string, string> = new Map();
  /** Connections are refused: the member cannot be reached. */
  isCut = false;

  constructor(id: number | U64, tls: NodeTlsOptions | null = null) {
    this.id = typeof id === 'number' ? u64FromNumber(id) : id;
    const answer: Parameters<typeof createServer>[1] = (request, response) => {
      if (this.transportOrNull?.handle(request, response) === true) return;
      const page = this.pages.get(request.url ?? '');
      response.writeHead(page === undefined ? 404 : 200);
      response.end(page);
    };
    this.server = tls === null ? createServer(answer) : (createSecureServer(tls, answer) as unknown as Server);
    this.server.on(tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
      if (this.isCut) socket.destroy();
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  /** Listens on a port of the system's choice, or on a unix socket. */
  async listen(path: string | null = null, port = 0): Promise<void> {
    await new Promise<void>((resolve) => {
      if (path !== null) this.server.listen(path, () => resolve());
      else this.server.listen(port, '127.0.0.1', () => resolve());
    });
    const scheme = 'setSecureContext' in this.server ? 'https' : 'http';
    if (path !== null) this.url = `unix://${path}`;
    else this.url = `${scheme}://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  open(host: PeerHost, options: Partial<HttpTransportOptions> = {}): HttpTransport {
    this.transportOrNull = new HttpTransport({
      world: this.world,
      logger: this.logger,
      memberId: this.id,
      clusterId: CLUSTER,
      ownPeerUrls: [this.url],
      tls: null,
      serverVersion: '3.5.30',
      minClusterVersion: '3.0.0',
      electionMs: 1000,
      host,
      source: null,
      sink: null,
      ...options,
    });
    return this.transportOrNull;
  }

  get transport(): HttpTransport {
    if (this.transportOrNull === null) throw new Error('no transport yet');
    return this.transportOrNull;
  }

  /** Ends every connection others have to this member, and refuses new ones until `mend`. */
  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend(): void {
    this.isCut = false;
  }

  async close(): Promise<void> {
    await this.transportOrNull?.close();
    this.server.closeAllConnections();
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

/** A log whose disk is done at the end of the turn. */
class PromptLog extends MemoryLog {
  override flush(): void {
    super.flush();
    if (this.isWriting) setImmediate(() => this.finish());
  }
}

/** A station with a raft behind it. */
export class LoopbackMember {
  readonly station: Station;
  readonly applier: RecordingApplier = new RecordingApplier();
  readonly node: ReplicationNode;
  isRemoved = false;
  readonly gone: Set<U64> = new Set();
  /** Indexes of the snapshots installed. */
  readonly installed: number[] = [];

  constructor(
    station: Station,
    clusterId: U64,
    members: readonly IdentifiedMember[],
    options: Partial<HttpTransportOptions> = {},
  ) {
    this.station = station;
    const transport = station.open(
      {
        step: (message) => this.node.step(message),
        isRemoved: (id) => this.gone.has(id),
        reportUnreachable: (id) => this.node.reportUnreachable(id),
        reportSnapshot: (id, failed) => this.node.reportSnapshot(id, failed),
        removed: () => {
          this.isRemoved = true;
        },
      },
      { clusterId, ...options },
    );
    this.node = new ReplicationNode({
      world: station.world,
      logger: station.logger,
      log: new PromptLog(),
      start: {
        memberId: station.id,
        clusterId,
        stored: emptyState(),
        bootstrap: members.map(foundingEntry),
      },
      applier: this.applier,
      durableIndex: () => this.applier.appliedIndex,
      onFatal: (error) => {
        throw error;
      },
      transport,
      requestKeyOf: (data) => data.toString('latin1'),
      installer: {
        install: (snapshot, done) => {
          const index = snapshot.metadata?.index ?? 0;
          this.applier.appliedIndex = index;
          this.applier.confState = snapshot.metadata?.confState ?? null;
          this.installed.push(index);
          done(null);
        },
      },
    });
    for (const member of members) transport.addPeer(member.id, member.peerUrls);
    this.node.start();
  }

  propose(text: string): RecordingWaiter {
    const waiter = new RecordingWaiter();
    this.node.propose(Buffer.from(text), waiter);
    return waiter;
  }

  async close(): Promise<void> {
    await this.node.stop();
    await this.station.close();
  }
}

/** The real world in which all waits are shorter by a factor. */
export function fastWorld(factor: number): HttpTransportOptions['world'] {
  const { clock, timers, random } = nodeWorld();
  return {
    clock: { nowMs: () => clock.nowMs() * factor, wallMs: () => clock.wallMs() },
    timers: {
      after: (ms, callback, options) => timers.after(ms / factor, callback, options),
      every: (ms, callback, options) => timers.every(ms / factor, callback, options),
      endOfTurn: (callback) => timers.endOfTurn(callback),
      soon: (callback) => timers.soon(callback),
    },
    random,
  };
}
