/** What the duty needs of the parts. */
export interface DurableParts {
  /** Puts everything applied so far on disk; resolves once it survives a crash of the machine. */
  readonly flush: () => Promise<void>;
  readonly appliedIndex: () => number;
  /** How far the disk may lag behind before it is brought up: the distance at which the log wants to be cut. */
  readonly lagMax: number;
  readonly failed: (error: unknown) => void;
}

/**
 * Knows up to which entry the store on disk contains the log, so that the log can be cut there and no further. The store
 * is synced only when somebody asks and it lags: writes do not need it, since the log makes them durable.
 */
export class DurableIndex {
  private readonly parts: DurableParts;
  private durable: number;
  private flushing = false;

  constructor(parts: DurableParts) {
    this.parts = parts;
    this.durable = 0;
  }

  /** The index; asking may start bringing the disk up, so that a later answer is higher. */
  read(): number {
    const applied = this.parts.appliedIndex();
    if (!this.flushing && applied - this.durable >= this.parts.lagMax) {
      this.flushing = true;
      this.parts.flush().then(
        () => {
          this.flushing = false;
          this.durable = applied;
        },
        (error: unknown) => this.parts.failed(error),
      );
    }
    return this.durable;
  }
}
