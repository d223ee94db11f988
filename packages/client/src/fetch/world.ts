import type { Timer, TimerOptions } from '@etsd/runtime';
import type { ClientWorld } from '../link.ts';

/** Clock, timers and chance as every JavaScript runtime has them. */
export function webWorld(): ClientWorld {
  return {
    clock: { nowMs: () => performance.now(), wallMs: () => Date.now() },
    timers: {
      after: (ms, callback, options) => cancelable(setTimeout(callback, ms), clearTimeout, options),
      every: (ms, callback, options) => cancelable(setInterval(callback, ms), clearInterval, options),
      endOfTurn: (callback) => {
        setTimeout(callback, 0);
      },
      soon: (callback) => queueMicrotask(callback),
    },
    random: {
      u32: () => crypto.getRandomValues(new Uint32Array(1))[0] as number,
      float: () => (crypto.getRandomValues(new Uint32Array(1))[0] as number) / 2 ** 32,
      bytes: (length) => Buffer.from(crypto.getRandomValues(new Uint8Array(length))),
    },
  };
}

function cancelable<Handle>(handle: Handle, clear: (handle: Handle) => void, options?: TimerOptions): Timer {
  // Where timers keep a program alive, they are objects that can be told not to.
  if (options?.ref === false) (handle as { unref?: () => void }).unref?.();
  return { cancel: () => clear(handle) };
}
