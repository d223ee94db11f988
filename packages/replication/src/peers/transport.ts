import type { Message } from '@etsd/proto';

/**
 * How messages reach the other members: the seam at which the simulator puts its network. Messages may be lost, delayed,
 * doubled and reordered; raft copes. `send` never blocks: what cannot be queued is dropped, and failures that raft should
 * know of come back through `ReplicationNode.reportUnreachable` and `reportSnapshot`.
 */
export interface Transport {
  /** The messages are the transport's from now on; the array is reused. */
  send(messages: readonly Message[]): void;
  close(): Promise<void>;
}
