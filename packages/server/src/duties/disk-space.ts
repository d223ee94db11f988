import type { Logger } from '@etsd/base';
import { DISK_RESERVE_BYTES } from '../limits.ts';

/** How often the free space is looked at, in milliseconds. */
const LOOK_INTERVAL_MS = 2000;
/** While space is short, it is said again this often, in milliseconds. */
const REMIND_MS = 60_000;

/** A directory whose disk may become full. */
export interface DiskPlace {
  /** What rests there, for messages. */
  readonly holds: string;
  readonly path: string;
}

/** What must be free before writes are let in again, above what was needed: so that it does not go to and fro. */
const MARGIN_BYTES = 8 * 1024 * 1024;

/** What the duty needs of the parts. */
export interface DiskSpaceParts {
  readonly places: readonly DiskPlace[];
  readonly freeBytes: (path: string) => Promise<number>;
  readonly nowMs: () => number;
  readonly every: (ms: number, callback: () => void) => { cancel(): void };
  readonly logger: Logger;
  /** The store: what it has not written yet, whether for want of space, and how to make it try again. */
  readonly backend: { readonly pendingBytes: number; readonly isOutOfSpace: boolean; retry(): void };
  /** Whether this member's NOSPACE alarm stands. */
  readonly isRaised: () => boolean;
  /** Raises it through the log; `done` when it stands or could not be raised. */
  readonly raise: (done: () => void) => void;
}

/**
 * Sees a full disk coming. While there still is room to log it, the NOSPACE alarm is raised, which stops what adds data;
 * reading, deleting and compacting go on. What the store had no room for is written once there is some; then `SpaceWatch`
 * clears the alarm.
 */
export class DiskSpace {
  /** Space is short: nothing that adds data should go into the log. */
  isLow = false;
  private readonly parts: DiskSpaceParts;
  private timer: { cancel(): void } | null = null;
  private isLooking = false;
  private mustLookAgain = false;
  private isRaising = false;
  private remindAtMs = 0;

  constructor(parts: DiskSpaceParts) {
    this.parts = parts;
  }

  start(): void {
    this.timer = this.parts.every(LOOK_INTERVAL_MS, this.look);
    this.look();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** Somebody was refused space: nothing may be added from this moment on, whatever a look shows later. */
  refused(): void {
    this.isLow = true;
    this.look();
  }

  private readonly look = (): void => {
    if (this.timer === null) return;
    this.mustLookAgain = this.isLooking;
    if (this.isLooking) return;
    this.isLooking = true;
    Promise.all(this.parts.places.map(({ path }) => this.parts.freeBytes(path))).then(
      (free) => this.seen(free),
      (error: unknown) => {
        this.parts.logger.log('warn', 'failed to read the free space of the disk', { error: String(error) });
        this.looked();
      },
    );
  };

  private seen(free: readonly number[]): void {
    const { backend, places } = this.parts;
    const margin = this.isLow ? MARGIN_BYTES : 0;
    const needed = DISK_RESERVE_BYTES + 2 * backend.pendingBytes + margin;
    const short = free.findIndex((bytes) => bytes < needed);
    const place = places[short];
    if (this.timer === null) return;
    // A refusal since this look began knows better than what it saw.
    if (place === undefined && !this.mustLookAgain) this.enough();
    else if (place !== undefined) this.tooLittle(place, free[short] as number, needed);
    this.looked();
  }

  private looked(): void {
    this.isLooking = false;
    if (this.mustLookAgain) this.look();
  }

  private enough(): void {
    const { backend, logger } = this.parts;
    if (this.isLow) {
      logger.log('info', 'there is enough free disk space again');
    }
    this.isLow = false;
    this.remindAtMs = 0;
    if (backend.isOutOfSpace) backend.retry();
  }

  private tooLittle(place: DiskPlace, free: number, needed: number): void {
    const { isRaised, logger, nowMs, raise } = this.parts;
    this.isLow = true;
    if (nowMs() >= this.remindAtMs) {
      this.remindAtMs = nowMs() + REMIND_MS;
      logger.log('warn', 'disk space is running out; nothing more is added until some is free', {
        holds: place.holds,
        path: place.path,
        'free-bytes': free,
        'needed-bytes': needed,
        advice: 'Free space on this disk or enlarge it; the member goes on by itself then.',
      });
    }
    if (this.isRaising || isRaised()) return;
    this.isRaising = true;
    raise(() => {
      this.isRaising = false;
    });
  }
}
