import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { RingQueue } from '@etsd/base';
import type { Talk, TalkListener, Workers } from '../workers.ts';

/** At most this many threads; more work waits its turn. They only ever do what may take long. */
const THREADS_MAX = 2;

/** From source this file is TypeScript, in a published package JavaScript. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/**
 * A thread does not share the cache of compiled code which its program has turned on, unless its environment names one: what
 * it imports would be compiled anew each time, a quarter of a second of processor beside those who are served.
 */
function startThread(file: string, options: WorkerOptions = {}): Worker {
  const cache = getCompileCacheDir();
  // Its name is that of a version of Node, in the directory that was asked for.
  const env = cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(cache) };
  return new Worker(new URL(`./${file}.${EXTENSION}`, import.meta.url), { ...options, env });
}

class Job {
  readonly moduleUrl: string;
  readonly exportName: string;
  readonly args: readonly unknown[];
  readonly transfer: readonly ArrayBuffer[];
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;

  constructor(
    call: { moduleUrl: string; exportName: string; args: readonly unknown[]; transfer: readonly ArrayBuffer[] },
    resolve: (result: unknown) => void,
    reject: (error: Error) => void,
  ) {
    this.moduleUrl = call.moduleUrl;
    this.exportName = call.exportName;
    this.args = call.args;
    this.transfer = call.transfer;
    this.resolve = resolve;
    this.reject = reject;
  }
}

interface Answer {
  readonly result: unknown;
  readonly error: Error | null;
}

/** One thread with one job at a time. While it has none it does not keep the process alive. */
class Thread {
  private readonly worker: Worker;
  private readonly pool: NodeWorkers;
  private job: Job | null = null;

  constructor(pool: NodeWorkers) {
    this.pool = pool;
    this.worker = startThread('worker-thread');
    this.worker.unref();
    this.worker.on('message', (answer: Answer) => this.finish(answer.error, answer.result));
    this.worker.on('error', (error: Error) => this.die(error));
    this.worker.on('exit', () => this.die(new Error('the worker thread has ended')));
  }

  get isIdle(): boolean {
    return this.job === null;
  }

  start(job: Job): void {
    this.job = job;
    this.worker.ref();
    const { moduleUrl, exportName, args } = job;
    try {
      this.worker.postMessage({ moduleUrl, exportName, args }, [...job.transfer]);
    } catch (error) {
      this.finish(error as Error, undefined);
    }
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }

  private finish(error: Error | null, result: unknown): void {
    const job = this.job;
    this.job = null;
    this.worker.unref();
    if (job === null) return;
    if (error === null) job.resolve(result);
    else job.reject(error);
    this.pool.next();
  }

  private die(error: Error): void {
    this.pool.forget(this);
    this.finish(error, undefined);
  }
}

/** One thread that somebody talks to. */
class TalkingThread implements Talk {
  private readonly worker: Worker;
  private readonly gone: () => void;
  private isOver = false;

  constructor(workerData: unknown, listener: TalkListener, gone: (thread: TalkingThread) => void) {
    this.worker = startThread('talk-thread', { workerData });
    this.worker.unref();
    this.gone = () => gone(this);
    const ended = (error: Error | null): void => {
      if (this.isOver) return;
      this.isOver = true;
      this.gone();
      listener.ended(error);
    };
    this.worker.on('message', (message: unknown) => {
      if (!this.isOver) listener.heard(message);
    });
    this.worker.on('error', ended);
    this.worker.on('exit', () => ended(null));
  }

  say(message: unknown): void {
    this.worker.postMessage(message);
  }

  async close(): Promise<void> {
    this.isOver = true;
    this.gone();
    await this.worker.terminate();
  }
}

export class NodeWorkers implements Workers {
  readonly processors = availableParallelism();
  private threads: Thread[] = [];
  private readonly talks = new Set<TalkingThread>();
  private readonly waiting = new RingQueue<Job>();
  private isClosed = false;

  run(
    moduleUrl: string,
    exportName: string,
    args: readonly unknown[],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<unknown> {
    if (this.isClosed) return Promise.reject(new Error('the workers are closed'));
    return new Promise((resolve, reject) => {
      this.waiting.push(new Job({ moduleUrl, exportName, args, transfer }, resolve, reject));
      this.next();
    });
  }

  talk(moduleUrl: string, exportName: string, args: readonly unknown[], listener: TalkListener): Talk {
    const thread = new TalkingThread({ moduleUrl, exportName, args }, listener, (gone) => this.talks.delete(gone));
    this.talks.add(thread);
    return thread;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    for (let job = this.waiting.take(); job !== undefined; job = this.waiting.take()) {
      job.reject(new Error('the workers are closed'));
    }
    await Promise.all([...this.threads.map((thread) => thread.end()), ...[...this.talks].map((talk) => talk.close())]);
  }

  /** Gives waiting jobs to idle threads. */
  next(): void {
    while (this.waiting.length > 0) {
      let thread = this.threads.find((candidate) => candidate.isIdle);
      if (thread === undefined) {
        if (this.threads.length >= THREADS_MAX) return;
        thread = new Thread(this);
        this.threads.push(thread);
      }
      thread.start(this.waiting.take() as Job);
    }
  }

  forget(thread: Thread): void {
    this.threads = this.threads.filter((candidate) => candidate !== thread);
  }
}
