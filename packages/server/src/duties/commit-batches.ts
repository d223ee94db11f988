/** What the duty needs of the backend. */
export interface BatchedBackend {
  readonly pendingOperations: number;
  readonly isOutOfSpace: boolean;
  commit(done?: (error: Error | null) => void): void;
}

export interface CommitSchedule {
  readonly every: (ms: number, callback: () => void) => { cancel(): void };
  /** Flag `backend-batch-interval`. */
  readonly intervalMs: number;
  /** Flag `backend-batch-limit`. */
  readonly limit: number;
}

/**
 * Hands the backend's open batch to the engine at intervals, or as soon as it is full. Nothing waits for it: the log has
 * made every write durable already, so this is about bounded memory and a short replay at the next start.
 */
export class CommitBatches {
  private readonly backend: BatchedBackend;
  private readonly limit: number;
  private readonly timer: { cancel(): void };

  constructor(backend: BatchedBackend, schedule: CommitSchedule) {
    this.backend = backend;
    this.limit = schedule.limit;
    this.timer = schedule.every(schedule.intervalMs, () => {
      // While nothing can be written, many small batches would only be slower to look through.
      if (backend.pendingOperations > 0 && !backend.isOutOfSpace) backend.commit();
    });
  }

  /** To be called when a batch of entries has been applied. */
  applied(): void {
    if (this.backend.pendingOperations >= this.limit) this.backend.commit();
  }

  stop(): void {
    this.timer.cancel();
  }
}
