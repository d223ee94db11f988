import type { TlsOptions } from '@etsd/runtime';
import type { Interceptor } from './intercept.ts';
import type { OpenTelemetry } from './telemetry.ts';

/** How to reach a cluster, and as whom. */
export interface ClientOptions {
  /**
   * Members to talk to, one or several: `host:port`, `http://host:port`, `https://host:port`, `unix:path`, `unixs:path`.
   * Without a scheme TLS is used where `tls` is given.
   */
  readonly endpoints: string | readonly string[];
  /** Certificates as PEM text. Needed for nothing but private authorities and client certificates. */
  readonly tls?: TlsOptions;
  /** Logs in with the first call and again whenever the token has ended. */
  readonly user?: { readonly name: string; readonly password: string };
  /** Shows this token, got elsewhere, instead of logging in. Not together with `user`. */
  readonly token?: string;
  /** For a unary call, all attempts together; 0 for as long as it takes. Default 10 000 ms. */
  readonly timeoutMs?: number;
  /**
   * For one attempt of a call that may be repeated, before another endpoint is asked; 0 for no such limit. By default half
   * of the time left, where there are several endpoints: a member that hangs does not cost the whole call.
   */
  readonly attemptTimeoutMs?: number;
  /** Learns the members from the cluster this often, as `syncEndpoints` does; 0, the default: never. */
  readonly autoSyncMs?: number;
  /** For connecting to one endpoint before the next is tried. Default 2 000 ms. */
  readonly dialTimeoutMs?: number;
  /** Silence after which a connection with calls on it is probed, and how long the probe may take. Default 10 s and 10 s. */
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
  /**
   * Every key of this client begins with this, without showing it: in reads, writes, transactions, watches, locks and
   * elections. What lies outside of it cannot be reached. The keys that `leases.timeToLive` lists are whole ones.
   */
  readonly namespace?: string | Uint8Array;
  /** Called around every call, the first outermost. */
  readonly interceptors?: readonly Interceptor[];
  /**
   * OpenTelemetry's API for spans around every call and for passing the trace on to the server. In Node.js
   * `@opentelemetry/api` is used by itself once the program has set a provider; `false` turns that off.
   */
  readonly telemetry?: OpenTelemetry | false;
}

/** Of one call. */
export interface CallOptions {
  /** Gives up when aborted; the call then rejects with `CanceledError`. */
  readonly signal?: AbortSignal;
  /** Instead of the client's `timeoutMs`; 0 for as long as it takes. */
  readonly timeoutMs?: number;
  /** Instead of the client's `attemptTimeoutMs`. */
  readonly attemptTimeoutMs?: number;
  /** This endpoint and no other; it need not be one of the client's. */
  readonly endpoint?: string;
  /** Refuse at once, or end the stream, while the member knows of no leader. */
  readonly requireLeader?: boolean;
}

export const DEFAULT_TIMEOUT_MS = 10_000;
export const DEFAULT_DIAL_TIMEOUT_MS = 2_000;
export const DEFAULT_KEEPALIVE_MS = 10_000;
/** Pause once every endpoint was tried, at first and at most. */
export const RETRY_PAUSE_MS = 25;
export const RETRY_PAUSE_MAX_MS = 1_000;
/** Pause after a failed attempt to connect to an endpoint, at first and at most. */
export const DIAL_BACKOFF_MS = 100;
export const DIAL_BACKOFF_MAX_MS = 5_000;
/** How long an endpoint that failed is asked only if all others are worse, at first and at most. */
export const SUSPECT_MS = 250;
export const SUSPECT_MAX_MS = 10_000;
/** How long calls to an endpoint that is not used any more may go on. */
export const RETIRE_MS = 10_000;
/** What a stream holds for a reader that is slower than the server; beyond it the server is held back. */
export const STREAM_HELD_BYTES = 1024 * 1024;
