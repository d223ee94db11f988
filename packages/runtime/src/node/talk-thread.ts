/** How a thread of `Workers.talk` begins: it gives way before it loads anything of ours, which takes longer than the rest. */
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** How nice such a thread is: a tenth of the processor where somebody else wants it. */
const NICENESS = 10;

/** On Linux threads have priorities of their own, under the number that ends the path of this one. */
function giveWay(): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    setPriority(thread, NICENESS);
  } catch {
    // Elsewhere it is as important as any other, or the process is nicer already.
  }
}

giveWay();
await import('./talk.ts');
