/** Requests to peers over `node:http`, so that nobody else here knows of it. */
import {
  Agent,
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as plainRequest,
} from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import {
  type ConnectionOptions,
  checkServerIdentity,
  type DetailedPeerCertificate,
  type PeerCertificate,
} from 'node:tls';
import { EMPTY } from '@etsd/base';
import type { PeerCertificate as ShownCertificate, Timers, TlsOptions } from '@etsd/runtime';
import { ANSWER_BYTES_MAX } from './limits.ts';
import type { PeerAddress } from './peer-urls.ts';

/** What is dialled with: runtime's options, asked for at each connection where `current` is there. */
export type TlsDial = TlsOptions;

export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Is told how a request goes. */
export interface AnswerReceiver {
  answered(status: number, headers: AnswerHeaders): void;
  /** Bytes of the answer's body, in a buffer nobody writes to again. */
  data(bytes: Buffer): void;
  /** Bytes may be written again after `write` returned false. */
  drained(): void;
  /** Exactly once, the last call; null: the answer came to its proper end. */
  closed(error: Error | null): void;
}

/** A request under way. */
export interface Exchange {
  /** Bytes of the request's body; false: wait for `drained` before the next. */
  write(bytes: Buffer): boolean;
  /** The request is complete. */
  end(): void;
  destroy(): void;
  /** It went over a connection that had served another request before, and so may have been closed unseen. */
  readonly isReused: boolean;
}

export interface RequestOptions {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The whole body; null: none, or it is written piece by piece. */
  readonly body: Buffer | null;
  /** Whether the body is written piece by piece. */
  readonly isStreaming: boolean;
  /** A connection of its own, not shared with other requests. */
  readonly isAlone: boolean;
}

/** The outcome of a short request. `status` is 0 where there was an error. */
export type AnswerCallback = (error: Error | null, status: number, headers: AnswerHeaders, body: Buffer) => void;

const cutOff = new Error('EOF');
const abandoned = new Error('request abandoned');
const timedOut = new Error('request timed out');
const tooLarge = new Error('answer over the limit');

export class HttpClient {
  private readonly timers: Timers;
  private readonly tls: TlsDial | null;
  private readonly plainAgent = new Agent({ keepAlive: true, maxFreeSockets: 4 });
  // No sessions are resumed: who resumes one does not look at the certificate again.
  private readonly secureAgent = new SecureAgent({ keepAlive: true, maxFreeSockets: 4, maxCachedSessions: 0 });
  private readonly open: Set<ClientRequest> = new Set();
  /** Nothing is started any more. */
  isClosed = false;

  constructor(timers: Timers, tls: TlsDial | null) {
    this.timers = timers;
    this.tls = tls;
  }

  start(address: PeerAddress, options: RequestOptions, receiver: AnswerReceiver): Exchange {
    const { body } = options;
    const headers: OutgoingHttpHeaders = { ...options.headers, Host: address.authority };
    if (body !== null) headers['Content-Length'] = body.length;
    const where =
      address.socketPath !== null ? { socketPath: address.socketPath } : { host: address.host, port: address.port };
    const common = { ...where, method: options.method, path: options.path, headers, noDelay: true };
    const request = address.isSecure
      ? secureRequest({ ...common, ...this.secureOptions(), agent: options.isAlone ? false : this.secureAgent })
      : plainRequest({ ...common, agent: options.isAlone ? false : this.plainAgent });
    const exchange = new NodeExchange(request, receiver, this.open);
    if (body !== null) request.end(body);
    else if (!options.isStreaming) request.end();
    else request.flushHeaders();
    return exchange;
  }

  private secureOptions(): ConnectionOptions {
    const tls = this.tls?.current?.() ?? this.tls;
    if (tls === null) return {};
    const options: Record<string, unknown> = {};
    for (const name of ['cert', 'key', 'ca', 'crl', 'ciphers', 'minVersion', 'maxVersion'] as const) {
      if (tls[name] !== undefined) options[name] = tls[name];
    }
    if (tls.serverName !== undefined && tls.serverName !== '') options['servername'] = tls.serverName;
    if (tls.insecureSkipVerify === true) options['rejectUnauthorized'] = false;
    const { checkServer } = tls;
    if (checkServer !== undefined) {
      options['checkServerIdentity'] = (host: string, certificate: PeerCertificate) =>
        checkServerIdentity(host, certificate) ?? checkServer(asShown(certificate)) ?? undefined;
    }
    return options as ConnectionOptions;
  }

  /** A request whose answer is short: `done` is called exactly once. */
  call(address: PeerAddress, options: RequestOptions, timeoutMs: number, done: AnswerCallback): void {
    const call = new ShortCall(this, done, (receiver) => this.start(address, options, receiver));
    call.timer = this.timers.after(timeoutMs, call.onTimeout, { ref: false });
    call.start();
  }

  /** Ends everything that is under way. */
  close(): void {
    this.isClosed = true;
    for (const request of this.open) request.destroy(abandoned);
    this.plainAgent.destroy();
    this.secureAgent.destroy();
  }
}

/** A server's certificate as the checks of it want it. */
function asShown(certificate: PeerCertificate): ShownCertificate {
  const issuers: Buffer[] = [];
  let issuer = (certificate as DetailedPeerCertificate).issuerCertificate as DetailedPeerCertificate | undefined;
  while (issuer?.raw !== undefined && !issuers.some((each) => each === issuer?.raw)) {
    issuers.push(issuer.raw);
    issuer = issuer.issuerCertificate;
  }
  const { CN } = certificate.subject;
  return {
    commonName: (Array.isArray(CN) ? CN[0] : CN) ?? '',
    subjectAltNames: certificate.subjectaltname?.split(', ') ?? [],
    raw: certificate.raw,
    issuers,
  };
}

class NodeExchange implements Exchange {
  private readonly request: ClientRequest;
  private readonly receiver: AnswerReceiver;
  private readonly open: Set<ClientRequest>;
  private error: Error | null = null;
  private isAnswered = false;
  private isComplete = false;
  private isClosed = false;

  constructor(request: ClientRequest, receiver: AnswerReceiver, open: Set<ClientRequest>) {
    this.request = request;
    this.receiver = receiver;
    this.open = open;
    open.add(request);
    request.on('response', (response) => this.onResponse(response));
    request.on('drain', () => {
      if (!this.isClosed) receiver.drained();
    });
    request.on('error', (error) => {
      this.error ??= error;
    });
    request.on('close', () => this.close());
  }

  private onResponse(response: IncomingMessage): void {
    const { receiver } = this;
    this.isAnswered = true;
    response.on('data', (bytes: Buffer) => {
      if (!this.isClosed) receiver.data(bytes);
    });
    response.on('error', (error) => {
      this.error ??= error;
    });
    response.on('end', () => {
      this.isComplete = true;
    });
    response.on('close', () => this.close());
    receiver.answered(response.statusCode ?? 0, response.headers);
  }

  private close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.open.delete(this.request);
    this.receiver.closed(this.isComplete ? null : (this.error ?? (this.isAnswered ? cutOff : abandoned)));
  }

  write(bytes: Buffer): boolean {
    return this.request.write(bytes);
  }

  end(): void {
    this.request.end();
  }

  destroy(): void {
    this.request.destroy();
  }

  get isReused(): boolean {
    return this.request.reusedSocket;
  }
}

class ShortCall implements AnswerReceiver {
  timer: { cancel(): void } | null = null;
  private exchange: Exchange | null = null;
  private readonly client: HttpClient;
  private readonly done: AnswerCallback;
  private readonly begin: (receiver: AnswerReceiver) => Exchange;
  private status = 0;
  private headers: AnswerHeaders = {};
  private readonly parts: Buffer[] = [];
  private length = 0;
  private error: Error | null = null;
  private isRepeated = false;

  constructor(client: HttpClient, done: AnswerCallback, begin: (receiver: AnswerReceiver) => Exchange) {
    this.client = client;
    this.done = done;
    this.begin = begin;
  }

  start(): void {
    this.exchange = this.begin(this);
  }

  answered(status: number, headers: AnswerHeaders): void {
    this.status = status;
    this.headers = headers;
  }

  data(bytes: Buffer): void {
    this.length += bytes.length;
    if (this.length > ANSWER_BYTES_MAX) this.abandon(tooLarge);
    else this.parts.push(bytes);
  }

  drained(): void {}

  private abandon(error: Error): void {
    this.error ??= error;
    this.exchange?.destroy();
  }

  readonly onTimeout = (): void => this.abandon(timedOut);

  closed(error: Error | null): void {
    if (error !== null && this.mayRepeat()) {
      this.isRepeated = true;
      this.start();
      return;
    }
    this.timer?.cancel();
    const failure = this.error ?? error;
    if (failure !== null) this.done(failure, 0, this.headers, EMPTY);
    else this.done(null, this.status, this.headers, Buffer.concat(this.parts));
  }

  /** The other side had closed an idle connection just when it was used again: nothing was lost but time. */
  private mayRepeat(): boolean {
    if (this.client.isClosed) return false;
    return !this.isRepeated && this.error === null && this.status === 0 && this.exchange?.isReused === true;
  }
}
