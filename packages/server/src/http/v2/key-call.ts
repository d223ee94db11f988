/**
 * A request on the keys of etcd 2 as a call like those of etcd 3: it passes the same guards (lanes, rates, the audit log)
 * under the names below before it is served.
 */
import { type EtcdError, V2Request } from '@etsd/proto';
import { KEYS_ROOT } from '@etsd/state';
import type { ApiCall, ApiHandler } from '../../context.ts';
import { type CallReceiver, InProcessCall } from '../gateway/in-process-call.ts';
import { outcomeOf, respondRefusal, respondV2Error, V2Error } from './errors.ts';
import type { KeyRequest } from './key-request.ts';
import type { V2Question } from './v2-api.ts';

/** The calls. The bytes of a change are those of its entry; of the others, the key. */
export const V2_CALLS = {
  get: '/etsd.V2/Get',
  list: '/etsd.V2/List',
  wait: '/etsd.V2/Wait',
  change: '/etsd.V2/Change',
} as const;

export type V2CallKind = keyof typeof V2_CALLS;

export class KeyCall implements CallReceiver {
  readonly question: V2Question;
  readonly headers: readonly string[];
  /** Null where who asks may not: there is nothing to be served. */
  readonly request: KeyRequest | null;
  readonly queuedBytes = 0;
  private readonly call: InProcessCall;

  constructor(handler: ApiHandler, question: V2Question, headers: readonly string[], request: KeyRequest | null) {
    this.question = question;
    this.headers = headers;
    this.request = request;
    this.call = new InProcessCall(handler, this);
    this.call.context = this;
  }

  /** Makes it. Who asked may go: then it is over. */
  run(bytes: Buffer): void {
    this.question.exchange.onGone = () => this.call.cancel();
    this.call.request(bytes);
  }

  get peer(): string {
    return this.question.caller.credentials.peer;
  }

  get peerCommonName(): string {
    return this.question.caller.credentials.peerCommonName;
  }

  header(name: string): string | undefined {
    return this.question.caller.credentials.header(name);
  }

  // Answers go to the client past the call, in the form of etcd 2.
  message(): void {}
  partsBegin(): void {}
  part(): void {}
  ended(): void {}

  /** A guard refused it; the handler's own refusals are answered by then. */
  failed(code: number, message: string): void {
    const { exchange } = this.question;
    if (exchange.isOpen) respondRefusal(exchange, this.headers, { code, message } as EtcdError);
  }

  /** It was answered. */
  done(): void {
    this.call.end();
  }

  fail(error: V2Error): void {
    respondV2Error(this.question.exchange, this.headers, error);
    this.call.fail(outcomeOf(error.code), error.message);
  }

  refuse(error: EtcdError): void {
    respondRefusal(this.question.exchange, this.headers, error);
    this.call.fail(error.code, error.message);
  }

  /** Who asks may not: with what clients of etcd 2 are asked for. */
  deny(error: EtcdError): void {
    respondDenied(this.question);
    this.call.fail(error.code, error.message);
  }
}

export function respondDenied({ exchange, headers }: Pick<V2Question, 'exchange' | 'headers'>): void {
  const challenge = ['WWW-Authenticate', 'Basic realm="etsd"'];
  respondV2Error(exchange, [...headers, ...challenge], new V2Error(110, 'Insufficient credentials'));
}

/** What is shown to guards of a request that is not even read. */
export function unreadChange(method: string, path: string): Buffer {
  return V2Request.encode(V2Request.create({ method, path: path === '/' ? KEYS_ROOT : KEYS_ROOT + path }));
}

/** Serves calls of one kind; what they ask is in their context. */
export class KeyHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly serve: (asked: KeyCall, request: KeyRequest, bytes: Buffer) => void;

  constructor(serve: (asked: KeyCall, request: KeyRequest, bytes: Buffer) => void) {
    this.serve = serve;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const asked = call.context as KeyCall;
    const error = asked.question.refusal();
    if (error !== null || asked.request === null) {
      if (error === null) asked.fail(new V2Error(300, 'try again'));
      else asked.deny(error);
      return;
    }
    try {
      this.serve(asked, asked.request, start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
    } catch (thrown) {
      if (!(thrown instanceof V2Error)) throw thrown;
      asked.fail(thrown);
    }
  }
}
