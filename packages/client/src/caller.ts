/** Calls on the cluster as a whole: which member is asked, what is tried again, and until when. */
import { EtcdError, GrpcCode, type MessageClass } from '@etsd/proto';
import type { GrpcChannel, Metadata, RpcWorld } from '@etsd/rpc';
import { Credentials } from './credentials.ts';
import { Endpoints } from './endpoints.ts';
import { CanceledError, clientError, TimeoutError, UnavailableError } from './errors.ts';
import { MessageStream } from './message-stream.ts';
import {
  type CallOptions,
  type ClientOptions,
  DEFAULT_TIMEOUT_MS,
  RETRY_PAUSE_MAX_MS,
  RETRY_PAUSE_MS,
} from './options.ts';

/**
 * A method, and whether a call may be repeated when nobody knows what became of it. A read may; a write only where it
 * has certainly not left, or it could happen twice.
 */
export interface Method<Request, Response> {
  readonly path: string;
  readonly request: MessageClass<Request>;
  readonly response: MessageClass<Response>;
  readonly repeatable: boolean;
}

const NO_OPTIONS: CallOptions = {};
/** What `GrpcChannel` says of a call for which there was no connection: it did not leave. */
const NOT_SENT = 'connection error: desc = ';

export class Caller {
  readonly world: RpcWorld;
  readonly endpoints: Endpoints;
  private readonly credentials: Credentials;
  private readonly timeoutMs: number;
  isClosed = false;

  constructor(world: RpcWorld, options: ClientOptions) {
    this.world = world;
    this.endpoints = new Endpoints(world, options);
    this.credentials = new Credentials(options.user, options.token);
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** One request, one response. */
  async unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = NO_OPTIONS,
  ): Promise<Response> {
    const body = method.request.encode(request);
    const attempts = new Attempts(this.world, options.timeoutMs ?? this.timeoutMs, options.signal);
    for (;;) {
      try {
        const channel = this.channel(options);
        const metadata = await this.metadata(channel, options, attempts);
        const bytes = await channel.unary(method.path, body, {
          metadata,
          ...(attempts.leftMs > 0 ? { timeoutMs: attempts.leftMs } : {}),
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        });
        return method.response.decode(bytes);
      } catch (thrown) {
        const error = clientError(thrown);
        if (this.isClosed) throw new CanceledError(error);
        if (this.credentials.rejected(error) && attempts.mayLogInAgain()) continue;
        if (error instanceof TimeoutError) throw attempts.timeout(error);
        if (!mayRepeat(error, method.repeatable)) throw error;
        await attempts.pause(error, options.endpoint === undefined ? this.endpoints.list.length : 1);
      }
    }
  }

  /** Starts a stream on one member. Nothing is tried again: who reads the stream knows from where to go on. */
  async stream<Request, Response>(
    method: Method<Request, Response>,
    options: CallOptions = NO_OPTIONS,
  ): Promise<MessageStream<Request, Response>> {
    const attempts = new Attempts(this.world, 0, options.signal);
    for (;;) {
      const channel = this.channel(options);
      try {
        const metadata = await this.metadata(channel, options, attempts);
        return new MessageStream(channel, method, metadata, options.signal);
      } catch (thrown) {
        const error = clientError(thrown);
        if (this.isClosed) throw new CanceledError(error);
        if (!mayRepeat(error, true)) throw error;
        await attempts.pause(error, this.endpoints.list.length);
      }
    }
  }

  /** Told of a stream's end: whether its token was refused, so that a new stream will log in again. */
  tokenRejected(error: unknown): boolean {
    return this.credentials.rejected(error);
  }

  /** Gets a token now where a user is given, so that a wrong password shows before the first call. */
  async login(options: CallOptions = NO_OPTIONS): Promise<void> {
    const attempts = new Attempts(this.world, options.timeoutMs ?? this.timeoutMs, options.signal);
    for (;;) {
      try {
        await this.metadata(this.channel(options), options, attempts);
        return;
      } catch (thrown) {
        const error = clientError(thrown);
        if (error instanceof TimeoutError) throw attempts.timeout(error);
        if (!mayRepeat(error, true)) throw error;
        await attempts.pause(error, this.endpoints.list.length);
      }
    }
  }

  close(): void {
    this.isClosed = true;
    this.endpoints.close();
  }

  private channel(options: CallOptions): GrpcChannel {
    const channel = options.endpoint === undefined ? this.endpoints.next() : this.endpoints.at(options.endpoint);
    if (channel === null) throw new EtcdError(GrpcCode.InvalidArgument, 'etcdclient: no available endpoints');
    return channel;
  }

  private async metadata(channel: GrpcChannel, options: CallOptions, attempts: Attempts): Promise<Metadata | null> {
    const requireLeader = options.requireLeader === true;
    const ready = this.credentials.metadata(requireLeader);
    if (ready !== null) return ready;
    await this.credentials.login(channel, attempts.leftMs);
    return this.credentials.metadata(requireLeader);
  }
}

/** Whether a call that ended like this can be made again. */
function mayRepeat(error: EtcdError, repeatable: boolean): boolean {
  if (error.code !== GrpcCode.Unavailable) return false;
  return repeatable || (error instanceof UnavailableError && error.message.startsWith(NOT_SENT));
}

/** The attempts of one call: time left, pauses between rounds over all endpoints. */
class Attempts {
  private readonly world: RpcWorld;
  private readonly deadlineMs: number;
  private readonly signal: AbortSignal | undefined;
  private count = 0;
  private logins = 0;
  private last: Error | undefined;

  constructor(world: RpcWorld, timeoutMs: number, signal: AbortSignal | undefined) {
    this.world = world;
    this.signal = signal;
    this.deadlineMs = timeoutMs > 0 ? world.clock.nowMs() + timeoutMs : 0;
  }

  /** 0 without a deadline, otherwise at least 1. */
  get leftMs(): number {
    return this.deadlineMs === 0 ? 0 : Math.max(1, this.deadlineMs - this.world.clock.nowMs());
  }

  mayLogInAgain(): boolean {
    return ++this.logins <= 2;
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
export function sleep(world: RpcWorld, ms: number, signal?: AbortSignal): Promise<void> {
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
