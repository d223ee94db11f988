import {
  type Event,
  FilterType,
  WatchCreateRequest,
  WatchProgressRequest,
  WatchRequest,
  type WatchResponse,
} from '@etsd/proto';
import { type Caller, sleep } from './caller.ts';
import { CanceledError, clientError, isRetryable, WatchCanceledError } from './errors.ts';
import { type Bytes, type KeyRange, toRange } from './keys.ts';
import type { MessageStream } from './message-stream.ts';
import { Watch } from './methods.ts';
import type { Namespace } from './namespace.ts';
import { RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS } from './options.ts';

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
 * connections between: `for await (const response of watch)`. Ends when its signal is aborted or `close` is called.
 * Throws `WatchCanceledError` when the server ends it: because history is needed that is compacted, for lack of
 * permission, or because the range is empty.
 */
export class Watcher implements AsyncIterable<WatchResponse>, AsyncDisposable {
  private readonly caller: Caller;
  private readonly namespace: Namespace | null;
  private readonly range: KeyRange;
  private readonly options: WatchOptions;
  private readonly stop = new AbortController();
  private readonly signal: AbortSignal;
  private stream: MessageStream<WatchRequest, WatchResponse> | null = null;
  /** Everything before this has been handed out; 0 while nothing is known. */
  private nextRevision: number;
  private failures = 0;
  /** Pieces of a response that is not complete yet. */
  private pieces: WatchResponse[] = [];
  private started = false;

  constructor(caller: Caller, namespace: Namespace | null, keys: Bytes | KeyRange, options: WatchOptions) {
    this.caller = caller;
    this.namespace = namespace;
    this.range = namespace === null ? toRange(keys) : namespace.outwards(toRange(keys));
    this.options = options;
    this.nextRevision = options.startRevision ?? 0;
    const { signal } = this.stop;
    this.signal = options.signal === undefined ? signal : AbortSignal.any([signal, options.signal]);
  }

  /** The revision from which a later watch would go on after what was read here. */
  get resumeRevision(): number {
    return this.nextRevision;
  }

  /** Asks the server to report how far it has come, as a response without events. */
  requestProgress(): void {
    this.stream?.send(WatchRequest.create({ progressRequest: WatchProgressRequest.create() }));
  }

  close(): void {
    this.stop.abort();
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
    try {
      for (;;) {
        const response = await this.next();
        if (response === null) return;
        yield response;
      }
    } finally {
      this.stream?.close();
      this.stop.abort();
    }
  }

  /** The next response, over as many streams as it takes; null once stopped. */
  private async next(): Promise<WatchResponse | null> {
    for (;;) {
      if (this.signal.aborted) return null;
      try {
        this.stream ??= await this.open();
        const response = await this.stream.next();
        if (response === null) {
          this.stream = null;
          continue;
        }
        const whole = this.accept(response);
        if (whole !== null) return whole;
      } catch (thrown) {
        if (this.signal.aborted) return null;
        await this.recover(thrown);
      }
    }
  }

  private async open(): Promise<MessageStream<WatchRequest, WatchResponse>> {
    this.pieces = [];
    const { options } = this;
    const stream = await this.caller.stream(Watch, {
      signal: this.signal,
      requireLeader: options.requireLeader ?? true,
    });
    const filters: number[] = [];
    if (options.noPuts === true) filters.push(FilterType.NOPUT);
    if (options.noDeletes === true) filters.push(FilterType.NODELETE);
    const createRequest = WatchCreateRequest.create({
      ...this.range,
      startRevision: this.nextRevision,
      prevKv: options.prevKv ?? false,
      progressNotify: options.progressNotify ?? false,
      filters: filters as WatchCreateRequest['filters'],
      fragment: true,
    });
    stream.send(WatchRequest.create({ createRequest }));
    return stream;
  }

  /** What the reader gets of a response, or null: nothing, or not yet. */
  private accept(response: WatchResponse): WatchResponse | null {
    this.failures = 0;
    const revision = response.header?.revision ?? 0;
    if (response.canceled) {
      const reason = response.cancelReason === '' ? REASON_COMPACTED : response.cancelReason;
      throw new WatchCanceledError(reason, response.compactRevision, response);
    }
    if (response.created) {
      // From here on a lost stream is resumed at the right place even if nothing has come yet.
      if (this.nextRevision === 0) this.nextRevision = revision + 1;
      this.options.onCreated?.(revision);
      return null;
    }
    if (response.fragment) {
      this.pieces.push(response);
      return null;
    }
    if (this.pieces.length > 0) {
      response.events = [...this.pieces.flatMap((piece) => piece.events), ...response.events];
      this.pieces = [];
    }
    if (this.namespace !== null) for (const event of response.events) this.namespace.innerEvent(event);
    const last = response.events.at(-1)?.kv?.modRevision ?? revision;
    this.nextRevision = Math.max(this.nextRevision, last + 1);
    return response;
  }

  /** Waits until it is worth trying again, or throws what no further attempt can mend. */
  private async recover(thrown: unknown): Promise<void> {
    this.stream?.close();
    this.stream = null;
    if (thrown instanceof WatchCanceledError) throw thrown;
    const error = clientError(thrown);
    if (this.caller.isClosed) throw new CanceledError(error);
    if (!this.caller.tokenRejected(error) && !isRetryable(error)) throw error;
    const pauseMs = Math.min(RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS * 2 ** Math.min(this.failures++, 10));
    try {
      await sleep(this.caller.world, pauseMs, this.signal);
    } catch {
      // Aborted: the reader is told by the end of the iteration.
    }
  }
}

const REASON_COMPACTED = 'etcdserver: mvcc: required revision has been compacted';
