/** Sockets. */
export interface Network {
  /** Ends all listeners and connections. */
  close(): Promise<void>;
}
