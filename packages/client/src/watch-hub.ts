/** The streams that carry a client's watches: one for all of them, and one of its own for each that reads too slowly. */
import { RingQueue } from '@etsd/base';
import {
  type EtcdError,
  WatchCancelRequest,
  type WatchCreateRequest,
  WatchProgressRequest,
  WatchRequest,
  type WatchResponse,
} from '@etsd/proto';
import { type Caller, sleep } from './caller.ts';
import { CanceledError, cancelError, clientError, isRetryable } from './errors.ts';
import type { Outgoing, StreamReceiver } from './link.ts';
import { LiveStream } from './live-stream.ts';
import { Watch } from './methods.ts';
import { RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS } from './options.ts';

/** A watch as its stream sees it. */
export interface Subscriber {
  readonly requireLeader: boolean;
  /** What to ask for now: from behind what it has. */
  request(): WatchCreateRequest;
  created(response: WatchResponse): void;
  /** Events or progress; they took so many bytes. */
  received(response: WatchResponse, bytes: number): void;
  /** The server ended it. */
  canceled(response: WatchResponse): void;
  /** Its stream was lost; the next one is asked for the rest by itself. */
  interrupted(): void;
  /** Cannot be resumed. */
  failed(error: EtcdError): void;
}

export class WatchHub {
  private readonly caller: Caller;
  private readonly shared = new Map<boolean, WatchStream>();

  constructor(caller: Caller) {
    this.caller = caller;
  }

  /** Starts a watch; on a stream of its own if asked to, or where one stream carries one watch only. */
  add(subscriber: Subscriber, isAlone: boolean): WatchStream {
    const { requireLeader } = subscriber;
    if (isAlone || !this.caller.transport.sendsMany) {
      const own = new WatchStream(this.caller, requireLeader, true);
      own.add(subscriber);
      return own;
    }
    let stream = this.shared.get(requireLeader);
    if (stream === undefined) {
      stream = new WatchStream(this.caller, requireLeader, false);
      this.shared.set(requireLeader, stream);
    }
    stream.add(subscriber);
    return stream;
  }
}

/**
 * One stream, opened when there is a watch for it, opened again when it is lost, closed when the last watch has gone. The
 * server numbers the watches in the order in which they are asked for.
 */
export class WatchStream implements StreamReceiver<WatchResponse> {
  /** Whether it carries one watch only, and so may be held back for a slow reader. */
  readonly isAlone: boolean;
  private readonly caller: Caller;
  private readonly requireLeader: boolean;
  private readonly members = new Set<Subscriber>();
  private readonly byId = new Map<number, Subscriber>();
  /** Asked for, not answered yet; null where nobody wants the answer any more. */
  private readonly asked = new RingQueue<{ subscriber: Subscriber | null }>();
  private call: Outgoing<WatchRequest> | null = null;
  private receiver: LiveStream<WatchResponse> | null = null;
  private isConnecting = false;
  private failures = 0;
  /** Tokens refused one after the other. */
  private refusals = 0;
  private stop = new AbortController();

  constructor(caller: Caller, requireLeader: boolean, isAlone: boolean) {
    this.caller = caller;
    this.requireLeader = requireLeader;
    this.isAlone = isAlone;
  }

  add(subscriber: Subscriber): void {
    this.members.add(subscriber);
    if (this.call !== null) this.ask(this.call, subscriber);
    else if (!this.isConnecting) void this.connect();
  }

  /** The watch is not wanted any more. */
  remove(subscriber: Subscriber): void {
    if (!this.members.delete(subscriber)) return;
    if (this.members.size === 0) {
      this.close();
      return;
    }
    for (let i = 0; i < this.asked.length; i++) {
      const entry = this.asked.at(i);
      if (entry?.subscriber === subscriber) entry.subscriber = null;
    }
    for (const [id, each] of this.byId) if (each === subscriber) this.cancel(id);
  }

  pause(): void {
    this.call?.pause();
  }

  resume(): void {
    this.call?.resume();
  }

  /** Asks how far the server is; all watches of the stream are told. False where the transport cannot ask. */
  requestProgress(): boolean {
    if (!this.caller.transport.sendsMany) return false;
    this.call?.send(WatchRequest.create({ progressRequest: WatchProgressRequest.create() }));
    return true;
  }

  // ── what the server says ──────────────────────────────────────────────────────────────────────────────────────────

  message(response: WatchResponse, bytes: number): void {
    this.failures = 0;
    if (response.created) {
      this.answered(response);
      return;
    }
    const subscriber = this.byId.get(response.watchId);
    if (response.canceled) {
      this.byId.delete(response.watchId);
      if (subscriber !== undefined) this.over(subscriber, response);
    } else if (subscriber !== undefined) subscriber.received(response, bytes);
    else if (response.watchId === ALL_WATCHES) {
      for (const each of [...this.byId.values()]) each.received(response, 0);
    }
  }

  ended(error: EtcdError | null): void {
    this.call = null;
    if (this.members.size > 0) this.lost(error);
  }

  private answered(response: WatchResponse): void {
    const subscriber = this.asked.take()?.subscriber ?? null;
    if (response.canceled) {
      if (subscriber !== null) this.over(subscriber, response);
    } else if (subscriber === null) this.cancel(response.watchId);
    else {
      this.refusals = 0;
      this.byId.set(response.watchId, subscriber);
      subscriber.created(response);
    }
  }

  private over(subscriber: Subscriber, response: WatchResponse): void {
    if (this.caller.tokenRejected(cancelError(response.cancelReason)) && ++this.refusals <= REFUSALS_MAX) {
      // The whole stream goes by the token it was opened with.
      this.call?.cancel();
      return;
    }
    this.members.delete(subscriber);
    subscriber.canceled(response);
    if (this.members.size === 0) this.close();
  }

  // ── opening and losing ────────────────────────────────────────────────────────────────────────────────────────────

  private async connect(): Promise<void> {
    this.isConnecting = true;
    const { signal } = this.stop;
    try {
      const options = { signal, requireLeader: this.requireLeader };
      const receiver = new LiveStream(this);
      const call = await this.caller.open(Watch, receiver, options);
      if (signal.aborted) return;
      const ended = receiver.use();
      if (ended !== null) {
        this.lost(ended.error);
        return;
      }
      this.isConnecting = false;
      this.call = call;
      this.receiver = receiver;
      for (const subscriber of this.members) this.ask(call, subscriber);
    } catch (thrown) {
      if (!signal.aborted) this.lost(clientError(thrown));
    }
  }

  private ask(call: Outgoing<WatchRequest>, subscriber: Subscriber): void {
    const request = WatchRequest.create({ createRequest: subscriber.request() });
    if (!this.caller.transport.sendsMany) call.sendLast(request);
    else call.send(request);
    this.asked.push({ subscriber });
  }

  /** The stream is gone, or did not come to be. */
  private lost(error: EtcdError | null): void {
    this.isConnecting = true;
    this.byId.clear();
    this.asked.clear();
    for (const subscriber of this.members) subscriber.interrupted();
    if (this.caller.isClosed) this.fail(new CanceledError(error ?? undefined));
    else if (error !== null && !this.caller.tokenRejected(error) && !isRetryable(error)) this.fail(error);
    else void this.reconnect();
  }

  private async reconnect(): Promise<void> {
    const { signal } = this.stop;
    const pauseMs = Math.min(RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS * 2 ** Math.min(this.failures++, 10));
    await sleep(this.caller.world, pauseMs, signal).catch(() => {});
    if (!signal.aborted) await this.connect();
  }

  private fail(error: EtcdError): void {
    const members = [...this.members];
    this.members.clear();
    this.close();
    for (const subscriber of members) subscriber.failed(error);
  }

  private cancel(id: number): void {
    this.byId.delete(id);
    this.call?.send(WatchRequest.create({ cancelRequest: WatchCancelRequest.create({ watchId: id }) }));
  }

  /** Nobody is left; a later watch starts anew. */
  private close(): void {
    const { call } = this;
    this.receiver?.retire();
    this.call = null;
    this.isConnecting = false;
    this.failures = 0;
    this.refusals = 0;
    this.byId.clear();
    this.asked.clear();
    this.stop.abort();
    this.stop = new AbortController();
    call?.cancel();
  }
}

/** The number under which the server answers a request for progress. */
const ALL_WATCHES = -1;
/** Logins in a row that do not help, before the watch is told. */
const REFUSALS_MAX = 3;
