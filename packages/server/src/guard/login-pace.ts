/**
 * How fast logins go through the log. Each is an entry that is synced and applied on every member; thousands at once, as
 * come after an election, must not stand between others' writes, nor take the event loop from them. While others write,
 * logins ride in their writes, a few in each, so that no write waits for a sync that only logins needed; else they go in
 * groups, a group now and then, all of it in one sync.
 *
 *     add ─▶ waiting ─┬─ others write: a few of them in each of their writes, 360 a second for each processor
 *                     └─ nobody writes: a group every eight milliseconds
 */
import { RingQueue } from '@etsd/base';
import type { ApiWorld, TimerHandle } from '../context.ts';

/** Logins of a group, of one ride, and of all that are under way … */
const GROUP = 16;
/** … and the time from one group to the next, in milliseconds: two thousand logins a second. */
const GROUP_EVERY_MS = 8;
/**
 * Logins a millisecond while others write, for each processor: some 22 times what bcrypt allows those who hash at every
 * login, and little enough that others hardly notice (measured: docs/security.md). What was not used is kept up to a group's
 * worth.
 */
const RIDERS_PER_MS_AND_PROCESSOR = 0.36;
/** However many processors there are, the event loop is one. */
const RIDERS_PER_MS_MAX = 1.8;
/** Nobody writes if there was no write for so long. */
const ALONE_MS = 20;

/** A login that may go through the log when its turn comes. */
export interface PacedLogin {
  /** Whether somebody still waits for it. */
  readonly isOpen: boolean;
  begin(): void;
}

export class LoginPace {
  private readonly world: ApiWorld;
  private readonly ridersPerMs: number;
  private readonly waiting = new RingQueue<PacedLogin>();
  private underWay = 0;
  /** When the last group began, or up to when riders are accounted for; and how many more may join the group. */
  private groupMs = Number.NEGATIVE_INFINITY;
  private groupLeft = 0;
  /** What will be written next is a group of ours. */
  private isOwnWrite = false;
  /** When somebody else wrote last. */
  private writtenMs = Number.NEGATIVE_INFINITY;
  private timer: TimerHandle | null = null;

  constructor(world: ApiWorld, processors: number) {
    this.world = world;
    this.ridersPerMs = Math.min(RIDERS_PER_MS_MAX, RIDERS_PER_MS_AND_PROCESSOR * processors);
  }

  /** Begins the login at once, or in its turn. Whoever began says `ended`. */
  add(login: PacedLogin): void {
    this.waiting.push(login);
    this.pump();
  }

  /** A login that began has its result. */
  ended(): void {
    this.underWay--;
    this.pump();
  }

  /** Somebody is about to write: logins that begin now cost no sync. */
  ride(): void {
    if (this.isOwnWrite) {
      this.isOwnWrite = false;
      return;
    }
    const nowMs = this.world.clock.nowMs();
    this.writtenMs = nowMs;
    if (this.waiting.length === 0) return;
    const owed = Math.min(GROUP, (nowMs - this.groupMs) * this.ridersPerMs);
    const begun = this.begin(Math.floor(owed));
    this.groupMs = nowMs - (owed - begun) / this.ridersPerMs;
  }

  private pump(): void {
    while (this.waiting.length > 0 && this.underWay < GROUP) {
      if (this.groupLeft === 0 && !this.nextGroup()) return;
      const begun = this.begin(this.groupLeft);
      this.groupLeft -= begun;
      if (begun > 0) this.isOwnWrite = true;
    }
  }

  /** Begins so many of those who still wait for theirs, and answers how many there were. */
  private begin(most: number): number {
    let begun = 0;
    while (begun < most && this.waiting.length > 0 && this.underWay < GROUP) {
      const login = this.waiting.take() as PacedLogin;
      if (!login.isOpen) continue;
      begun++;
      this.underWay++;
      login.begin();
    }
    return begun;
  }

  /** Whether it is time for another group; if not, sees to it that it will be looked again. */
  private nextGroup(): boolean {
    const dueMs = Math.max(this.groupMs + GROUP_EVERY_MS, this.writtenMs + ALONE_MS);
    const waitMs = dueMs - this.world.clock.nowMs();
    if (waitMs > 0) {
      this.timer ??= this.world.timers.after(Math.ceil(waitMs), () => {
        this.timer = null;
        this.pump();
      });
      return false;
    }
    this.groupMs = this.world.clock.nowMs();
    this.groupLeft = GROUP;
    return true;
  }
}
