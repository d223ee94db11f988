/** Calls as JSON over `fetch`, to etcd's gateway. */
import { EtcdError, findMethod, GrpcCode, jsonToMessage, messageToJson } from '@etsd/proto';
import { CanceledError, statusError, UnavailableError } from '../errors.ts';
import {
  type CallHeaders,
  type ClientWorld,
  type Link,
  type LinkCall,
  LinkRank,
  type Method,
  type Outgoing,
  type StreamReceiver,
  type Transport,
} from '../link.ts';
import { LineSplitter } from './lines.ts';

/** What is needed of a `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** The gateway hands on as metadata what begins with this; what OpenTelemetry sends is known without it. */
const METADATA_PREFIX = 'grpc-metadata-';
const TRACE_HEADERS = new Set(['traceparent', 'tracestate', 'baggage']);

export class FetchTransport implements Transport {
  readonly world: ClientWorld;
  /** A request is sent whole before the answer begins, so every watch and every renewal is a request of its own. */
  readonly sendsMany = false;
  private readonly fetch: Fetch;
  private readonly further: Readonly<Record<string, string>>;

  constructor(world: ClientWorld, fetch: Fetch, further: Readonly<Record<string, string>>) {
    this.world = world;
    this.fetch = fetch;
    this.further = further;
  }

  link(endpoint: string): Link {
    return new FetchLink(this.world, this.fetch, baseUrl(endpoint), this.further);
  }
}

/** `https://host/etcd/` → `https://host/etcd`; a bare `host:port` is taken for http. Throws `TypeError`. */
export function baseUrl(endpoint: string): string {
  const text = /^[a-z]+:\/\//.test(endpoint) ? endpoint : `http://${endpoint}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(`"${endpoint}" is no endpoint of a gateway; one looks like https://host:2379`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

class FetchLink implements Link {
  /** There is no telling whether a connection stands; what fails is known to whoever keeps the endpoints. */
  readonly rank = LinkRank.IDLE;
  private readonly world: ClientWorld;
  private readonly fetch: Fetch;
  private readonly base: string;
  private readonly further: Readonly<Record<string, string>>;
  private readonly running = new Set<AbortController>();

  constructor(world: ClientWorld, fetch: Fetch, base: string, further: Readonly<Record<string, string>>) {
    this.world = world;
    this.fetch = fetch;
    this.base = base;
    this.further = further;
  }

  async unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    call: LinkCall,
  ): Promise<Response> {
    const exchange = this.begin(call);
    try {
      const response = await this.post(method, request, call.headers, exchange.stop.signal);
      const text = await response.text();
      if (!response.ok) throw errorOfBody(response.status, text);
      return jsonToMessage(method.response, text);
    } catch (thrown) {
      throw exchange.errorOf(thrown);
    } finally {
      exchange.end();
    }
  }

  open<Request, Response>(
    method: Method<Request, Response>,
    receiver: StreamReceiver<Response>,
    call: LinkCall,
  ): Outgoing<Request> {
    const exchange = this.begin(call);
    return new FetchStream(method, receiver, exchange, (request) =>
      this.post(method, request, call.headers, exchange.stop.signal),
    );
  }

  /** The runtime connects as it likes. */
  warm(): boolean {
    return false;
  }

  close(): void {
    for (const stop of this.running) stop.abort(new CanceledError());
  }

  private begin(call: LinkCall): Exchange {
    return new Exchange(this.world, call, this.running);
  }

  private post<Request>(
    method: Method<Request, unknown>,
    request: Request,
    headers: CallHeaders,
    signal: AbortSignal,
  ): Promise<Response> {
    const path = findMethod(method.path)?.gatewayPaths[0];
    if (path === undefined) throw new EtcdError(GrpcCode.Unimplemented, `the gateway has no ${method.path}`);
    const { fetch } = this;
    return fetch(`${this.base}${path}`, {
      method: 'POST',
      headers: this.headersOf(headers),
      body: JSON.stringify(messageToJson(method.request, request as object)),
      signal,
    });
  }

  private headersOf(headers: CallHeaders): Record<string, string> {
    if (headers.prepared !== null) return headers.prepared as Record<string, string>;
    const made: Record<string, string> = { 'content-type': 'application/json', ...this.further };
    if (headers.token !== '') made['authorization'] = headers.token;
    // A page of another origin may not send it to etcd, which allows no such header.
    if (headers.requireLeader && !isForeign(this.base)) made[`${METADATA_PREFIX}hasleader`] = 'true';
    for (let i = 0; i < headers.further.length; i += 2) {
      const name = headers.further[i] as string;
      made[TRACE_HEADERS.has(name) ? name : `${METADATA_PREFIX}${name}`] = headers.further[i + 1] as string;
    }
    headers.prepared = made;
    return made;
  }
}

/** Whether a browser would ask the server before it sends headers that pages usually do not send. */
function isForeign(base: string): boolean {
  const { location } = globalThis as { location?: { origin?: string } };
  return location?.origin !== undefined && new URL(base).origin !== location.origin;
}

/** What can end a request before its answer has: time, its caller, the end of the client. */
class Exchange {
  readonly stop = new AbortController();
  private readonly running: Set<AbortController>;
  private readonly signal: AbortSignal | undefined;
  private readonly timer: { cancel(): void } | null;
  private readonly onAbort = (): void => this.stop.abort(new CanceledError(this.signal?.reason));

  constructor(world: ClientWorld, call: LinkCall, running: Set<AbortController>) {
    this.running = running;
    this.signal = call.signal;
    running.add(this.stop);
    const late = (): void =>
      this.stop.abort(statusError(GrpcCode.DeadlineExceeded, 'context deadline exceeded', false));
    this.timer = call.timeoutMs > 0 ? world.timers.after(call.timeoutMs, late) : null;
    if (this.signal?.aborted === true) this.onAbort();
    else this.signal?.addEventListener('abort', this.onAbort);
  }

  end(): void {
    this.running.delete(this.stop);
    this.timer?.cancel();
    this.signal?.removeEventListener('abort', this.onAbort);
  }

  errorOf(thrown: unknown): EtcdError {
    if (thrown instanceof EtcdError) return thrown;
    const { reason, aborted } = this.stop.signal;
    if (aborted) return reason instanceof EtcdError ? reason : new CanceledError(reason);
    // Of a browser's failed request nobody knows whether it arrived; Node.js and Deno say where there was no connection.
    const { code, message } = ((thrown as Error).cause ?? {}) as { code?: unknown; message?: unknown };
    const detail = typeof code === 'string' ? `: ${code}` : typeof message === 'string' ? `: ${message}` : '';
    const notSent = code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'UND_ERR_CONNECT_TIMEOUT';
    return new UnavailableError(`${(thrown as Error).message}${detail}`, notSent);
  }
}

/** One request, and an answer of one JSON object a line. */
class FetchStream<Request, Message> implements Outgoing<Request> {
  private readonly method: Method<Request, Message>;
  private readonly receiver: StreamReceiver<Message>;
  private readonly exchange: Exchange;
  private readonly post: (request: Request) => Promise<Response>;
  private isOver = false;
  private isPaused = false;
  private wake: (() => void) | null = null;

  constructor(
    method: Method<Request, Message>,
    receiver: StreamReceiver<Message>,
    exchange: Exchange,
    post: (request: Request) => Promise<Response>,
  ) {
    this.method = method;
    this.receiver = receiver;
    this.exchange = exchange;
    this.post = post;
    exchange.stop.signal.addEventListener('abort', () => this.finish(exchange.errorOf(null)));
  }

  /** There is one request to a stream: it ends our side. */
  send(request: Request): void {
    this.sendLast(request);
  }

  sendLast(request: Request): void {
    void this.run(request);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.wake?.();
    this.wake = null;
  }

  cancel(): void {
    this.exchange.stop.abort(new CanceledError());
  }

  private async run(request: Request): Promise<void> {
    try {
      const response = await this.post(request);
      if (!response.ok || response.body === null) throw errorOfBody(response.status, await response.text());
      const reader = response.body.getReader();
      const lines = new LineSplitter();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        for (const line of lines.take(value)) this.line(line);
        while (this.isPaused && !this.isOver) {
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        }
      }
      this.finish(null);
    } catch (thrown) {
      this.finish(this.exchange.errorOf(thrown));
      this.cancel();
    }
  }

  private line(line: string): void {
    if (this.isOver || line === '') return;
    const { error, result } = JSON.parse(line) as { error?: GatewayError; result?: unknown };
    if (error !== undefined) throw errorOfGateway(error);
    this.receiver.message(jsonToMessage(this.method.response, JSON.stringify(result)), line.length);
  }

  private finish(error: EtcdError | null): void {
    if (this.isOver) return;
    this.isOver = true;
    this.exchange.end();
    this.resume();
    this.receiver.ended(error);
  }
}

interface GatewayError {
  readonly code?: number;
  readonly grpc_code?: number;
  readonly message?: string;
}

function errorOfGateway(error: GatewayError): EtcdError {
  return statusError(error.code ?? error.grpc_code ?? GrpcCode.Unknown, error.message ?? '', false);
}

/** The gateway's own words, or what a proxy's status means by gRPC's table for such cases. */
function errorOfBody(status: number, text: string): EtcdError {
  try {
    const parsed = JSON.parse(text) as GatewayError & { error?: string };
    if (typeof parsed.code === 'number') return errorOfGateway({ message: parsed.error ?? '', ...parsed });
  } catch {
    // Not the gateway's: a proxy on the way answers as it likes.
  }
  const code = CODE_OF_STATUS[status] ?? GrpcCode.Unknown;
  return statusError(code, `unexpected HTTP status code received from server: ${status}`, false);
}

const CODE_OF_STATUS: Readonly<Record<number, number>> = {
  400: GrpcCode.Internal,
  401: GrpcCode.Unauthenticated,
  403: GrpcCode.PermissionDenied,
  404: GrpcCode.Unimplemented,
  429: GrpcCode.Unavailable,
  502: GrpcCode.Unavailable,
  503: GrpcCode.Unavailable,
  504: GrpcCode.Unavailable,
};
