import { assert } from '@etsd/base';
import type { Clock, Timer, Timers } from '@etsd/runtime';

/** Something with a deadline; it carries its own links, so that setting and clearing a deadline allocates nothing. */
export interface Expiring {
  wheelNext: Expiring | null;
  wheelPrevious: Expiring | null;
  /** The tick it expires at. */
  wheelTick: number;
  /** The deadline has passed; it is out of the wheel already. */
  expired(): void;
}

/** Deadlines are met to within one tick, never early. */
const TICK_MS = 10;
const SLOTS = 512;

/** The head of one slot's list. */
class Slot implements Expiring {
  wheelNext: Expiring = this;
  wheelPrevious: Expiring = this;
  wheelTick = 0;
  expired(): void {}
}

/**
 * Deadlines of all calls on one timer: a hashed wheel. Adding and removing are a few assignments; the timer runs only
 * while something is in the wheel, and sleeps until the first tick that something may expire at.
 */
export class DeadlineWheel {
  private readonly clock: Clock;
  private readonly timers: Timers;
  /** Made when something first comes into them: most wheels are of clients with a few calls. */
  private readonly slots: (Slot | null)[] = new Array<Slot | null>(SLOTS).fill(null);
  private timer: Timer | null = null;
  /** Where there is a timer: the tick it is set for. What was removed since may have been all there was to wait for. */
  private timerTick = 0;
  /** All ticks up to this one have been looked at. */
  private tick = 0;
  private count = 0;
  private readonly onTimer: () => void;

  constructor(clock: Clock, timers: Timers) {
    this.clock = clock;
    this.timers = timers;
    this.onTimer = () => this.turn();
  }

  add(node: Expiring, inMs: number): void {
    assert(node.wheelNext === null, 'a deadline is set once');
    const nowTick = Math.floor(this.clock.nowMs() / TICK_MS);
    if (this.count === 0) this.tick = nowTick;
    node.wheelTick = nowTick + 1 + Math.ceil(Math.min(inMs, 1e12) / TICK_MS);
    const place = node.wheelTick % SLOTS;
    let head = this.slots[place] as Slot | null;
    if (head === null) {
      head = new Slot();
      this.slots[place] = head;
    }
    const last = head.wheelPrevious;
    last.wheelNext = node;
    node.wheelPrevious = last;
    node.wheelNext = head;
    head.wheelPrevious = node;
    this.count++;
    if (this.timer === null || node.wheelTick < this.timerTick) this.sleepUntil(node.wheelTick);
  }

  /** Takes it out; nothing happens where it is not in. */
  remove(node: Expiring): void {
    if (node.wheelNext === null) return;
    (node.wheelPrevious as Expiring).wheelNext = node.wheelNext;
    node.wheelNext.wheelPrevious = node.wheelPrevious;
    node.wheelNext = null;
    node.wheelPrevious = null;
    this.count--;
  }

  private turn(): void {
    this.timer = null;
    const nowTick = Math.floor(this.clock.nowMs() / TICK_MS);
    const from = Math.max(this.tick + 1, nowTick - SLOTS + 1);
    this.tick = nowTick;
    for (let tick = from; tick <= nowTick; tick++) {
      const head = this.slots[tick % SLOTS] as Slot | null;
      if (head !== null && head.wheelNext !== head) this.expireSlot(head, nowTick);
    }
    if (this.count === 0) return;
    const next = this.nextTick();
    // Whoever expired may have set another deadline, not the nearest.
    if (this.timer === null || next < this.timerTick) this.sleepUntil(next);
  }

  /** The first tick whose slot holds something: it may be due only a turn of the wheel later. */
  private nextTick(): number {
    const last = this.tick + SLOTS;
    for (let tick = this.tick + 1; tick < last; tick++) {
      const head = this.slots[tick % SLOTS] as Slot | null;
      if (head !== null && head.wheelNext !== head) return tick;
    }
    return last;
  }

  private sleepUntil(tick: number): void {
    // No further than the wheel goes round: beyond that the ticks that were slept through could not be told apart.
    this.timerTick = Math.min(tick, this.tick + SLOTS - 1);
    this.timer?.cancel();
    const ms = this.timerTick * TICK_MS - this.clock.nowMs();
    this.timer = this.timers.after(Math.max(1, ms), this.onTimer, { ref: false });
  }

  private expireSlot(head: Slot, nowTick: number): void {
    const due: Expiring[] = [];
    for (let node = head.wheelNext; node !== head; node = node.wheelNext as Expiring) {
      if (node.wheelTick <= nowTick) due.push(node);
    }
    for (const node of due) {
      if (node.wheelNext === null) continue; // an earlier one's end took it out
      this.remove(node);
      node.expired();
    }
  }
}
