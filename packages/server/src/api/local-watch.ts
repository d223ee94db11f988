import { RingQueue } from '@etsd/base';
import type { EventSelection, Watcher, WatchHub, WatchRequest, WatchSink, WatchStream } from '@etsd/mvcc';
import { type Event, WatchResponse } from '@etsd/proto';

/** Events held for a reader inside of the member; beyond that the hub keeps no more of them than a revision. */
const HELD_EVENTS_MAX = 1000;

/** Changes as a part of this member reads them: one by one, in order, until closed or until they are compacted. */
export class LocalWatch implements WatchSink {
  private readonly stream: WatchStream;
  private readonly held = new RingQueue<Event>();
  private wake: (() => void) | null = null;
  private isOver = false;

  constructor(hub: WatchHub, request: Pick<WatchRequest, 'key' | 'rangeEnd' | 'startRevision' | 'noPuts'>) {
    this.stream = hub.open(this);
    const made = this.stream.create({
      ...request,
      watchId: 0,
      prevKv: false,
      noDeletes: false,
      fragment: false,
      progressNotify: false,
    });
    if (typeof made === 'string') this.isOver = true;
  }

  /** The next event; null when there will be no more. One reader at a time. */
  async next(): Promise<Event | null> {
    while (this.held.length === 0) {
      if (this.isOver) return null;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const event = this.held.take() as Event;
    if (this.held.length === 0) this.stream.drained();
    return event;
  }

  close(): void {
    this.stream.close();
    this.finish();
  }

  writable(): boolean {
    return this.held.length < HELD_EVENTS_MAX;
  }

  envelopeSize(): number {
    return 0;
  }

  events(_watcher: Watcher, _revision: number, selection: EventSelection, from: number, to: number): void {
    const bytes = Buffer.allocUnsafe(selection.size(from, to));
    selection.write(bytes, 0, from, to);
    // Events are written as a response to a watch holds them.
    for (const event of WatchResponse.decode(bytes).events) this.held.push(event);
    this.stir();
  }

  compacted(): void {
    this.finish();
  }

  progress(): void {}

  private finish(): void {
    this.isOver = true;
    this.stir();
  }

  private stir(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}
