/**
 * The threads on which V8 compiles and collects garbage beside the event loop stand behind it. Where a processor is free they
 * are as fast as ever. Where Linux has put one on the loop's processor it keeps it for two milliseconds and more, with
 * another one idle, and requests wait; a loop that goes first does not (measured: docs/security.md).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/**
 * Steps of nice behind the event loop. Each gives a tenth less, so that at 10 a helper beside a loop that never rests still
 * has a tenth of the processor: the loop waits for helpers at the end of a collection.
 */
const STEPS_BEHIND = 10;
/** The lowest priority there is (setpriority(2)). */
const NICE_MAX = 19;
/** As V8's platform in Node calls them. */
const HELPER = 'V8Worker';

/** Puts V8's threads of this process behind its event loop. Returns how many; 0 where the system has no such priorities. */
export function putHelpersBehind(): number {
  if (process.platform !== 'linux') return 0;
  const nice = Math.min(NICE_MAX, getPriority() + STEPS_BEHIND);
  let count = 0;
  try {
    for (const thread of readdirSync('/proc/self/task')) {
      if (!readFileSync(`/proc/self/task/${thread}/comm`, 'latin1').startsWith(HELPER)) continue;
      // Linux has priorities of threads: what POSIX calls a process here is one of them.
      setPriority(Number(thread), nice);
      count++;
    }
  } catch {
    // Where /proc is closed, or a jail forbids it, they run as they did before.
  }
  return count;
}
