import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { HttpExchange, HttpHandler } from '@etsd/rpc';
import type { HttpFront } from './front.ts';
import { Http1Exchange } from './http1-exchange.ts';
import { Http2Exchange } from './http2-exchange.ts';

/** How long an HTTP/1.1 client may take to send its request's head. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How long it may take to send all of a request. */
const REQUEST_TIMEOUT_MS = 120_000;
/** How long a connection without a request is kept for the next one. */
const IDLE_TIMEOUT_MS = 60_000;
/** HTTP/1.1 connections open at a time; more are closed at once. */
const CONNECTIONS_MAX = 16_384;

/** Plain HTTP of the client addresses, of either version: requests as the front sees them. */
export class HttpEdge implements HttpHandler {
  private readonly front: HttpFront;
  private readonly server: Server;
  private connections = 0;

  constructor(front: HttpFront) {
    this.front = front;
    this.server = createServer((request, response) => front.serve(new Http1Exchange(request, response)));
    this.server.headersTimeout = HEADERS_TIMEOUT_MS;
    this.server.requestTimeout = REQUEST_TIMEOUT_MS;
    this.server.keepAliveTimeout = IDLE_TIMEOUT_MS;
    this.server.maxHeadersCount = 100;
    // Connections are handed over, nobody listens; but it is then that node begins to keep to its time limits.
    this.server.emit('listening');
  }

  /**
   * Takes over a connection (a socket of Node's own) that speaks HTTP/1.1 and whose first bytes were already read.
   * `gone`: once it is closed.
   */
  accept(detached: unknown, firstBytes: Buffer, gone: () => void): void {
    const socket = detached as Socket;
    socket.once('close', gone);
    if (this.connections >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    this.connections++;
    socket.once('close', () => this.connections--);
    this.server.emit('connection', socket);
    if (firstBytes.length > 0) socket.unshift(firstBytes);
    socket.resume();
  }

  /** A request over HTTP/2 that is not gRPC. */
  request(exchange: HttpExchange): void {
    this.front.serve(new Http2Exchange(exchange));
  }

  /** Ends every connection. */
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
