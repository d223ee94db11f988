import { type EtcdError, GrpcCode } from '@etsd/proto';
import { type CallReceiver, ChannelState, type ClientCall, GrpcChannel, Metadata, type RpcWorld } from '@etsd/rpc';
import type { TlsOptions } from '@etsd/runtime';
import { parseEndpoint } from './endpoints.ts';
import { CanceledError, statusError } from './errors.ts';
import {
  type CallHeaders,
  type Link,
  type LinkCall,
  LinkRank,
  type Method,
  type Outgoing,
  type StreamReceiver,
  type Transport,
} from './link.ts';
import {
  type ClientOptions,
  DEFAULT_DIAL_TIMEOUT_MS,
  DEFAULT_KEEPALIVE_MS,
  DIAL_BACKOFF_MAX_MS,
  DIAL_BACKOFF_MS,
} from './options.ts';

/** The API version a client says it speaks; servers count requests by it. */
const API_VERSION = '3.5.0';
const USER_AGENT = 'etsd-client/0.1';
/** What `GrpcChannel` says of a call for which there was no connection: it did not leave. */
const NOT_SENT = 'connection error: desc = ';

/** gRPC over our own transport: TCP, TLS, unix sockets. */
export class GrpcTransport implements Transport {
  readonly world: RpcWorld;
  readonly sendsMany = true;
  private readonly options: ClientOptions;

  constructor(world: RpcWorld, options: ClientOptions) {
    this.world = world;
    this.options = options;
  }

  link(endpoint: string): Link {
    const { address, tls } = parseEndpoint(endpoint);
    const { options } = this;
    const secure = tls === 'always' || (tls === 'if-configured' && options.tls !== undefined);
    const tlsOptions: TlsOptions = { alpn: ['h2'], ...options.tls };
    const channel = new GrpcChannel(this.world, address, {
      dial: {
        connectTimeoutMs: options.dialTimeoutMs ?? DEFAULT_DIAL_TIMEOUT_MS,
        ...(secure ? { tls: tlsOptions } : {}),
      },
      userAgent: USER_AGENT,
      backoffMs: DIAL_BACKOFF_MS,
      backoffMaxMs: DIAL_BACKOFF_MAX_MS,
      keepaliveMs: options.keepaliveMs ?? DEFAULT_KEEPALIVE_MS,
      keepaliveTimeoutMs: options.keepaliveTimeoutMs ?? DEFAULT_KEEPALIVE_MS,
    });
    return new GrpcLink(channel);
  }
}

class GrpcLink implements Link {
  private readonly channel: GrpcChannel;

  constructor(channel: GrpcChannel) {
    this.channel = channel;
  }

  get rank(): LinkRank {
    switch (this.channel.state) {
      case ChannelState.READY:
        return LinkRank.READY;
      case ChannelState.FAILING:
        return LinkRank.FAILING;
      default:
        return LinkRank.IDLE;
    }
  }

  unary<Request, Response>(method: Method<Request, Response>, request: Request, call: LinkCall): Promise<Response> {
    return new Promise((resolve, reject) => {
      const receiver = new UnaryReceiver(method, resolve, reject, call.signal);
      if (call.signal?.aborted === true) {
        reject(new CanceledError(call.signal.reason));
        return;
      }
      const started = this.channel.start(method.path, receiver, {
        metadata: metadataOf(call.headers),
        ...(call.timeoutMs > 0 ? { timeoutMs: call.timeoutMs } : {}),
      });
      receiver.attach(started);
      started.sendLast(method.request.encode(request));
    });
  }

  open<Request, Response>(
    method: Method<Request, Response>,
    receiver: StreamReceiver<Response>,
    call: LinkCall,
  ): Outgoing<Request> {
    return new GrpcStream(this.channel, method, receiver, call);
  }

  warm(): boolean {
    this.channel.connect();
    return this.channel.state !== ChannelState.READY;
  }

  close(): void {
    this.channel.close();
  }
}

function metadataOf(headers: CallHeaders): Metadata {
  if (headers.prepared instanceof Metadata) return headers.prepared;
  const metadata = Metadata.of({ 'client-api-version': API_VERSION });
  if (headers.token !== '') metadata.add('token', headers.token);
  if (headers.requireLeader) metadata.add('hasleader', 'true');
  const { further } = headers;
  for (let i = 0; i < further.length; i += 2) metadata.add(further[i] as string, further[i + 1] as string);
  headers.prepared = metadata;
  return metadata;
}

/** What the transport says of a call's end, as our error. */
function errorOf(code: number, message: string): EtcdError {
  return statusError(code, message, message.startsWith(NOT_SENT));
}

/**
 * A message out of the transport's buffer; a copy, since that is used again and keys and values point into what they were
 * decoded from. Null, and the end of the call, where it is none.
 */
function decode<Request, Response>(
  method: Method<Request, Response>,
  call: ClientCall,
  bytes: Buffer,
  start: number,
  end: number,
): Response | null {
  try {
    return method.response.decode(Buffer.from(bytes.subarray(start, end)));
  } catch (error) {
    call.abandon(GrpcCode.Internal, `the response cannot be read: ${(error as Error).message}`);
    return null;
  }
}

/** Turns the callbacks of a unary call into a promise. */
class UnaryReceiver<Request, Response> implements CallReceiver {
  private readonly method: Method<Request, Response>;
  private readonly resolve: (response: Response) => void;
  private readonly reject: (error: Error) => void;
  private readonly signal: AbortSignal | undefined;
  private call: ClientCall | null = null;
  private response: Response | null = null;
  private onAbort: (() => void) | null = null;

  constructor(
    method: Method<Request, Response>,
    resolve: (response: Response) => void,
    reject: (error: Error) => void,
    signal: AbortSignal | undefined,
  ) {
    this.method = method;
    this.resolve = resolve;
    this.reject = reject;
    this.signal = signal;
  }

  attach(call: ClientCall): void {
    this.call = call;
    if (this.signal === undefined) return;
    this.onAbort = () => this.call?.cancel();
    this.signal.addEventListener('abort', this.onAbort);
  }

  message(call: ClientCall, bytes: Buffer, start: number, end: number): void {
    if (this.response === null) this.response = decode(this.method, call, bytes, start, end);
    else call.abandon(GrpcCode.Internal, 'cardinality violation: more than one response to a unary call');
  }

  closed(_call: ClientCall, code: number, message: string): void {
    if (this.onAbort !== null) this.signal?.removeEventListener('abort', this.onAbort);
    if (code === GrpcCode.OK && this.response !== null) this.resolve(this.response);
    else if (code === GrpcCode.OK) this.reject(errorOf(GrpcCode.Internal, 'no response to a unary call'));
    else if (this.signal?.aborted === true) this.reject(new CanceledError(this.signal.reason));
    else this.reject(errorOf(code, message));
  }
}

class GrpcStream<Request, Response> implements CallReceiver, Outgoing<Request> {
  private readonly method: Method<Request, Response>;
  private readonly receiver: StreamReceiver<Response>;
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort: () => void;
  private readonly call: ClientCall;

  constructor(
    channel: GrpcChannel,
    method: Method<Request, Response>,
    receiver: StreamReceiver<Response>,
    call: LinkCall,
  ) {
    this.method = method;
    this.receiver = receiver;
    this.signal = call.signal;
    this.call = channel.start(method.path, this, {
      metadata: metadataOf(call.headers),
      ...(call.timeoutMs > 0 ? { timeoutMs: call.timeoutMs } : {}),
    });
    this.onAbort = () => this.call.cancel();
    this.signal?.addEventListener('abort', this.onAbort);
  }

  send(request: Request): void {
    this.call.send(this.method.request.encode(request));
  }

  sendLast(request: Request): void {
    this.call.sendLast(this.method.request.encode(request));
  }

  pause(): void {
    this.call.pause();
  }

  resume(): void {
    this.call.resume();
  }

  cancel(): void {
    this.call.cancel();
  }

  message(call: ClientCall, bytes: Buffer, start: number, end: number): void {
    const response = decode(this.method, call, bytes, start, end);
    if (response !== null) this.receiver.message(response, end - start);
  }

  closed(_call: ClientCall, code: number, message: string): void {
    this.signal?.removeEventListener('abort', this.onAbort);
    if (code === GrpcCode.OK) this.receiver.ended(null);
    else if (this.signal?.aborted === true) this.receiver.ended(new CanceledError(this.signal.reason));
    else this.receiver.ended(errorOf(code, message));
  }
}
