/** The seam between what the client does and how its calls travel: gRPC over our own transport, or fetch over the gateway. */
import type { EtcdError, MessageClass } from '@etsd/proto';
import type { World } from '@etsd/runtime';

/** The parts of the world that all transports need. */
export type ClientWorld = Pick<World, 'clock' | 'timers' | 'random'>;

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

/** What goes with a call besides its message: names in lower case. One object serves many calls. */
export class CallHeaders {
  readonly token: string;
  readonly requireLeader: boolean;
  /** Name and value in turn. */
  readonly further: readonly string[];
  /** What a link made of it, so that it does so once. */
  prepared: unknown = null;

  constructor(token: string, requireLeader: boolean, further: readonly string[] = []) {
    this.token = token;
    this.requireLeader = requireLeader;
    this.further = further;
  }

  /** The same and more. */
  with(further: readonly string[]): CallHeaders {
    return new CallHeaders(this.token, this.requireLeader, [...this.further, ...further]);
  }
}

/** How to make one call on one link. */
export interface LinkCall {
  readonly headers: CallHeaders;
  /** 0: for as long as it takes. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Who reads a stream. Nothing is reported before `open` has returned. */
export interface StreamReceiver<Response> {
  /** A message came; it took so many bytes. */
  message(response: Response, bytes: number): void;
  /** Exactly once, the last callback; null if the server ended the call well. */
  ended(error: EtcdError | null): void;
}

/** Our side of a stream. */
export interface Outgoing<Request> {
  send(request: Request): void;
  /** Sends the only request of a call to which the server answers with many messages. */
  sendLast(request: Request): void;
  /** The server is to hold back what follows. */
  pause(): void;
  resume(): void;
  /** Gives up; the receiver is told `CanceledError`. */
  cancel(): void;
}

/** `READY` first, `FAILING` last: where the next call goes. */
export const LinkRank = { READY: 0, IDLE: 1, SUSPECT: 2, FAILING: 3 } as const;
export type LinkRank = (typeof LinkRank)[keyof typeof LinkRank];

/** The way to one endpoint. */
export interface Link {
  /** `SUSPECT` is for `Endpoints` to give. */
  readonly rank: LinkRank;
  /** Rejects with an `EtcdError`. */
  unary<Request, Response>(method: Method<Request, Response>, request: Request, call: LinkCall): Promise<Response>;
  open<Request, Response>(
    method: Method<Request, Response>,
    receiver: StreamReceiver<Response>,
    call: LinkCall,
  ): Outgoing<Request>;
  /**
   * Connects if need be. True if there is such a thing as a connection, and none yet: then `rank` will tell when it stands.
   */
  warm(): boolean;
  /** Ends its calls with `CanceledError`. */
  close(): void;
}

/** Makes links; one for each kind of transport. */
export interface Transport {
  readonly world: ClientWorld;
  /** Whether requests can follow the first of a stream: then one stream serves many watches and leases. */
  readonly sendsMany: boolean;
  /** Throws `TypeError` for an endpoint that is none. */
  link(endpoint: string): Link;
}
