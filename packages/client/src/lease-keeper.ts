/** One stream that renews all leases a client holds. */
import type { U64 } from '@etsd/base';
import { type EtcdError, LeaseKeepAliveRequest, type LeaseKeepAliveResponse } from '@etsd/proto';
import type { Caller } from './caller.ts';
import { CanceledError, clientError, TimeoutError, UnavailableError } from './errors.ts';
import type { Outgoing, StreamReceiver } from './link.ts';
import { LiveStream } from './live-stream.ts';
import { LeaseKeepAlive } from './methods.ts';
import type { CallOptions } from './options.ts';

/** What the server said to a renewal, and when it was asked by our clock: the lease lasts from then on. */
export interface Renewed {
  readonly response: LeaseKeepAliveResponse;
  readonly askedMs: number;
}

/** A renewal under way. */
class Asking {
  readonly id: U64;
  readonly answer: Promise<Renewed>;
  askedMs = 0;
  resolve: (renewed: Renewed) => void = () => {};
  reject: (error: EtcdError) => void = () => {};

  constructor(id: U64) {
    this.id = id;
    this.answer = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Who asked may have gone away meanwhile.
    this.answer.catch(() => {});
  }
}

export class LeaseKeeper implements StreamReceiver<LeaseKeepAliveResponse> {
  private readonly caller: Caller;
  private readonly options: CallOptions;
  private readonly asking = new Map<U64, Asking>();
  private call: Outgoing<LeaseKeepAliveRequest> | null = null;
  private stream: LiveStream<LeaseKeepAliveResponse> | null = null;
  private isConnecting = false;
  private users = 0;

  constructor(caller: Caller, options: CallOptions) {
    this.caller = caller;
    this.options = options;
  }

  /** The stream is kept for as long as somebody may renew. */
  hold(): void {
    this.users++;
  }

  release(): void {
    if (--this.users === 0) this.drop(new CanceledError());
  }

  /**
   * Renews a lease once. Rejects when the stream is lost, when no answer comes in time (the stream is then given up, so that
   * the next attempt goes elsewhere), or when the signal is aborted. An answer with a `TTL` of 0 says: no such lease.
   */
  async renew(id: U64, patienceMs: number, signal: AbortSignal | undefined): Promise<Renewed> {
    if (signal?.aborted === true) throw new CanceledError(signal.reason);
    const { timers } = this.caller.world;
    const asking = this.ask(id);
    let giveUp: (error: EtcdError) => void = () => {};
    const givenUp = new Promise<never>((_resolve, reject) => {
      giveUp = reject;
    });
    const onAbort = (): void => giveUp(new CanceledError(signal?.reason));
    signal?.addEventListener('abort', onAbort);
    const impatience = timers.after(patienceMs, () => this.drop(new TimeoutError()));
    try {
      return await Promise.race([asking.answer, givenUp]);
    } finally {
      impatience.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  message(response: LeaseKeepAliveResponse): void {
    const asking = this.asking.get(response.ID);
    if (asking === undefined) return;
    this.asking.delete(response.ID);
    asking.resolve({ response, askedMs: asking.askedMs });
    if (!this.caller.transport.sendsMany) this.next();
  }

  ended(error: EtcdError | null): void {
    this.forget();
    this.rejectAll(error ?? new UnavailableError('the keep-alive stream ended', false));
  }

  private ask(id: U64): Asking {
    let asking = this.asking.get(id);
    if (asking !== undefined) return asking;
    asking = new Asking(id);
    this.asking.set(id, asking);
    if (this.call !== null && this.caller.transport.sendsMany) this.send(this.call, asking);
    else if (!this.isConnecting && this.call === null) void this.connect();
    return asking;
  }

  private send(call: Outgoing<LeaseKeepAliveRequest>, asking: Asking): void {
    asking.askedMs = this.caller.world.clock.nowMs();
    const request = LeaseKeepAliveRequest.create({ ID: asking.id });
    if (this.caller.transport.sendsMany) call.send(request);
    else call.sendLast(request);
  }

  private async connect(): Promise<void> {
    this.isConnecting = true;
    const stream = new LiveStream(this);
    try {
      const call = await this.caller.open(LeaseKeepAlive, stream, { requireLeader: true, ...this.options });
      this.isConnecting = false;
      const ended = stream.use();
      if (ended !== null) {
        this.ended(ended.error);
        return;
      }
      this.call = call;
      this.stream = stream;
      this.begin(call);
    } catch (thrown) {
      this.isConnecting = false;
      this.rejectAll(clientError(thrown));
    }
  }

  private begin(call: Outgoing<LeaseKeepAliveRequest>): void {
    if (this.users === 0 || this.asking.size === 0) {
      this.drop(new CanceledError());
      return;
    }
    for (const asking of this.asking.values()) {
      this.send(call, asking);
      if (!this.caller.transport.sendsMany) return;
    }
  }

  /** Where a stream takes one request only: one for each renewal, one after the other. */
  private next(): void {
    this.forget()?.cancel();
    if (this.asking.size > 0) void this.connect();
  }

  private forget(): Outgoing<LeaseKeepAliveRequest> | null {
    const { call } = this;
    this.stream?.retire();
    this.stream = null;
    this.call = null;
    return call;
  }

  /** Gives the stream up, and all that was asked on it. */
  private drop(error: EtcdError): void {
    this.forget()?.cancel();
    this.rejectAll(error);
  }

  private rejectAll(error: EtcdError): void {
    const all = [...this.asking.values()];
    this.asking.clear();
    for (const asking of all) asking.reject(error);
  }
}
