import { JsonError, JsonScanner, jsonToWire, type MessagePlan, ScanStep } from '@etsd/proto';
import type { BodyReceiver } from '../web-exchange.ts';

/** What becomes of the messages in a body. */
export interface MessageReceiver {
  request(message: Buffer): void;
  halfClose(): void;
  refuse(code: number, message: string): void;
}

/** Cuts a body into JSON values, one behind the other, whose bytes come as they come. */
export class BodyMessages implements BodyReceiver {
  private readonly plan: MessagePlan;
  /** Most bytes of one value. */
  private readonly limit: number;
  private readonly receiver: MessageReceiver;
  private readonly scanner: JsonScanner;
  private readonly valuesMax: number;
  /** Of a value that is not complete. */
  private readonly held: Buffer[] = [];
  private heldBytes = 0;
  private isOver = false;

  constructor(plan: MessagePlan, bounds: { bodyBytesMax: number; valuesMax: number }, receiver: MessageReceiver) {
    this.plan = plan;
    this.limit = bounds.bodyBytesMax;
    this.valuesMax = bounds.valuesMax;
    this.scanner = new JsonScanner(bounds.valuesMax);
    this.receiver = receiver;
  }

  data(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end && !this.isOver) {
      const stop = this.scanner.scan(bytes, at, end);
      if (this.scanner.outcome === ScanStep.ERROR) {
        this.refuse(this.scanner.error);
        return;
      }
      this.hold(bytes, at, stop);
      at = stop;
      if (this.scanner.outcome === ScanStep.CONTINUE) return;
      this.take();
    }
  }

  ended(): void {
    if (this.isOver) return;
    if (this.scanner.hasBegun && !this.scanner.isCompleteAtEnd) this.refuse('unexpected EOF');
    else {
      if (this.scanner.hasBegun) this.take();
      if (!this.isOver) this.receiver.halfClose();
    }
    this.isOver = true;
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    if (!this.scanner.hasBegun) return;
    this.heldBytes += end - start;
    if (this.heldBytes > this.limit) {
      this.isOver = true;
      this.receiver.refuse(8, `grpc: received message larger than max (${this.heldBytes} vs. ${this.limit})`);
      return;
    }
    this.held.push(Buffer.from(bytes.subarray(start, end)));
  }

  private take(): void {
    if (this.isOver) return;
    const value = this.held.length === 1 ? (this.held[0] as Buffer) : Buffer.concat(this.held);
    this.held.length = 0;
    this.heldBytes = 0;
    this.scanner.reset();
    let message: Buffer;
    try {
      message = jsonToWire(this.plan, value, this.valuesMax);
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      this.refuse(error.message);
      return;
    }
    this.receiver.request(message);
  }

  private refuse(reason: string): void {
    this.isOver = true;
    this.held.length = 0;
    this.receiver.refuse(3, `Failed to decode request: ${reason}`);
  }
}
