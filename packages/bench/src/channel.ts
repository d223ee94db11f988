/**
 * What the load generator needs of a gRPC client: calls with callbacks, no promise each. `GrpcChannel` of `rpc` has this
 * shape as it is; `dialNode` gives the same over node:http2.
 */
export interface CallReceiver {
  /** A message; the bytes are valid during this call only. */
  message(call: LoadCall, bytes: Buffer, start: number, end: number): void;
  /** The call is over; exactly once. `code` is a gRPC status. */
  closed(call: LoadCall, code: number, message: string): void;
}

export interface LoadCall {
  send(message: Buffer): void;
  /** Sends a message behind which no other comes. */
  sendLast(message: Buffer): void;
  halfClose(): void;
  cancel(): void;
}

/** One connection. */
export interface LoadChannel {
  start(path: string, receiver: CallReceiver): LoadCall;
  close(): void;
}

/** Opens a connection to an address; resolves once it stands. */
export type Dial = (endpoint: string) => Promise<LoadChannel>;
