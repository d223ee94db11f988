/** What runs in a thread of `Workers.talk`, once it gives way (`talk-thread.ts`). */
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { RingQueue } from '@etsd/base';
import type { ThreadParts } from '../workers.ts';
import { NodeClock } from './clock.ts';
import { NodeDisk } from './disk.ts';
import { NodeTimers } from './timers.ts';

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
const thread = new Thread();
parentPort?.on('message', (message: unknown) => thread.take(message));
const module = (await import(moduleUrl)) as Record<string, unknown>;
// It may be ended at any time, and would not save what it compiled.
flushCompileCache();
const target = module[exportName];
if (typeof target !== 'function') throw new TypeError(`${moduleUrl} exports no function ${exportName}`);
await target(thread, ...args);
parentPort?.close();
