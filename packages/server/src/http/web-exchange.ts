/** One HTTP request and its answer, whichever version of HTTP brought it. */

/** Takes a request's body as it comes. */
export interface BodyReceiver {
  /** `bytes[start, end)` is valid during the call only. */
  data(bytes: Buffer, start: number, end: number): void;
  /** The body is complete. */
  ended(): void;
}

export interface WebExchange {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  /** It came over TLS. */
  readonly isSecure: boolean;
  /** Of the certificate that the client showed and that was checked; empty where there is none. */
  readonly peerCommonName: string;
  /** The caller's address: `10.0.0.1:4711`. */
  readonly peer: string;
  /** Value of a header by its lower-case name; several are joined by commas. */
  header(name: string): string | undefined;

  /** The answer can still be written. */
  readonly isOpen: boolean;
  /** Bytes of the answer that the client has not taken yet. */
  readonly queuedBytes: number;
  /** Called once when nothing more can be sent because the client has gone; never after `respond` or `end`. */
  onGone: (() => void) | null;
  /** Called when the client has taken most of what was queued. */
  onDrained: (() => void) | null;

  /** Gathers the body, then calls `done`: with null where it is longer than `limit`. Not called where it breaks off. */
  readBody(limit: number, done: (body: Buffer | null) => void): void;
  /** Hands on the body as it comes. */
  receiveBody(receiver: BodyReceiver): void;

  /** A whole answer. `headers` are names and values in turn; the length is added. */
  respond(status: number, headers: readonly string[], body: string | Buffer): void;
  /** Status and headers of an answer that is written piece by piece. */
  begin(status: number, headers: readonly string[]): void;
  /** Sends status and headers though nothing of the answer is there yet. */
  flush(): void;
  write(text: string | Buffer): void;
  end(): void;
  /** Breaks off: the client shall see that the answer is not whole. */
  abort(): void;
}

/** Gathers a body up to a limit. */
export class BodyGatherer implements BodyReceiver {
  private readonly limit: number;
  private done: ((body: Buffer | null) => void) | null;
  private readonly parts: Buffer[] = [];
  private length = 0;

  constructor(limit: number, done: (body: Buffer | null) => void) {
    this.limit = limit;
    this.done = done;
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.done === null) return;
    this.length += end - start;
    if (this.length > this.limit) this.finish(null);
    else this.parts.push(Buffer.from(bytes.subarray(start, end)));
  }

  ended(): void {
    if (this.done !== null)
      this.finish(this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts));
  }

  private finish(body: Buffer | null): void {
    const done = this.done;
    this.done = null;
    this.parts.length = 0;
    done?.(body);
  }
}
