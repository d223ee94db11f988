import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** How long another member may take to send the head of a request. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How often those who take too long are looked for. */
const LOOK_MS = 1000;
/** How long a connection without a request is kept for the next one. */
const IDLE_TIMEOUT_MS = 60_000;

/** Connections open at a time; more are closed at once. Members take a handful each. */
const CONNECTIONS_MAX = 4096;

/** Answers a request of another member; the body is the handler's to read or to throw away. */
export type PeerHandler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * HTTP/1.1 of the peer port. Each path has one handler; a path ending in `/` stands for all below it. A body may be long
 * (a snapshot) and an answer endless (a stream of messages), so that only the head of a request is timed here.
 */
export class PeerEdge {
  private readonly server: Server;
  private readonly exact = new Map<string, PeerHandler>();
  private readonly below: { readonly prefix: string; readonly handler: PeerHandler }[] = [];

  private connections = 0;
  private keepsTime = false;

  constructor(headersTimeoutMs: number = HEADERS_TIMEOUT_MS) {
    const options = { connectionsCheckingInterval: Math.min(LOOK_MS, headersTimeoutMs) };
    this.server = createServer(options, (request, response) => this.answer(request, response));
    this.server.headersTimeout = headersTimeoutMs;
    this.server.requestTimeout = 0;
    this.server.keepAliveTimeout = IDLE_TIMEOUT_MS;
    this.server.maxHeadersCount = 100;
  }

  route(path: string, handler: PeerHandler): void {
    if (path.endsWith('/')) this.below.push({ prefix: path, handler });
    else this.exact.set(path, handler);
  }

  /** Takes over a connection (a socket of Node's own). */
  accept(detached: unknown): void {
    const socket = detached as Socket;
    if (this.connections >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    this.connections++;
    socket.once('close', () => this.connections--);
    if (!this.keepsTime) {
      // Connections are handed over, nobody listens; but it is then that node begins to keep to its time limits, with a
      // timer that keeps all of this in memory: where no connection ever comes (in a simulation), there is none.
      this.keepsTime = true;
      this.server.emit('listening');
    }
    this.server.emit('connection', socket);
    socket.resume();
  }

  /** Ends every connection. */
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** Answers one request. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    // A connection that breaks ends the request; nobody is left who could be told.
    request.on('error', () => {});
    response.on('error', () => {});
    const path = (request.url ?? '/').split('?', 1)[0] as string;
    const handler = this.exact.get(path) ?? this.below.find(({ prefix }) => path.startsWith(prefix))?.handler;
    if (handler !== undefined) {
      handler(request, response);
      return;
    }
    request.resume();
    response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' });
    response.end('404 page not found\n');
  }
}
