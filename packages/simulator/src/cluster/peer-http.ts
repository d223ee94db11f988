/**
 * The few bytes of HTTP/1.1 that members exchange beside the log, over simulated sockets: a request with a body of known
 * length, an answer, the end. It stands for Node's own server and client, which know real time and real sockets.
 */
import { EMPTY } from '@etsd/base';
import type { Socket, SocketReceiver } from '@etsd/runtime';
import type { PeerEdge } from '@etsd/server';

/** A request and a response of `node:http`. */
type EdgeArguments = Parameters<PeerEdge['answer']>;

interface Head {
  readonly first: string;
  readonly headers: Record<string, string>;
  readonly bodyFrom: number;
}

function readHead(bytes: Buffer): Head | null {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [first, ...lines] = bytes.toString('latin1', 0, end).split('\r\n') as [string, ...string[]];
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { first, headers, bodyFrom: end + 4 };
}

function wholeBody(bytes: Buffer, head: Head): Buffer | null {
  const length = Number(head.headers['content-length'] ?? 0);
  if (bytes.length < head.bodyFrom + length) return null;
  return bytes.subarray(head.bodyFrom, head.bodyFrom + length);
}

/** Collects what comes over a socket until it is one whole message. */
abstract class Gathering implements SocketReceiver {
  protected readonly socket: Socket;
  private bytes: Buffer = EMPTY;
  private isWhole = false;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.isWhole) return;
    this.bytes = Buffer.concat([this.bytes, bytes.subarray(start, end)]);
    const head = readHead(this.bytes);
    const body = head === null ? null : wholeBody(this.bytes, head);
    if (head === null || body === null) return;
    this.isWhole = true;
    this.whole(head, body);
  }

  written(): void {}

  ended(): void {
    if (!this.isWhole) this.socket.destroy();
  }

  abstract closed(error: Error | null): void;

  protected abstract whole(head: Head, body: Buffer): void;
}

/** What the routes of a member use of a request of Node's. */
class SimRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  private readonly body: Buffer;

  constructor(head: Head, body: Buffer) {
    const [method, url] = head.first.split(' ') as [string, string];
    this.method = method;
    this.url = url;
    this.headers = head.headers;
    this.body = body;
  }

  on(event: string, listener: (chunk?: Buffer) => void): this {
    if (event === 'data' && this.body.length > 0) listener(this.body);
    if (event === 'end') listener();
    return this;
  }

  resume(): this {
    return this;
  }

  destroy(): void {}
}

/** The same of a response. */
class SimResponse {
  private readonly socket: Socket;
  private readonly headers: Record<string, string> = {};
  private status = 200;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  on(): this {
    return this;
  }

  setHeader(name: string, value: string): this {
    this.headers[name.toLowerCase()] = value;
    return this;
  }

  writeHead(status: number, headers: Readonly<Record<string, string | number>> = {}): this {
    this.status = status;
    for (const [name, value] of Object.entries(headers)) this.setHeader(name, String(value));
    return this;
  }

  end(body: string | Buffer = ''): void {
    const bytes = Buffer.from(body as string);
    this.setHeader('Content-Length', String(bytes.length));
    const lines = Object.entries(this.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const answer = Buffer.concat([Buffer.from(`HTTP/1.1 ${this.status} OK\r\n${lines.join('')}\r\n`), bytes]);
    this.socket.write(answer, 0, answer.length);
    this.socket.end();
  }
}

class Serving extends Gathering {
  private readonly edge: PeerEdge;

  constructor(socket: Socket, edge: PeerEdge) {
    super(socket);
    this.edge = edge;
  }

  closed(): void {}

  protected whole(head: Head, body: Buffer): void {
    const [request, response] = [new SimRequest(head, body), new SimResponse(this.socket)] as unknown as EdgeArguments;
    this.edge.answer(request, response);
  }
}

/** Answers the one request that comes over this connection. */
export function serveRequest(socket: Socket, edge: PeerEdge): void {
  socket.start(new Serving(socket, edge));
}

export type AnswerCallback = (error: Error | null, status: number, body: Buffer) => void;

class Asking extends Gathering {
  private readonly request: Buffer;
  private done: AnswerCallback | null;

  constructor(socket: Socket, request: Buffer, done: AnswerCallback) {
    super(socket);
    this.request = request;
    this.done = done;
  }

  opened(): void {
    this.socket.write(this.request, 0, this.request.length);
  }

  closed(error: Error | null): void {
    this.settle(error ?? new Error('the connection was closed'), 0, EMPTY);
  }

  settle(error: Error | null, status: number, body: Buffer): void {
    const { done } = this;
    this.done = null;
    done?.(error, status, body);
  }

  protected whole(head: Head, body: Buffer): void {
    this.settle(null, Number(head.first.split(' ')[1]), body);
    this.socket.destroy();
  }
}

export interface Question {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Asks over a socket that was just dialled; `give up` by the function that comes back. */
export function askPeer(socket: Socket, question: Question, done: AnswerCallback): (error: Error) => void {
  const { method, path, headers, body } = question;
  const lines = Object.entries({ ...headers, 'Content-Length': String(body.length) });
  const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  const asking = new Asking(socket, Buffer.concat([Buffer.from(head, 'latin1'), body]), done);
  socket.start(asking);
  return (error) => {
    asking.settle(error, 0, EMPTY);
    socket.destroy();
  };
}
