import { RingQueue } from '@etsd/base';
import { GrpcCode } from '@etsd/proto';
import { type CallReceiver, type ClientCall, type GrpcChannel, type Metadata, RpcError } from '@etsd/rpc';
import type { Method } from './caller.ts';
import { CanceledError, clientError } from './errors.ts';
import { STREAM_HELD_BYTES } from './options.ts';

/** A stream of messages both ways, read one by one. Ends with `null`, or throws what the call ended with. */
export class MessageStream<Request, Response> implements CallReceiver, AsyncDisposable {
  private readonly method: Method<Request, Response>;
  private readonly call: ClientCall;
  private readonly signal: AbortSignal | undefined;
  private readonly arrived = new RingQueue<Response>();
  private readonly onAbort: () => void;
  /** Bytes of what has arrived and was not read yet. */
  heldBytes = 0;
  private wake: (() => void) | null = null;
  private outcome: Error | 'ended' | null = null;

  constructor(
    channel: GrpcChannel,
    method: Method<Request, Response>,
    metadata: Metadata | null,
    signal: AbortSignal | undefined,
  ) {
    this.method = method;
    this.signal = signal;
    this.call = channel.start(method.path, this, { metadata });
    this.onAbort = () => this.call.cancel();
    if (signal?.aborted === true) this.call.cancel();
    else signal?.addEventListener('abort', this.onAbort);
  }

  send(request: Request): void {
    this.call.send(this.method.request.encode(request));
  }

  /** Sends the only request of a call to which the server answers with many messages. */
  sendLast(request: Request): void {
    this.call.sendLast(this.method.request.encode(request));
  }

  /** The next message, `null` at the end. One reader at a time. */
  async next(): Promise<Response | null> {
    while (this.arrived.length === 0) {
      if (this.outcome === 'ended') return null;
      if (this.outcome !== null) throw this.outcome;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const response = this.arrived.take() as Response;
    if (this.arrived.length === 0) {
      this.heldBytes = 0;
      this.call.resume();
    }
    return response;
  }

  /** Ends the call; a reader that waits is thrown `CanceledError`. */
  close(): void {
    if (this.outcome === null) this.call.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  message(_call: ClientCall, bytes: Buffer, start: number, end: number): void {
    this.arrived.push(this.method.response.decode(Buffer.from(bytes.subarray(start, end))));
    this.heldBytes += end - start;
    if (this.heldBytes > STREAM_HELD_BYTES) this.call.pause();
    this.stir();
  }

  closed(_call: ClientCall, code: number, message: string): void {
    this.signal?.removeEventListener('abort', this.onAbort);
    if (code === GrpcCode.OK) this.outcome = 'ended';
    else if (this.signal?.aborted === true) this.outcome = new CanceledError(this.signal.reason);
    else this.outcome = clientError(new RpcError(code, message));
    this.stir();
  }

  private stir(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}
