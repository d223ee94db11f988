import type { Clock, Timers } from '@etsd/runtime';
import type { RpcLimits } from '../limits.ts';

const NOT_LOOKED = -1;

/** Something that gathers bytes during a turn. */
export interface Flushable {
  flush(): void;
}

/** What all connections of one server or channel share: the turn's list of connections to write, and the clock. */
export class ConnectionHost {
  readonly clock: Clock;
  readonly limits: RpcLimits;
  private readonly timers: Timers;
  private dirty: Flushable[] = [];
  private flushing: Flushable[] = [];
  private scheduled = false;
  /** Bytes of half-received messages of all connections. */
  heldBytes = 0;
  /** Bytes of answers of all connections that wait for their client's window or socket. */
  queuedBytes = 0;
  /** Bytes read from and written to all sockets so far. */
  bytesRead = 0;
  bytesWritten = 0;
  /** The time of the last sweep: good enough to tell seconds apart, and free to look at. */
  coarseMs: number;
  private turnMs = NOT_LOOKED;
  private readonly onEndOfTurn: () => void;

  constructor(clock: Clock, timers: Timers, limits: RpcLimits) {
    this.clock = clock;
    this.timers = timers;
    this.limits = limits;
    this.coarseMs = clock.nowMs();
    this.onEndOfTurn = () => {
      this.scheduled = false;
      this.flush();
    };
  }

  /**
   * When the sockets that are read in this turn had something to read: the system tells of all of them at once, and reading one
   * after the other is part of the time that what they bring waits. One look at the clock for all.
   */
  get readMs(): number {
    if (this.turnMs === NOT_LOOKED) {
      this.turnMs = this.clock.nowMs();
      this.timers.endOfTurn(this.turnEnds);
    }
    return this.turnMs;
  }

  private readonly turnEnds = (): void => {
    this.turnMs = NOT_LOOKED;
  };

  /** The connection has something to write: now if `flush` is called, at the end of this turn otherwise. */
  markDirty(connection: Flushable): void {
    this.dirty.push(connection);
    if (!this.scheduled) {
      this.scheduled = true;
      this.timers.endOfTurn(this.onEndOfTurn);
    }
  }

  /** Writes what the connections have gathered, one write each. */
  flush(): void {
    if (this.dirty.length === 0) return;
    const connections = this.dirty;
    this.dirty = this.flushing;
    this.flushing = connections;
    for (let i = 0; i < connections.length; i++) (connections[i] as Flushable).flush();
    connections.length = 0;
  }
}
