/**
 * Calls with a token that another member gave out a moment ago: the entry that makes it known is still on its way. They
 * are kept until it is applied here, or until they have waited long enough, and then go on as if they came only now.
 */
import { ErrRequestTooManyRequests } from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiWorld } from './context.ts';

/** Calls that wait at a time; one more is judged by what is known. */
const WAITING_MAX = 10_000;
/** Messages kept of a stream that waits; one more ends it. */
const MESSAGES_MAX = 100;

/** What came of one call meanwhile. */
export class PendingCall {
  private readonly call: ApiCall;
  /** Takes the call once its token is judged. */
  private readonly handler: ApiHandler;
  private readonly opens: boolean;
  private readonly messages: Buffer[] = [];
  private isHalfClosed = false;
  /** Ends the waiting. */
  leave: () => void = () => {};

  constructor(call: ApiCall, handler: ApiHandler, opens: boolean) {
    this.call = call;
    this.handler = handler;
    this.opens = opens;
  }

  message(bytes: Buffer, start: number, end: number): void {
    if (this.messages.length < MESSAGES_MAX) this.messages.push(Buffer.from(bytes.subarray(start, end)));
    else this.call.fail(ErrRequestTooManyRequests.code, ErrRequestTooManyRequests.message);
  }

  halfClosed(): void {
    this.isHalfClosed = true;
  }

  /** Hands on what was kept. */
  resume(): void {
    const { call, handler } = this;
    call.context = null;
    if (this.opens) handler.opened?.(call);
    for (const message of this.messages) if (call.isOpen) handler.message(call, message, 0, message.length);
    if (this.isHalfClosed && call.isOpen) handler.halfClosed?.(call);
  }
}

export class TokenWaits {
  private readonly world: ApiWorld;
  private readonly waitMs: number;
  private readonly waiting = new Map<string, Set<PendingCall>>();
  private count = 0;

  constructor(world: ApiWorld, waitMs: number) {
    this.world = world;
    this.waitMs = waitMs;
  }

  /** Keeps the call; false where too many are kept already. */
  add(token: string, pending: PendingCall): boolean {
    if (this.count >= WAITING_MAX) return false;
    this.count++;
    const calls = this.waiting.get(token) ?? new Set();
    this.waiting.set(token, calls.add(pending));
    const timer = this.world.timers.after(this.waitMs, () => {
      pending.leave();
      pending.resume();
    });
    pending.leave = () => {
      timer.cancel();
      this.count--;
      calls.delete(pending);
      if (calls.size === 0) this.waiting.delete(token);
    };
    return true;
  }

  /** The token is known from now on. */
  known(token: string): void {
    for (const pending of [...(this.waiting.get(token) ?? [])]) {
      pending.leave();
      pending.resume();
    }
  }

  /** Tokens do not matter any more. */
  goOn(): void {
    for (const token of [...this.waiting.keys()]) this.known(token);
  }

  /** Nobody is answered any more: the connections are gone. */
  stop(): void {
    for (const calls of [...this.waiting.values()]) for (const pending of [...calls]) pending.leave();
  }
}
