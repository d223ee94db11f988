/**
 * How fast logins go through the log. Each is an entry that is synced and applied on every member; thousands at once, as
 * come after an election, must not stand between others' writes, nor take the event loop from them. So they go in groups,
 * a group now and then, all of it in one sync.
 */
import { RingQueue } from '@etsd/base';
import type { ApiWorld, TimerHandle } from '../context.ts';

/** Logins of a group, and of all that are under way … */
const GROUP = 16;
/** … and the time from one group to the next, in milliseconds: two thousand logins a second. */
const GROUP_EVERY_MS = 8;

/** A login that may go through the log when its turn comes. */
export interface PacedLogin {
  /** Whether somebody still waits for it. */
  readonly isOpen: boolean;
  begin(): void;
}

export class LoginPace {
  private readonly world: ApiWorld;
  private readonly waiting = new RingQueue<PacedLogin>();
  private underWay = 0;
  /** When the last group began, and how many more may join it. */
  private groupMs = Number.NEGATIVE_INFINITY;
  private groupLeft = 0;
  private timer: TimerHandle | null = null;

  constructor(world: ApiWorld) {
    this.world = world;
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

  private pump(): void {
    while (this.waiting.length > 0 && this.underWay < GROUP) {
      if (this.groupLeft === 0 && !this.nextGroup()) return;
      const login = this.waiting.take() as PacedLogin;
      if (!login.isOpen) continue;
      this.groupLeft--;
      this.underWay++;
      login.begin();
    }
  }

  /** Whether it is time for another group; if not, sees to it that it will be looked again. */
  private nextGroup(): boolean {
    const waitMs = this.groupMs + GROUP_EVERY_MS - this.world.clock.nowMs();
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
