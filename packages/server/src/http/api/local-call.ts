import { EtcdError } from '@etsd/proto';
import type { ApiHandler } from '../../context.ts';
import { type CallReceiver, InProcessCall } from '../gateway/in-process-call.ts';
import { Problem } from './problem.ts';

/** Bytes of an answer that is gathered before it is shown. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** Who calls: headers of the call by lower-case name. */
export interface Credentials {
  header(name: string): string | undefined;
  readonly peerCommonName: string;
  /** Address and port of the client. */
  readonly peer: string;
}

/** Where calls are made, and in whose name. */
export interface Caller {
  readonly handlerOf: (path: string) => ApiHandler | undefined;
  readonly credentials: Credentials;
  /** Called with the way to break off what is under way, each time something is. */
  readonly onCancel: (cancel: () => void) => void;
}

/** A method with one request and one answer. */
export interface Method<Q, S> {
  readonly path: string;
  readonly request: { encode(message: Q): Buffer };
  readonly response: { decode(bytes: Buffer): S };
}

/** Makes a call. Rejects with the `EtcdError` it ended with, or a `Problem` where the answer is too long. */
export async function call<Q, S>(caller: Caller, method: Method<Q, S>, message: Q): Promise<S> {
  return method.response.decode(await callBytes(caller, method.path, method.request.encode(message)));
}

function callBytes({ handlerOf, credentials, onCancel }: Caller, path: string, request: Buffer): Promise<Buffer> {
  const handler = handlerOf(path);
  if (handler === undefined) return Promise.reject(new Problem(501, 'unimplemented', `${path} is not served here`));
  return new Promise((resolve, reject) => {
    const made: InProcessCall = new InProcessCall(
      handler,
      new Gathering(credentials, resolve, reject, () => made.cancel()),
    );
    onCancel(() => made.cancel());
    made.request(request);
  });
}

/** Puts an answer together. */
class Gathering implements CallReceiver {
  readonly queuedBytes = 0;
  private readonly credentials: Credentials;
  private readonly resolve: (bytes: Buffer) => void;
  private readonly reject: (error: Error) => void;
  private readonly cancel: () => void;
  private readonly parts: Buffer[] = [];

  constructor(
    credentials: Credentials,
    resolve: (bytes: Buffer) => void,
    reject: (error: Error) => void,
    cancel: () => void,
  ) {
    this.credentials = credentials;
    this.resolve = resolve;
    this.reject = reject;
    this.cancel = cancel;
  }

  get peerCommonName(): string {
    return this.credentials.peerCommonName;
  }

  get peer(): string {
    return this.credentials.peer;
  }

  header(name: string): string | undefined {
    return this.credentials.header(name);
  }

  message(bytes: Buffer): void {
    this.parts.push(bytes);
  }

  partsBegin(totalBytes: number): void {
    if (totalBytes <= ANSWER_BYTES_MAX) return;
    this.reject(new Problem(413, 'too_large', `the answer takes ${totalBytes} bytes; ask for fewer keys at a time`));
    this.cancel();
  }

  part(bytes: Buffer): void {
    this.parts.push(Buffer.from(bytes));
  }

  ended(): void {
    this.resolve(this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts));
  }

  failed(code: number, message: string): void {
    this.reject(new EtcdError(code, message));
  }
}
