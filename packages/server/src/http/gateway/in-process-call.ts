/** A call to one of the member's own methods, made without a connection: the same handlers behind the same rules. */
import type { ApiCall, ApiHandler, CallFigures } from '../../context.ts';

/** What a call ends with whose caller has gone. */
const CANCELLED = 1;

const NOTHING = Buffer.alloc(0);

/** Whom a call answers. Nothing is called any more once the call is over. */
export interface CallReceiver {
  /** Value of a header of the call, by lower-case name. */
  header(name: string): string | undefined;
  readonly peerCommonName: string;
  /** The caller's address: `10.0.0.1:4711`. */
  readonly peer: string;
  /** Bytes of the answer that wait to be taken; a handler that has much to say stops meanwhile. */
  readonly queuedBytes: number;
  /** A whole message; the buffer is the receiver's. */
  message(bytes: Buffer): void;
  /** A message of so many bytes will come in parts. */
  partsBegin(totalBytes: number): void;
  part(bytes: Buffer): void;
  /** The call ended well. */
  ended(): void;
  failed(code: number, message: string): void;
}

export class InProcessCall implements ApiCall {
  context: unknown = null;
  guard: unknown = null;
  guardBytes = 0;
  audit: unknown = null;
  ofPeer: unknown = null;
  notes: ApiCall['notes'] = null;
  entry: Buffer | null = null;
  readonly receivedMs = -1;
  isOpen = true;
  outcome = -1;
  readonly target = { buffer: NOTHING, offset: 0 };
  private readonly handler: ApiHandler;
  private readonly figures: CallFigures | null;
  private readonly receiver: CallReceiver;

  constructor(handler: ApiHandler, receiver: CallReceiver) {
    this.handler = handler;
    this.figures = handler.figures ?? null;
    this.figures?.begin();
    this.receiver = receiver;
  }

  // ── what the caller does ──────────────────────────────────────────────────────────────────────────────────────────

  open(): void {
    if (this.handler.kind === 'stream') this.handler.opened?.(this);
  }

  /** Hands a message to the handler, which may answer before this returns. */
  request(message: Buffer): void {
    if (!this.isOpen) return;
    this.figures?.messageReceived(message.length);
    this.handler.message(this, message, 0, message.length);
  }

  halfClose(): void {
    if (this.isOpen && this.handler.kind === 'stream') this.handler.halfClosed?.(this);
  }

  /** The caller has gone, or waits no longer. */
  cancel(): void {
    this.over(CANCELLED);
  }

  drained(): void {
    if (this.isOpen) this.handler.drained?.(this);
  }

  // ── what the handler does ─────────────────────────────────────────────────────────────────────────────────────────

  get queuedBytes(): number {
    return this.receiver.queuedBytes;
  }

  /** What is made here is taken at once. */
  /** Whoever is handed the bytes may keep them. */
  readonly isCopying = false;

  get isCongested(): boolean {
    return false;
  }

  get isShut(): boolean {
    return false;
  }

  get peerCommonName(): string {
    return this.receiver.peerCommonName;
  }

  get peer(): string {
    return this.receiver.peer;
  }

  header(name: string): string | undefined {
    return this.receiver.header(name);
  }

  begin(size: number): void {
    this.target.buffer = Buffer.allocUnsafe(size);
    this.target.offset = 0;
  }

  commit(): void {
    const { buffer } = this.target;
    this.target.buffer = NOTHING;
    this.send(buffer);
  }

  send(message: Buffer): void {
    if (!this.isOpen) return;
    this.figures?.messageSent(message.length);
    this.receiver.message(message);
  }

  sendChunks(chunks: Buffer[], totalBytes: number): void {
    if (!this.beginParts(totalBytes)) return;
    for (const chunk of chunks) this.sendPart(chunk);
  }

  beginParts(totalBytes: number): boolean {
    if (!this.isOpen) return false;
    this.figures?.messageSent(totalBytes);
    this.receiver.partsBegin(totalBytes);
    return this.isOpen;
  }

  sendPart(bytes: Buffer): void {
    if (this.isOpen) this.receiver.part(bytes);
  }

  awaitWindow(): void {
    this.drained();
  }

  end(): void {
    if (this.over(0)) this.receiver.ended();
  }

  fail(code: number, message: string): void {
    if (this.over(code)) this.receiver.failed(code, message);
  }

  private over(outcome: number): boolean {
    if (!this.isOpen) return false;
    this.isOpen = false;
    this.outcome = outcome;
    this.figures?.end(outcome);
    this.handler.closed?.(this);
    return true;
  }
}
