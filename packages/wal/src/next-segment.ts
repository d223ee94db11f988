import { hasCode, joinPath, type LockedFiles, type World } from '@etsd/runtime';
import { FULL_RETRY_MS } from './limits.ts';
import type { Room } from './room.ts';
import { type FillOptions, type PreparedSegment, prepareTail, type TailSegment } from './segment.ts';

interface NextSegmentParts {
  readonly world: World;
  readonly files: LockedFiles;
  readonly directory: string;
  readonly durable: boolean;
  readonly fill: FillOptions;
  readonly room: Room;
}

/** The segment behind the last one, made ready ahead of its turn and in step with the filling of the one before. */
export class NextSegment {
  private readonly parts: NextSegmentParts;
  private prepared: Promise<PreparedSegment> | null = null;
  /** The same once it is there. */
  private ready: PreparedSegment | null = null;
  /** When there was no room last. */
  private fullMs = Number.NEGATIVE_INFINITY;

  constructor(parts: NextSegmentParts) {
    this.parts = parts;
  }

  /** The last segment is used up to `end`. The next is begun at a quarter, done at three quarters; an idle log makes none. */
  keepUp(last: TailSegment, end: number): void {
    const { world, fill } = this.parts;
    const nowMs = world.clock.nowMs();
    if (nowMs - this.fullMs < FULL_RETRY_MS) return;
    if (last.filler.isResting || this.ready?.tail.filler.isResting === true) {
      this.fullMs = nowMs;
      last.filler.resume();
      this.ready?.tail.filler.resume();
    }
    const beyond = end - fill.segmentBytes / 4;
    if (beyond <= 0) return;
    if (this.prepared === null) void this.prepare(last);
    else if (this.ready !== null && fill.aheadBytes > 0) this.ready.tail.filler.fillTo(2 * beyond);
  }

  /**
   * The segment, its first `length` bytes claimed for records. One that could not be synced while it was filled is made
   * anew: the records would be durable in it, but not its length, which tells a whole file from one that somebody cut.
   */
  async take(last: TailSegment, length: number): Promise<PreparedSegment> {
    for (;;) {
      const next = await this.parts.room.insist(() => this.prepared ?? this.prepare(last));
      const { filler } = next.tail;
      await new Promise<void>((resolve) => filler.claim(length, resolve));
      if (!filler.hasFailed) return next;
      await this.drop();
    }
  }

  /** What was taken has become the last segment. */
  used(): void {
    this.prepared = null;
    this.ready = null;
  }

  async drop(): Promise<void> {
    const prepared = await this.prepared?.catch(() => null);
    if (prepared === undefined || prepared === null) return;
    this.used();
    await prepared.tail.close();
    await this.parts.files.remove(prepared.path, prepared.lock);
  }

  private prepare(last: TailSegment): Promise<PreparedSegment> {
    const { world, files, directory, fill } = this.parts;
    const prepared = prepareTail(world.disk, files, temporaryPath(directory, last.segment.sequence + 1), this.parts);
    this.prepared = prepared;
    // Whoever needs it awaits the promise itself and learns of an error there.
    void prepared.then(
      (ready) => {
        this.ready = ready;
      },
      (error: unknown) => {
        if (!hasCode(error, 'ENOSPC')) return;
        // Who awaits it already fails; nobody else need.
        this.prepared = null;
        this.fullMs = world.clock.nowMs();
        fill.outOfSpace();
      },
    );
    return prepared;
  }
}

/** Where the segment with this sequence number is made ready. Two names, since the next but one may be begun early. */
export function temporaryPath(directory: string, sequence: number): string {
  return joinPath(directory, `${sequence % 2}.tmp`);
}
