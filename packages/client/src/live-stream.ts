import type { EtcdError } from '@etsd/proto';
import type { StreamReceiver } from './link.ts';

/**
 * Stands between a stream and an owner that replaces it when it is lost: what it reports gets through from when the owner
 * has taken it into use until it is retired. A stream that ended before is told when it is taken.
 */
export class LiveStream<Response> implements StreamReceiver<Response> {
  private readonly owner: StreamReceiver<Response>;
  private isInUse = false;
  /** How it ended before it was in use; undefined if it did not. */
  private early: EtcdError | null | undefined;

  constructor(owner: StreamReceiver<Response>) {
    this.owner = owner;
  }

  /** Null, or how it has ended already. */
  use(): { error: EtcdError | null } | null {
    if (this.early !== undefined) return { error: this.early };
    this.isInUse = true;
    return null;
  }

  retire(): void {
    this.isInUse = false;
  }

  message(response: Response, bytes: number): void {
    if (this.isInUse) this.owner.message(response, bytes);
  }

  ended(error: EtcdError | null): void {
    if (this.isInUse) this.owner.ended(error);
    else this.early = error;
  }
}
