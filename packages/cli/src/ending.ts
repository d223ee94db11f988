/**
 * How these programs end. `process.exit` joins the threads in which V8 compiles, and where one of those waits for a
 * collection of garbage, which only this thread could make, neither ever goes on (nodejs/node#64274): one in some
 * thousand runs hangs for good after its work is done.
 */
import { existsSync } from 'node:fs';

/** For what still holds the event loop: a connection that is being closed, a timer somebody forgot. */
const LINGER_MS = 250;
const SHELL = '/bin/sh';

/** Ends the process at once. Without `process.exit` where the system can put a shell in its place that only exits. */
export function endNow(status: number): never {
  if (process.execve !== undefined && process.platform !== 'win32' && existsSync(SHELL)) {
    try {
      process.execve(SHELL, [SHELL, '-c', `exit ${status}`], {});
    } catch {
      // The shell may not be run; the other way is right nearly always.
    }
  }
  process.exit(status);
}

/**
 * Ends the process once its event loop is empty, and soon in any case. Then Node.js takes down what it has built in order,
 * which wakes the threads that wait.
 */
export function endWhenIdle(status: number): void {
  process.exitCode = status;
  setTimeout(() => endNow(status), LINGER_MS).unref();
}
