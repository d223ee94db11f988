import type { U64 } from '@etsd/base';
import type { Message } from '@etsd/proto';

/**
 * How messages reach the other members: the seam at which the simulator puts its network. Messages may be lost, delayed,
 * doubled and reordered; raft copes. `send` never blocks: what cannot be queued is dropped, and failures that raft should
 * know of come back through `ReplicationNode.reportUnreachable` and `reportSnapshot`.
 */
export interface Transport {
  /** The messages are the transport's from now on; the array is reused. */
  send(messages: readonly Message[]): void;
  /**
   * Since when the connection to a member stands, in milliseconds of the world's monotonic clock; null while it does not.
   * Without it nobody is known to be connected, and no time-out is put down to a lost connection.
   */
  activeSince?(id: U64): number | null;
  close(): Promise<void>;
}
