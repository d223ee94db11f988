/** What runs in a thread of `Workers.talk`. */
import { readlinkSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { RingQueue } from '@etsd/base';
import type { ThreadParts } from '../workers.ts';
import { NodeClock } from './clock.ts';
import { NodeDisk } from './disk.ts';
import { NodeTimers } from './timers.ts';

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

class Thread implements ThreadParts {
  readonly clock = new NodeClock();
  readonly timers = new NodeTimers();
  readonly disk = new NodeDisk();
  private readonly heard = new RingQueue<unknown>();
  private waiting: ((message: unknown) => void) | null = null;

  take(message: unknown): void {
    const { waiting } = this;
    this.waiting = null;
    if (waiting !== null) waiting(message);
    else this.heard.push(message);
  }

  say(message: unknown): void {
    parentPort?.postMessage(message);
  }

  hear(): Promise<unknown> {
    if (this.heard.length > 0) return Promise.resolve(this.heard.take());
    return new Promise((resolve) => {
      this.waiting = resolve;
    });
  }
}

const { moduleUrl, exportName, args } = workerData as { moduleUrl: string; exportName: string; args: unknown[] };
giveWay();
const thread = new Thread();
parentPort?.on('message', (message: unknown) => thread.take(message));
const module = (await import(moduleUrl)) as Record<string, unknown>;
// It may be ended at any time, and would not save what it compiled.
flushCompileCache();
const target = module[exportName];
if (typeof target !== 'function') throw new TypeError(`${moduleUrl} exports no function ${exportName}`);
await target(thread, ...args);
parentPort?.close();
