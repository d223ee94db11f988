/** A request of the gateway as the call it stands for: what both kinds of calls share. */
import type { MessagePlan } from '@etsd/proto';
import type { ApiHandler } from '../../context.ts';
import type { WebExchange } from '../web-exchange.ts';
import { type CallReceiver, InProcessCall } from './in-process-call.ts';
import { errorBody, headerText, httpStatusOf } from './statuses.ts';

/** What the gateway knows of one path. */
export interface GatewayRoute {
  readonly handler: ApiHandler;
  /** Whether the client sends any number of messages, or one. */
  readonly isBidirectional: boolean;
  readonly isStream: boolean;
  readonly request: MessagePlan;
  readonly response: MessagePlan;
}

/** What all calls of one gateway share. */
export interface GatewayCallParts {
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  readonly messageBytesMax: number;
  readonly bodyBytesMax: number;
  /** Names and values of JSON in one message. */
  readonly valuesMax: number;
  /** The common name of a client's certificate says who calls. */
  readonly passesIdentity: boolean;
}

export const JSON_TYPE = ['Content-Type', 'application/json'] as const;
const FROM_CALL = ['Grpc-Metadata-Content-Type', 'application/grpc'] as const;

const METADATA_PREFIX = 'grpc-metadata-';
const FORWARDED_PREFIX = 'grpcgateway-';

export abstract class GatewayCall implements CallReceiver {
  protected readonly exchange: WebExchange;
  protected readonly route: GatewayRoute;
  protected readonly parts: GatewayCallParts;
  protected readonly call: InProcessCall;
  /** The answer's headers, those of every answer of this listener first. */
  protected readonly headers: readonly string[];
  private deadline: { cancel(): void } | null = null;

  constructor(exchange: WebExchange, route: GatewayRoute, headers: readonly string[], parts: GatewayCallParts) {
    this.exchange = exchange;
    this.route = route;
    this.headers = headers;
    this.parts = parts;
    this.call = new InProcessCall(route.handler, this);
    exchange.onGone = () => this.gone();
    exchange.onDrained = () => this.call.drained();
  }

  /** Ends the call with `DeadlineExceeded` if it takes longer. */
  limitTime(ms: number): void {
    this.deadline = this.parts.after(ms, () => {
      this.deadline = null;
      this.call.fail(4, 'context deadline exceeded');
    });
  }

  private gone(): void {
    this.settled();
    this.call.cancel();
  }

  protected settled(): void {
    this.deadline?.cancel();
    this.deadline = null;
  }

  // ── what the handler asks of the call ─────────────────────────────────────────────────────────────────────────────

  get peerCommonName(): string {
    return this.parts.passesIdentity ? this.exchange.peerCommonName : '';
  }

  get peer(): string {
    return this.exchange.peer;
  }

  get queuedBytes(): number {
    return this.exchange.queuedBytes;
  }

  /** Metadata of the call: some of the request's headers under their own names, others behind a prefix. */
  header(name: string): string | undefined {
    const { exchange } = this;
    if (name === 'authorization') return exchange.header(name) ?? exchange.header(METADATA_PREFIX + name);
    if (name === 'grpcgateway-accept') return this.parts.passesIdentity ? undefined : (exchange.header('accept') ?? '');
    if (name.startsWith(FORWARDED_PREFIX)) return exchange.header(name.slice(FORWARDED_PREFIX.length));
    // As a caller by plain HTTP writes it, though it is no metadata there.
    if (name === 'traceparent') return exchange.header(name) ?? exchange.header(METADATA_PREFIX + name);
    return exchange.header(METADATA_PREFIX + name);
  }

  abstract message(bytes: Buffer): void;
  abstract partsBegin(totalBytes: number): void;
  abstract part(bytes: Buffer): void;
  abstract ended(): void;
  abstract failed(code: number, message: string): void;

  protected get okHeaders(): string[] {
    return [...this.headers, ...JSON_TYPE, ...FROM_CALL];
  }
}

/** Answers with an error that no call had a part in, or that is all there is to say of one. */
export function respondError(exchange: WebExchange, common: readonly string[], code: number, message: string): void {
  const headers = [...common, ...JSON_TYPE];
  if (code === 16) headers.push('Www-Authenticate', headerText(message));
  exchange.respond(httpStatusOf(code), headers, errorBody(code, message));
}
