import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { HttpExchange, HttpHandler } from '@etsd/rpc';
import type { HttpFront } from './front.ts';
import { Http1Exchange } from './http1-exchange.ts';
import { Http2Exchange } from './http2-exchange.ts';
import type { WebExchange } from './web-exchange.ts';
import { refusedUpgrade, WebSocketExchange } from './websocket-exchange.ts';

/** How long an HTTP/1.1 client may take to send its request's head. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How long it may take to send all of a request. */
const REQUEST_TIMEOUT_MS = 120_000;
/** How long a connection without a request is kept for the next one. */
const IDLE_TIMEOUT_MS = 60_000;
/** How often those who take too long are looked for. */
const LOOK_MS = 1000;
/** HTTP/1.1 connections open at a time; more are closed at once. */
const CONNECTIONS_MAX = 16_384;

/** Codes of clients that left in the middle of a request. */
const LEFT = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE']);

/** Told of a connection that was cut: a word for the metrics, the client's address, and why. */
export type Misused = (kind: string, peer: string, reason: string) => void;

/** What node's parser refuses, by its code: the word for it and the answer to it. */
const MISUSES: Readonly<Record<string, readonly [kind: string, status: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['http1_timeout', '408 Request Timeout'],
  HPE_HEADER_OVERFLOW: ['http1_header_overflow', '431 Request Header Fields Too Large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['http1_header_overflow', '413 Payload Too Large'],
};

/** What whoever hands over a connection wants to know of it: that it asks for something, once, and that it is closed. */
export interface Handed {
  asked(): void;
  gone(): void;
}

/** Plain HTTP of the client addresses, of either version: requests as the front sees them. */
export class HttpEdge implements HttpHandler {
  private readonly front: HttpFront;
  private readonly server: Server;
  private readonly webSockets = new Set<Duplex>();
  /** Connections that have not asked for anything. */
  private readonly unasked = new WeakMap<Socket, Handed>();
  private connections = 0;
  private keepsTime = false;

  /**
   * `messageBytesMax` bounds what comes in one message over a WebSocket. `misused` is told of connections that are cut for
   * what they send, or how slowly: a word for the metrics, and why.
   */
  constructor(front: HttpFront, messageBytesMax: number, misused: Misused = () => {}, headersMs = HEADERS_TIMEOUT_MS) {
    this.front = front;
    const options = {
      connectionsCheckingInterval: Math.min(LOOK_MS, headersMs),
      shouldUpgradeCallback: (request: IncomingMessage) => front.takesUpgrade(request),
    };
    this.server = createServer(options, (request, response) => {
      this.asked(request.socket);
      this.serve(new Http1Exchange(request, response));
    });
    this.server.headersTimeout = headersMs;
    this.server.requestTimeout = REQUEST_TIMEOUT_MS;
    this.server.keepAliveTimeout = IDLE_TIMEOUT_MS;
    this.server.maxHeadersCount = 100;
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      const [kind, status] = MISUSES[error.code ?? ''] ?? ['http1_malformed', '400 Bad Request'];
      const { remoteAddress, remotePort } = socket as Socket;
      if (!LEFT.has(error.code ?? '')) misused(kind, `${remoteAddress}:${remotePort}`, error.message);
      if (socket.writable) socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
      socket.destroy();
    });
    this.server.on('upgrade', (request, socket, head) => {
      this.asked(request.socket);
      const refused = refusedUpgrade(request) ?? (front.allowsOrigin(request) ? null : 403);
      if (refused === null) {
        const exchange = new WebSocketExchange(request, socket, head, messageBytesMax);
        this.webSockets.add(socket);
        socket.once('close', () => this.webSockets.delete(socket));
        this.serve(exchange);
      } else refuseUpgrade(request, socket, refused);
    });
  }

  /**
   * Takes over a connection (a socket of Node's own) that speaks HTTP/1.1 and whose first bytes were already read.
   */
  accept(detached: unknown, firstBytes: Buffer, handed: Handed): void {
    const socket = detached as Socket;
    socket.once('close', () => handed.gone());
    this.unasked.set(socket, handed);
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
    if (firstBytes.length > 0) socket.unshift(firstBytes);
    socket.resume();
  }

  /** A request over HTTP/2 that is not gRPC. */
  request(exchange: HttpExchange): void {
    this.serve(new Http2Exchange(exchange));
  }

  private asked(socket: Socket): void {
    this.unasked.get(socket)?.asked();
    this.unasked.delete(socket);
  }

  /** What a client sends must never end the process, whatever of ours it trips over. */
  private serve(exchange: WebExchange): void {
    try {
      this.front.serve(exchange);
    } catch {
      exchange.abort();
    }
  }

  /** Ends every connection. */
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
    for (const socket of this.webSockets) socket.destroy();
  }
}

const UPGRADE_REFUSALS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
};

function refuseUpgrade(request: IncomingMessage, socket: Duplex, status: number): void {
  const text = UPGRADE_REFUSALS[status] as string;
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\nSec-Websocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: ${text.length + 1}\r\n\r\n${text}\n`,
    () => socket.destroy(),
  );
  request.resume();
}
