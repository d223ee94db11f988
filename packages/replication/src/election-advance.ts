import { U64_ZERO } from '@etsd/base';
import type { RawNode } from '@etsd/raft';
import type { Transport } from './peers/transport.ts';

/**
 * A member that starts has waited long enough when the others are connected and nobody leads: the wait is there to let a
 * leader be heard, and it would be by now. Two ticks stay, for a leader that is slow. As etcd does it.
 */
export class ElectionAdvance {
  private readonly raft: RawNode;
  private readonly transport: Transport | null;
  private readonly electionTicks: number;
  /** The last tick at which the wait may still be shortened. */
  private until: number;

  constructor(raft: RawNode, transport: Transport | null, electionTicks: number, until: number) {
    this.raft = raft;
    this.transport = transport;
    this.electionTicks = electionTicks;
    this.until = until;
  }

  /** Looks once a tick; cheap when it is over. */
  look(tick: number): void {
    const { raft, transport } = this;
    if (tick > this.until || transport?.activeSince === undefined) return;
    let active = 0;
    for (const id of raft.progress.keys()) if (id !== raft.id && transport.activeSince(id) !== null) active++;
    if (active <= 1) return;
    this.until = 0;
    if (raft.leader !== U64_ZERO) return;
    for (let step = 2; step < this.electionTicks; step++) raft.tick();
  }
}
