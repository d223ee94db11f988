/** One attack in a process of its own, so that it takes nothing from those who measure. Told what to do by its parent. */
import { ATTACKS } from './kinds.ts';
import { type Shots, shotsFired, type Target } from './weapons.ts';

/** What is said to the parent: that the attack begins, and at its end how much it was. */
export type Word = 'begins' | { readonly shots: Shots; readonly seconds: number };

export interface Order {
  readonly attack: string;
  readonly target: Target;
  readonly size: number;
}

let isOver = false;
let startedMs = 0;

process.on('message', (message: Order | 'stop') => {
  if (message === 'stop') {
    isOver = true;
    const seconds = (performance.now() - startedMs) / 1000;
    process.send?.({ shots: shotsFired(), seconds } satisfies Word);
    setTimeout(() => process.exit(0), 300);
    return;
  }
  const attack = ATTACKS.find(({ name }) => name === message.attack);
  if (attack === undefined) throw new Error(`no attack is called ${message.attack}`);
  startedMs = performance.now();
  process.send?.('begins' satisfies Word);
  void attack.run(message.target, () => isOver, message.size);
});
process.on('disconnect', () => process.exit(0));
