import type { BodyReceiver, WebExchange } from './web-exchange.ts';
import { BodyGatherer } from './web-exchange.ts';

export interface FakeRequest {
  readonly method?: string;
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly isSecure?: boolean;
  readonly peerCommonName?: string;
}

/** A request that never was on a socket; its answer is kept to be looked at. */
export class FakeExchange implements WebExchange {
  readonly method: string;
  readonly target: string;
  readonly isSecure: boolean;
  readonly peerCommonName: string;
  readonly peer = '127.0.0.1:4711';
  isOpen = true;
  queuedBytes = 0;
  onGone: (() => void) | null = null;
  onDrained: (() => void) | null = null;
  status = 0;
  headers: (readonly [string, string])[] = [];
  isAborted = false;
  /** Resolves when the answer is whole, or broken off. */
  readonly over: Promise<void>;
  body: BodyReceiver | null = null;
  private readonly given: FakeRequest;
  private readonly pieces: Buffer[] = [];
  private settle: () => void = () => {};

  constructor(given: FakeRequest) {
    this.given = given;
    this.method = given.method ?? 'GET';
    this.target = given.target;
    this.isSecure = given.isSecure ?? false;
    this.peerCommonName = given.peerCommonName ?? '';
    this.over = new Promise((resolve) => {
      this.settle = resolve;
    });
  }

  get text(): string {
    return Buffer.concat(this.pieces).toString();
  }

  /** Value of a header of the answer. */
  answered(name: string): string | undefined {
    return this.headers.find(([each]) => each.toLowerCase() === name.toLowerCase())?.[1];
  }

  header(name: string): string | undefined {
    return Object.entries(this.given.headers ?? {}).find(([each]) => each.toLowerCase() === name)?.[1];
  }

  readBody(limit: number, done: (body: Buffer | null) => void): void {
    this.receiveBody(new BodyGatherer(limit, done));
  }

  /** Where the test gave a body, it is there at once; else the test hands it on piece by piece through `body`. */
  receiveBody(receiver: BodyReceiver): void {
    this.body = receiver;
    if (this.given.body === undefined) return;
    const bytes = Buffer.from(this.given.body);
    receiver.data(bytes, 0, bytes.length);
    receiver.ended();
  }

  respond(status: number, headers: readonly string[], body: string | Buffer): void {
    this.begin(status, headers);
    this.write(body);
    this.end();
  }

  begin(status: number, headers: readonly string[]): void {
    this.status = status;
    for (let at = 0; at < headers.length; at += 2) {
      this.headers.push([headers[at] as string, headers[at + 1] as string]);
    }
  }

  flush(): void {}

  write(text: string | Buffer): void {
    this.pieces.push(Buffer.from(text));
  }

  end(): void {
    this.isOpen = false;
    this.settle();
  }

  abort(): void {
    this.isOpen = false;
    this.isAborted = true;
    this.settle();
  }

  /** The client hangs up. */
  leave(): void {
    this.isOpen = false;
    this.onGone?.();
  }
}
