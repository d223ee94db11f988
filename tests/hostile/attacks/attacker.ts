/** One attack in a process of its own, so that it takes nothing from those who measure. Told what to do by its parent. */
import { setPriority } from 'node:os';
import { ATTACKS } from './kinds.ts';
import type { Target } from './weapons.ts';

export interface Order {
  readonly attack: string;
  readonly target: Target;
  readonly size: number;
}

// The attacker's own work must not be what slows the member down.
setPriority(18);
let isOver = false;

process.on('message', (message: Order | 'stop') => {
  if (message === 'stop') {
    isOver = true;
    setTimeout(() => process.exit(0), 300);
    return;
  }
  const attack = ATTACKS.find(({ name }) => name === message.attack);
  if (attack === undefined) throw new Error(`no attack is called ${message.attack}`);
  void attack.run(message.target, () => isOver, message.size);
});
process.on('disconnect', () => process.exit(0));
