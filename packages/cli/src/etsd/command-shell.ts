/** Runs lines of the shell for a member, in a program that is started once, while the process is small. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import type { CommandResult, CommandRunner } from '@etsd/server';

/**
 * Reads a line, runs it in a shell of its own and prints its status behind a word that nothing else prints. Starting a
 * program from a large process holds that process up for as long as its page tables take to copy; this one stays small.
 */
const LOOP = 'while IFS= read -r line; do /bin/sh -c "$line" </dev/null 2>&1; printf "\\n%s %s\\n" "$0" "$?"; done';
const OUTPUT_MAX = 2000;

interface Waiting {
  readonly done: (result: CommandResult) => void;
  readonly timer: NodeJS.Timeout;
}

export class CommandShell implements CommandRunner {
  private child: ChildProcess;
  private output = '';
  private readonly mark = randomUUID();
  private waiting: Waiting | null = null;
  private isClosed = false;

  constructor() {
    this.child = this.start();
  }

  private start(): ChildProcess {
    // In a group of its own, so that what a line has started can be ended with it.
    const child = spawn('/bin/sh', ['-c', LOOP, this.mark], { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
    child.unref();
    for (const stream of [child.stdin, child.stdout] as unknown as { unref?: () => void }[]) {
      stream.unref?.();
    }
    (child.stdin as Writable).on('error', () => {});
    (child.stdout as Readable).setEncoding('utf8').on('data', (text: string) => this.answered(child, text));
    const gone = (): void => {
      if (child === this.child) this.finish(-1);
    };
    child.on('exit', gone);
    child.on('error', gone);
    return child;
  }

  run(line: string, timeoutMs: number): Promise<CommandResult> {
    if (this.isClosed || this.waiting !== null) return Promise.resolve({ status: -1, output: 'nothing is run now' });
    if (this.child.exitCode !== null || this.child.signalCode !== null) this.child = this.start();
    this.output = '';
    return new Promise((done) => {
      const timer = setTimeout(() => this.abandon('it took too long'), timeoutMs).unref();
      this.waiting = { done, timer };
      this.child.stdin?.write(`${line}\n`);
    });
  }

  private answered(child: ChildProcess, text: string): void {
    if (child !== this.child) return;
    this.output = (this.output + text).slice(-OUTPUT_MAX);
    const at = this.output.lastIndexOf(`\n${this.mark} `);
    if (at < 0 || !this.output.endsWith('\n')) return;
    const status = Number(this.output.slice(at + this.mark.length + 2).trim());
    this.output = this.output.slice(0, at);
    this.finish(status);
  }

  private finish(status: number): void {
    const { waiting } = this;
    if (waiting === null) return;
    this.waiting = null;
    clearTimeout(waiting.timer);
    waiting.done({ status: Number.isInteger(status) ? status : -1, output: this.output.trim() });
  }

  private abandon(why: string): void {
    this.end();
    // That one still has to end: the next line goes to another.
    this.child = this.start();
    this.output = why;
    this.finish(-1);
  }

  close(): void {
    this.isClosed = true;
    this.end();
    this.finish(-1);
  }

  private end(): void {
    const { pid } = this.child;
    if (pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch (error) {
      // It ended in this moment.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
