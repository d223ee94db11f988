import { RingQueue } from '@etsd/base';
import { type Event, FilterType, WatchCreateRequest, type WatchResponse } from '@etsd/proto';
import type { Caller } from './caller.ts';
import { toWhole } from './checks.ts';
import { CanceledError, WatchCanceledError } from './errors.ts';
import { type Bytes, type KeyRange, toRange } from './keys.ts';
import type { Namespace } from './namespace.ts';
import { STREAM_HELD_BYTES } from './options.ts';
import type { Subscriber, WatchHub, WatchStream } from './watch-hub.ts';

export interface WatchOptions {
  /** The first revision of interest; default what comes next. */
  readonly startRevision?: number;
  /** Events shall hold the record before, where it is not compacted. */
  readonly prevKv?: boolean;
  /** No events of this kind. */
  readonly noPuts?: boolean;
  readonly noDeletes?: boolean;
  /** The server shall say from time to time how far it has come, even if nothing happens. */
  readonly progressNotify?: boolean;
  /** Ends the watch when aborted. */
  readonly signal?: AbortSignal;
  /** Ask only members that have a leader; a member cut off from the others is left. Default true. */
  readonly requireLeader?: boolean;
  /** Called each time the server has set the watch up, with the revision it then was at. */
  readonly onCreated?: (revision: number) => void;
}

/**
 * The changes of a range of keys, in order, each revision whole, none twice and none left out, whatever happens to the
 * connections between: `for await (const response of watch)`. It begins with the first read. Ends when its signal is
 * aborted or `close` is called. Throws `WatchCanceledError` when the server ends it: because history is needed that is
 * compacted, for lack of permission, or because the range is empty.
 *
 * All watches of a client share one stream. One that is read too slowly gets a stream of its own, on which the server is
 * held back, so that it neither fills memory nor delays the others.
 */
export class Watcher implements AsyncIterable<WatchResponse>, AsyncDisposable, Subscriber {
  readonly requireLeader: boolean;
  private readonly caller: Caller;
  private readonly hub: WatchHub;
  private readonly namespace: Namespace | null;
  private readonly range: KeyRange;
  private readonly options: WatchOptions;
  private readonly onAbort: () => void;
  private stream: WatchStream | null = null;
  private readonly arrived = new RingQueue<WatchResponse>();
  private heldBytes = 0;
  /** Too much is held: the rest is asked for, on a stream of its own, once that is read. */
  private isBehind = false;
  /** Everything before this has arrived; 0 while nothing is known. */
  private nextRevision: number;
  /** Everything before this has been handed out. */
  private handedRevision: number;
  /** Pieces of a response that is not complete yet. */
  private pieces: WatchResponse[] = [];
  private started = false;
  private closed = false;
  private failure: Error | null = null;
  private wake: (() => void) | null = null;

  constructor(
    caller: Caller,
    hub: WatchHub,
    namespace: Namespace | null,
    keys: Bytes | KeyRange,
    options: WatchOptions,
  ) {
    this.caller = caller;
    this.hub = hub;
    this.namespace = namespace;
    this.range = namespace === null ? toRange(keys) : namespace.outwards(toRange(keys));
    this.options = options;
    this.requireLeader = options.requireLeader ?? true;
    // All watches share a stream, which the server ends for a request that it cannot read.
    this.nextRevision = toWhole('startRevision', options.startRevision ?? 0);
    this.handedRevision = this.nextRevision;
    this.onAbort = () => this.close();
  }

  /** The revision from which a later watch would go on after what was read here. */
  get resumeRevision(): number {
    return this.handedRevision;
  }

  /**
   * Asks the server to report how far it has come, as a response without events; watches on the same stream are told too.
   * False where that cannot be asked: before the watch stands, and over the gateway, where `progressNotify` is the way.
   */
  requestProgress(): boolean {
    return this.stream?.requestProgress() ?? false;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.options.signal?.removeEventListener('abort', this.onAbort);
    this.stream?.remove(this);
    this.stream = null;
    this.stir();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** The events alone. */
  async *events(): AsyncGenerator<Event, void, undefined> {
    for await (const response of this) yield* response.events;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchResponse, void, undefined> {
    if (this.started) throw new TypeError('a watch can be read once; start another with its resumeRevision');
    this.started = true;
    const { signal } = this.options;
    if (signal?.aborted === true) this.close();
    signal?.addEventListener('abort', this.onAbort);
    try {
      if (!this.closed) this.attach(false);
      for (;;) {
        while (this.arrived.length === 0) {
          if (this.closed) return;
          if (this.failure !== null) throw this.failure;
          if (this.caller.isClosed) throw new CanceledError();
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        }
        if (this.closed) return;
        const response = this.arrived.take() as WatchResponse;
        if (this.arrived.length === 0) this.caughtUp();
        this.handedRevision = Math.max(this.handedRevision, behind(response));
        yield response;
      }
    } finally {
      this.close();
    }
  }

  // ── what the stream reports ───────────────────────────────────────────────────────────────────────────────────────

  request(): WatchCreateRequest {
    this.pieces = [];
    const { options } = this;
    const filters: number[] = [];
    if (options.noPuts === true) filters.push(FilterType.NOPUT);
    if (options.noDeletes === true) filters.push(FilterType.NODELETE);
    return WatchCreateRequest.create({
      ...this.range,
      startRevision: this.nextRevision,
      prevKv: options.prevKv ?? false,
      progressNotify: options.progressNotify ?? false,
      filters: filters as WatchCreateRequest['filters'],
      fragment: true,
    });
  }

  created(response: WatchResponse): void {
    const revision = response.header?.revision ?? 0;
    // From here on a lost stream is resumed at the right place even if nothing has come yet.
    if (this.nextRevision === 0) {
      this.nextRevision = revision + 1;
      this.handedRevision = this.nextRevision;
    }
    try {
      this.options.onCreated?.(revision);
    } catch (error) {
      // The caller's own mistake: it is for whoever reads, and not for the other watches of the stream.
      this.stream?.remove(this);
      this.failed(error as Error);
    }
  }

  received(response: WatchResponse, bytes: number): void {
    this.heldBytes += bytes;
    if (response.fragment) {
      this.pieces.push(response);
      return;
    }
    if (this.pieces.length > 0) {
      // A word on progress between pieces says nothing of what is not whole yet.
      if (response.events.length === 0) return;
      response.events = [...this.pieces.flatMap((piece) => piece.events), ...response.events];
      this.pieces = [];
    }
    if (response.events.length > 0 && !this.dropKnown(response)) return;
    if (this.namespace !== null) for (const event of response.events) this.namespace.innerEvent(event);
    this.nextRevision = Math.max(this.nextRevision, behind(response));
    this.arrived.push(response);
    if (this.heldBytes > STREAM_HELD_BYTES) this.holdBack();
    this.stir();
  }

  canceled(response: WatchResponse): void {
    this.stream = null;
    const reason = response.cancelReason === '' ? REASON_COMPACTED : response.cancelReason;
    this.failed(new WatchCanceledError(reason, response.compactRevision, response));
  }

  interrupted(): void {
    this.pieces = [];
  }

  failed(error: Error): void {
    this.stream = null;
    this.failure = error;
    this.stir();
  }

  // ── fast and slow readers ─────────────────────────────────────────────────────────────────────────────────────────

  private attach(isAlone: boolean): void {
    this.stream = this.hub.add(this, isAlone);
  }

  /** The reader is behind: no more for now. */
  private holdBack(): void {
    if (this.stream === null) return;
    if (this.stream.isAlone) {
      this.stream.pause();
      return;
    }
    this.stream.remove(this);
    this.stream = null;
    this.pieces = [];
    this.isBehind = true;
  }

  /** All that arrived is read. */
  private caughtUp(): void {
    this.heldBytes = 0;
    if (!this.isBehind) this.stream?.resume();
    else if (this.failure === null) {
      this.isBehind = false;
      this.attach(true);
    }
  }

  /**
   * Takes out events of revisions that have arrived before, which a server that keeps the protocol does not send. False if
   * nothing is left.
   */
  private dropKnown(response: WatchResponse): boolean {
    const first = response.events[0]?.kv?.modRevision ?? 0;
    if (first >= this.nextRevision) return true;
    response.events = response.events.filter((event) => (event.kv?.modRevision ?? 0) >= this.nextRevision);
    return response.events.length > 0;
  }

  private stir(): void {
    const { wake } = this;
    this.wake = null;
    wake?.();
  }
}

/** The revision behind all that a response tells of. */
function behind(response: WatchResponse): number {
  return (response.events.at(-1)?.kv?.modRevision ?? response.header?.revision ?? 0) + 1;
}

const REASON_COMPACTED = 'etcdserver: mvcc: required revision has been compacted';
