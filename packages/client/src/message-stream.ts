import { RingQueue } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import type { Outgoing, StreamReceiver } from './link.ts';
import { STREAM_HELD_BYTES } from './options.ts';

/** A stream of messages both ways, read one by one. Ends with `null`, or throws what the call ended with. */
export class MessageStream<Request, Response> implements StreamReceiver<Response>, AsyncDisposable {
  private call: Outgoing<Request> = NOT_OPENED;
  private readonly arrived = new RingQueue<Response>();
  /** Bytes of what has arrived and was not read yet. */
  heldBytes = 0;
  private wake: (() => void) | null = null;
  private outcome: EtcdError | 'ended' | null = null;

  /** Where what is sent goes; once, before anything is sent. */
  attach(call: Outgoing<Request>): this {
    this.call = call;
    return this;
  }

  send(request: Request): void {
    this.call.send(request);
  }

  /** Sends the only request of a call to which the server answers with many messages. */
  sendLast(request: Request): void {
    this.call.sendLast(request);
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

  message(response: Response, bytes: number): void {
    this.arrived.push(response);
    this.heldBytes += bytes;
    if (this.heldBytes > STREAM_HELD_BYTES) this.call.pause();
    this.stir();
  }

  ended(error: EtcdError | null): void {
    this.outcome = error ?? 'ended';
    this.stir();
  }

  private stir(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}

const NOT_OPENED: Outgoing<unknown> = { send() {}, sendLast() {}, pause() {}, resume() {}, cancel() {} };
