/**
 * Trip wires: while a simulation runs, whatever would bring in real time or real chance throws, so that code which goes
 * round `World` is found by the first simulation that reaches it.
 */
import { AssertionError } from '@etsd/base';

type Place = Record<string, unknown>;

const WIRES: readonly (readonly [place: Place, name: string, instead: string])[] = [
  [Date as unknown as Place, 'now', 'world.clock.wallMs()'],
  [performance as unknown as Place, 'now', 'world.clock.nowMs()'],
  [Math as unknown as Place, 'random', 'world.random'],
  [globalThis as Place, 'setTimeout', 'world.timers.after()'],
  [globalThis as Place, 'setInterval', 'world.timers.every()'],
  [globalThis as Place, 'setImmediate', 'world.timers.endOfTurn()'],
  [crypto as unknown as Place, 'randomUUID', 'world.random'],
  [crypto as unknown as Place, 'getRandomValues', 'world.random'],
  [globalThis as Place, 'WeakRef', 'something that does not depend on the garbage collector'],
  [globalThis as Place, 'FinalizationRegistry', 'something that does not depend on the garbage collector'],
];

export class Tripwires {
  private saved: PropertyDescriptor[] | null = null;

  arm(): void {
    if (this.saved !== null) return;
    this.saved = WIRES.map(([place, name]) => Object.getOwnPropertyDescriptor(place, name) ?? ABSENT);
    for (const [place, name, instead] of WIRES) {
      Object.defineProperty(place, name, {
        configurable: true,
        enumerable: false,
        writable: true,
        value: function trip(): never {
          throw new AssertionError(`${name} in a simulation; use ${instead}`);
        },
      });
    }
  }

  disarm(): void {
    const saved = this.saved;
    if (saved === null) return;
    this.saved = null;
    WIRES.forEach(([place, name], index) => {
      const before = saved[index] as PropertyDescriptor;
      // What was inherited from a prototype shows again once our own property is gone.
      if (before === ABSENT) delete place[name];
      else Object.defineProperty(place, name, before);
    });
  }
}

const ABSENT: PropertyDescriptor = {};
