/** What the load generator needs of a gRPC client: calls with callbacks, no promise each. */
export interface CallReceiver {
  /** A message; the bytes are valid during this call only. */
  message(bytes: Buffer, start: number, end: number): void;
  /** The call is over; exactly once. `code` is a gRPC status. */
  closed(code: number, message: string): void;
}

export interface LoadCall {
  send(message: Buffer): void;
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
