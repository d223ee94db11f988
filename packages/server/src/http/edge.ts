import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { answerHttp, type HttpMember, type HttpPolicy } from './routes.ts';

/** How long an HTTP/1.1 client may take to send its request's head. */
const HEADERS_TIMEOUT_MS = 10_000;

/** HTTP/1.1 connections that the transport recognised and handed over, answered by the routes. */
export class HttpEdge {
  private readonly server: Server;

  constructor(member: HttpMember, policy: HttpPolicy) {
    this.server = createServer((request, response) => {
      // What a client sends must never end the process, whatever of ours it trips over.
      answer(member, policy, request, response).catch(() => response.destroy());
    });
    this.server.headersTimeout = HEADERS_TIMEOUT_MS;
    this.server.requestTimeout = HEADERS_TIMEOUT_MS * 2;
    this.server.maxHeadersCount = 100;
  }

  /** Takes over a connection (a socket of Node's own) whose first bytes were already read. `gone`: once it is closed. */
  accept(detached: unknown, firstBytes: Buffer, gone: () => void): void {
    const socket = detached as Socket;
    socket.once('close', gone);
    this.server.emit('connection', socket);
    if (firstBytes.length > 0) socket.unshift(firstBytes);
    socket.resume();
  }

  /** Ends what is idle and refuses what comes. */
  close(): void {
    this.server.closeAllConnections();
  }
}

async function answer(
  member: HttpMember,
  policy: HttpPolicy,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // Bodies mean nothing to these routes; reading them keeps the connection usable.
  request.resume();
  const result = await answerHttp(member, policy, {
    method: request.method ?? 'GET',
    target: request.url ?? '/',
    origin: request.headers.origin,
    host: request.headers.host,
  });
  response.writeHead(
    result.status,
    [...result.headers, ['Content-Length', String(Buffer.byteLength(result.body))]].flat(),
  );
  response.end(request.method === 'HEAD' ? undefined : result.body);
}
