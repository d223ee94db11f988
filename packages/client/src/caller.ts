/** Calls on the cluster as a whole: which member is asked, what is tried again, and until when. */
import { ErrRequestTooManyRequests, EtcdError, GrpcCode } from '@etsd/proto';
import { checkCallOptions, checkClientOptions } from './checks.ts';
import { Credentials } from './credentials.ts';
import { Endpoints, type Place } from './endpoints.ts';
import { CanceledError, clientError, isError, TimeoutError, UnavailableError } from './errors.ts';
import { type CallInfo, callInfo, type Interceptor, intercepted } from './intercept.ts';
import type { CallHeaders, ClientWorld, Method, Outgoing, StreamReceiver, Transport } from './link.ts';
import { MessageStream } from './message-stream.ts';
import {
  type CallOptions,
  type ClientOptions,
  DEFAULT_TIMEOUT_MS,
  RETRY_PAUSE_MAX_MS,
  RETRY_PAUSE_MS,
} from './options.ts';
import { isTraced, type OpenTelemetry, traced } from './telemetry.ts';

const NO_OPTIONS: CallOptions = {};

export class Caller {
  readonly world: ClientWorld;
  readonly transport: Transport;
  readonly endpoints: Endpoints;
  private readonly credentials: Credentials;
  private readonly options: ClientOptions;
  private readonly interceptors: readonly Interceptor[];
  /** Gets OpenTelemetry's API where the program uses it; null where spans are not wanted, or made already. */
  private loadTelemetry: (() => Promise<OpenTelemetry | null>) | null;
  private tracing: readonly Interceptor[] = [];
  isClosed = false;

  constructor(
    transport: Transport,
    options: ClientOptions,
    loadTelemetry: (() => Promise<OpenTelemetry | null>) | null = null,
  ) {
    checkClientOptions(options);
    this.transport = transport;
    this.world = transport.world;
    this.options = options;
    this.endpoints = new Endpoints(transport, options.endpoints);
    this.credentials = new Credentials(options.user, options.token);
    this.interceptors = options.interceptors ?? [];
    const { telemetry } = options;
    if (telemetry !== undefined && telemetry !== false) this.tracing = [traced(telemetry)];
    this.loadTelemetry = telemetry === undefined ? loadTelemetry : null;
  }

  /** One request, one response. */
  unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = NO_OPTIONS,
  ): Promise<Response> {
    if (!this.isIntercepted) return this.perform(method, request, options, null);
    const info = callInfo(method.path, 'unary', request, options);
    return this.around(info, () => this.perform(method, info.request as Request, options, info)) as Promise<Response>;
  }

  /**
   * Starts a stream on one member. Nothing is tried again once it is started: who reads it knows from where to go on, and
   * may be told of its end even before this has resolved.
   */
  open<Request, Response>(
    method: Method<Request, Response>,
    receiver: StreamReceiver<Response>,
    options: CallOptions = NO_OPTIONS,
  ): Promise<Outgoing<Request>> {
    if (!this.isIntercepted) return this.start(method, receiver, options, null);
    const info = callInfo(method.path, 'stream', null, options);
    return new Promise((resolve, reject) => {
      const whole = this.around(info, async () => {
        const reported = new ReportedEnd(receiver);
        resolve(await this.start(method, reported, options, info));
        await reported.end;
      });
      // After the stream stands its receiver hears of its end; before, whoever opens it.
      whole.then(() => reject(new CanceledError()), reject);
    });
  }

  /** As `open`, to be read message by message. */
  async stream<Request, Response>(
    method: Method<Request, Response>,
    options: CallOptions = NO_OPTIONS,
  ): Promise<MessageStream<Request, Response>> {
    const stream = new MessageStream<Request, Response>();
    return stream.attach(await this.open(method, stream, options));
  }

  /** Told of a stream's end: whether its token was refused, so that a new stream will log in again. */
  tokenRejected(error: unknown): boolean {
    return this.credentials.rejected(error);
  }

  /** Gets a token now where a user is given, so that a wrong password shows before the first call. */
  async login(options: CallOptions = NO_OPTIONS): Promise<void> {
    const attempts = new Attempts(this.world, options.timeoutMs ?? this.timeoutMs, options.signal);
    for (;;) {
      const place = this.place(options);
      try {
        await this.headers(place, options, attempts, null);
        return;
      } catch (thrown) {
        await this.failed(thrown, place, true, options, attempts);
      }
    }
  }

  close(): void {
    this.isClosed = true;
    this.endpoints.close();
  }

  private get timeoutMs(): number {
    return this.options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  private get isIntercepted(): boolean {
    return this.interceptors.length > 0 || this.tracing.length > 0 || (this.loadTelemetry !== null && isTraced());
  }

  private async around(info: CallInfo, last: () => Promise<unknown>): Promise<unknown> {
    if (this.loadTelemetry !== null && isTraced()) {
      const api = await this.loadTelemetry();
      // Another call may have been here meanwhile.
      if (this.loadTelemetry !== null && api !== null) this.tracing = [traced(api)];
      this.loadTelemetry = null;
    }
    return intercepted([...this.tracing, ...this.interceptors], info, last);
  }

  private async perform<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
    info: CallInfo | null,
  ): Promise<Response> {
    if (options !== NO_OPTIONS) checkCallOptions(options);
    const { signal } = options;
    const attempts = new Attempts(this.world, options.timeoutMs ?? this.timeoutMs, signal);
    for (;;) {
      const place = this.place(options);
      try {
        const ready = info === null ? this.credentials.headers(options.requireLeader === true) : null;
        const headers = ready ?? (await this.headers(place, options, attempts, info));
        const timeoutMs = method.repeatable ? this.attemptMs(options, attempts) : attempts.leftMs;
        const response = await place.link.unary(method, request, { headers, timeoutMs, signal });
        place.worked();
        return response;
      } catch (thrown) {
        await this.failed(thrown, place, method.repeatable, options, attempts);
      }
    }
  }

  private async start<Request, Response>(
    method: Method<Request, Response>,
    receiver: StreamReceiver<Response>,
    options: CallOptions,
    info: CallInfo | null,
  ): Promise<Outgoing<Request>> {
    const { signal } = options;
    const attempts = new Attempts(this.world, 0, signal);
    for (;;) {
      const place = this.place(options);
      try {
        const headers = await this.headers(place, options, attempts, info);
        if (signal?.aborted === true) throw new CanceledError(signal.reason);
        return place.link.open(method, new Watched(receiver, place), { headers, timeoutMs: 0, signal });
      } catch (thrown) {
        await this.failed(thrown, place, true, options, attempts);
      }
    }
  }

  /** Returns when the call is to be tried again; throws what its caller is told otherwise. */
  private async failed(
    thrown: unknown,
    place: Place,
    repeatable: boolean,
    options: CallOptions,
    attempts: Attempts,
  ): Promise<void> {
    const error = clientError(thrown);
    if (this.isClosed) throw new CanceledError(error);
    if (this.credentials.rejected(error) && attempts.mayLogInAgain()) return;
    place.ended(error);
    if (error instanceof TimeoutError) {
      if (!repeatable || !attempts.hasTime) throw attempts.timeout(error);
      attempts.note(error);
      return;
    }
    const isBusy = isError(error, ErrRequestTooManyRequests);
    if (!isBusy && !mayRepeat(error, repeatable)) throw error;
    await attempts.pause(error, isBusy || options.endpoint !== undefined ? 1 : this.endpoints.count);
  }

  /** Time for the next attempt of a call that may be repeated. */
  private attemptMs(options: CallOptions, attempts: Attempts): number {
    const { leftMs } = attempts;
    const limitMs = options.attemptTimeoutMs ?? this.options.attemptTimeoutMs;
    if (limitMs === 0) return leftMs;
    if (limitMs !== undefined) return leftMs === 0 ? limitMs : Math.min(limitMs, leftMs);
    const isAlone = options.endpoint !== undefined || this.endpoints.count < 2;
    // The last attempt that is worth making gets all that is left.
    return isAlone || leftMs < ATTEMPT_MS_MIN * 2 ? leftMs : leftMs / 2;
  }

  private place(options: CallOptions): Place {
    if (this.isClosed) throw new CanceledError();
    const place = options.endpoint === undefined ? this.endpoints.next() : this.endpoints.at(options.endpoint);
    if (place === null) throw new EtcdError(GrpcCode.InvalidArgument, 'etcdclient: no available endpoints');
    return place;
  }

  private async headers(
    place: Place,
    options: CallOptions,
    attempts: Attempts,
    info: CallInfo | null,
  ): Promise<CallHeaders> {
    const requireLeader = options.requireLeader === true;
    let headers = this.credentials.headers(requireLeader);
    if (headers === null) {
      await this.credentials.login(place.link, attempts.leftMs);
      headers = this.credentials.headers(requireLeader);
      if (headers === null) throw new UnavailableError('the token was refused while it was fetched', true);
    }
    if (info === null) return headers;
    info.attempts++;
    info.endpoint = place.text;
    return info.headers.size === 0 ? headers : headers.with([...info.headers].flat());
  }
}

/** Shorter attempts are not worth a second one. */
const ATTEMPT_MS_MIN = 500;

/** Whether a call that ended like this can be made again. */
function mayRepeat(error: EtcdError, repeatable: boolean): boolean {
  if (error.code !== GrpcCode.Unavailable) return false;
  return repeatable || (error instanceof UnavailableError && error.notSent);
}

/** Tells the endpoint how a stream fares. */
class Watched<Response> implements StreamReceiver<Response> {
  private readonly receiver: StreamReceiver<Response>;
  private readonly place: Place;

  constructor(receiver: StreamReceiver<Response>, place: Place) {
    this.receiver = receiver;
    this.place = place;
  }

  message(response: Response, bytes: number): void {
    this.place.worked();
    this.receiver.message(response, bytes);
  }

  ended(error: EtcdError | null): void {
    if (error !== null) this.place.ended(error);
    this.receiver.ended(error);
  }
}

/** Shows the end of a stream as a promise too. */
class ReportedEnd<Response> implements StreamReceiver<Response> {
  readonly end: Promise<void>;
  private readonly receiver: StreamReceiver<Response>;
  private settle: (error: EtcdError | null) => void = () => {};

  constructor(receiver: StreamReceiver<Response>) {
    this.receiver = receiver;
    this.end = new Promise((resolve, reject) => {
      this.settle = (error) => (error === null ? resolve() : reject(error));
    });
  }

  message(response: Response, bytes: number): void {
    this.receiver.message(response, bytes);
  }

  ended(error: EtcdError | null): void {
    this.receiver.ended(error);
    this.settle(error);
  }
}

/** The attempts of one call: time left, pauses between rounds over all endpoints. */
class Attempts {
  private readonly world: ClientWorld;
  private readonly deadlineMs: number;
  private readonly signal: AbortSignal | undefined;
  private count = 0;
  private logins = 0;
  private last: Error | undefined;

  constructor(world: ClientWorld, timeoutMs: number, signal: AbortSignal | undefined) {
    this.world = world;
    this.signal = signal;
    this.deadlineMs = timeoutMs > 0 ? world.clock.nowMs() + timeoutMs : 0;
  }

  /** 0 without a deadline, otherwise at least 1. */
  get leftMs(): number {
    return this.deadlineMs === 0 ? 0 : Math.max(1, this.deadlineMs - this.world.clock.nowMs());
  }

  get hasTime(): boolean {
    return this.deadlineMs === 0 || this.world.clock.nowMs() < this.deadlineMs;
  }

  mayLogInAgain(): boolean {
    return ++this.logins <= 2;
  }

  /** What is told as the cause if time runs out. */
  note(error: Error): void {
    this.last ??= error;
  }

  timeout(error: Error): TimeoutError {
    return new TimeoutError(this.last ?? error);
  }

  /** Returns when the next attempt is due; throws when there is no time for it. */
  async pause(error: EtcdError, endpoints: number): Promise<void> {
    this.last = error;
    if (++this.count % Math.max(1, endpoints) !== 0) return;
    const round = this.count / Math.max(1, endpoints) - 1;
    const pauseMs = Math.min(RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS * 2 ** Math.min(round, 10));
    if (this.deadlineMs !== 0 && this.world.clock.nowMs() + pauseMs >= this.deadlineMs) {
      await sleep(this.world, this.leftMs, this.signal);
      throw new TimeoutError(error);
    }
    await sleep(this.world, pauseMs, this.signal);
  }
}

/** Resolves after `ms`; rejects with `CanceledError` as soon as the signal is aborted. */
export function sleep(world: ClientWorld, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new CanceledError(signal.reason));
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(new CanceledError(signal?.reason));
    };
    const timer = world.timers.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
