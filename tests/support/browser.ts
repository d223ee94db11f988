/**
 * A real browser, driven without a library: Chromium speaks its DevTools protocol over two pipes, one JSON message after
 * the other, each ended by a zero byte.
 *
 *     await using browser = await Browser.start();
 *     const page = await browser.open('http://127.0.0.1:8080/');
 *     await page.evaluate('document.title');
 *
 * A page's failures (uncaught errors, the console's errors, what it could not load) end up in `page.complaints`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { findProgram } from '@etsd/testkit';
import { eventually, within } from './conditions.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
/** A browser takes its time to start, on a busy machine above all. */
const START_MS = 120_000;
const CALL_MS = 120_000;
const CLOSE_MS = 20_000;

const FLAGS = [
  '--headless=new',
  '--remote-debugging-pipe',
  '--no-first-run',
  '--disable-gpu',
  '--disable-extensions',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Shared memory is scarce in containers.
  '--disable-dev-shm-usage',
];

/** For `skip:` of a test that needs a browser: false when there is one, else the reason to print. */
export function needsBrowser(): string | false {
  return findBrowser() === null && `no ${NAMES.join(', ')} in PATH`;
}

function findBrowser(): string | null {
  return NAMES.map(findProgram).find((path) => path !== null) ?? null;
}

type Params = Record<string, unknown>;
interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}
interface Call {
  readonly method: string;
  readonly resolve: (result: Params) => void;
  readonly reject: (error: Error) => void;
}

export class Browser implements AsyncDisposable {
  private readonly child: ChildProcess;
  private readonly profile: string;
  private readonly input: Writable;
  private readonly calls = new Map<number, Call>();
  private readonly pages = new Map<string, Page>();
  private readonly ended: Promise<void>;
  private received: Buffer[] = [];
  private complaint = '';
  private lastId = 0;

  /** Starts it without a window. Its profile is a fresh one. */
  static async start(): Promise<Browser> {
    const program = findBrowser();
    if (program === null) throw new Error(needsBrowser() as string);
    const browser = new Browser(program);
    try {
      await within(START_MS, 'the browser answers', browser.send('Browser.getVersion'));
      return browser;
    } catch (error) {
      await browser.close();
      throw error;
    }
  }

  private constructor(program: string) {
    this.profile = mkdtempSync(join(tmpdir(), 'etsd-browser-'));
    // Its sandbox is not made for root; what it opens here are our own pages.
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    this.child = spawn(program, [...FLAGS, ...sandbox, `--user-data-dir=${this.profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
      // A group of its own: the browser is several processes.
      detached: true,
    });
    process.on('exit', this.kill);
    this.input = this.child.stdio[3] as Writable;
    // A browser that is gone fails the calls that wait, not the pipe.
    this.input.on('error', () => {});
    (this.child.stdio[4] as Readable).on('data', (chunk: Buffer) => this.read(chunk));
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.complaint = (this.complaint + chunk.toString()).slice(-4000);
    });
    this.ended = new Promise((resolve) => {
      const over = (): void => {
        const error = new Error(`the browser ended\n${this.complaint}`);
        for (const call of this.calls.values()) call.reject(error);
        this.calls.clear();
        resolve();
      };
      this.child.on('error', over);
      this.child.on('exit', over);
    });
  }

  /** A new page that has loaded this address. */
  async open(url: string): Promise<Page> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, targetId as string, sessionId as string);
    this.pages.set(page.sessionId, page);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    await page.go(url);
    return page;
  }

  /** A command of the protocol, to the browser or to a page's session. */
  send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    const id = ++this.lastId;
    const answer = new Promise<Params>((resolve, reject) => this.calls.set(id, { method, resolve, reject }));
    if (this.child.exitCode !== null) return Promise.reject(new Error(`the browser ended\n${this.complaint}`));
    this.input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return within(CALL_MS, method, answer);
  }

  forget(page: Page): void {
    this.pages.delete(page.sessionId);
  }

  private read(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
      const message = JSON.parse(Buffer.concat([...this.received, rest.subarray(0, end)]).toString()) as Message;
      this.received = [];
      rest = rest.subarray(end + 1);
      this.take(message);
    }
    if (rest.length > 0) this.received.push(rest);
  }

  private take({ id, sessionId, method, params, result, error }: Message): void {
    if (id === undefined) {
      this.pages.get(sessionId ?? '')?.happened(method ?? '', params ?? {});
      return;
    }
    const call = this.calls.get(id);
    this.calls.delete(id);
    if (error !== undefined) call?.reject(new Error(`${call.method}: ${error.message}`));
    else call?.resolve(result ?? {});
  }

  private readonly kill = (): void => {
    try {
      if (this.child.pid !== undefined) process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };

  async close(): Promise<void> {
    if (this.child.exitCode === null && this.child.pid !== undefined) {
      this.send('Browser.close').catch(() => {});
      await within(CLOSE_MS, 'the browser ends', this.ended).catch(() => {});
    }
    this.kill();
    process.off('exit', this.kill);
    // Its helpers may write to the profile until they are gone.
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What a page logged, by the name of the console's method. */
export interface Logged {
  readonly kind: string;
  readonly text: string;
}

export class Page {
  /** The session that the browser knows it by. */
  readonly sessionId: string;
  /** What went wrong in it, oldest first; a test empties it of what it expects. */
  readonly complaints: string[] = [];
  readonly logged: Logged[] = [];
  private readonly browser: Browser;
  private readonly targetId: string;
  private loads = 0;

  constructor(browser: Browser, targetId: string, sessionId: string) {
    this.browser = browser;
    this.targetId = targetId;
    this.sessionId = sessionId;
  }

  send(method: string, params: Params = {}): Promise<Params> {
    return this.browser.send(method, params, this.sessionId);
  }

  /** Loads an address, and waits until it is loaded. Rejects if it cannot be. */
  async go(url: string): Promise<void> {
    const before = this.loads;
    const { errorText } = await this.send('Page.navigate', { url });
    if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
    await eventually(CALL_MS, `${url} is loaded`, () => (this.loads > before ? true : null));
  }

  /** The value of an expression, of a promise its outcome; it has to survive JSON. Rejects with what the page threw. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = answer as {
      result: { value?: unknown };
      exceptionDetails?: { text: string; exception?: { description?: string; value?: unknown } };
    };
    if (exceptionDetails !== undefined) {
      const { text, exception } = exceptionDetails;
      throw new Error(exception?.description ?? `${text} ${String(exception?.value ?? '')}`);
    }
    return result.value as T;
  }

  /** Calls a function that a module of the page's server exports. */
  call<T>(module: string, name: string, ...args: readonly unknown[]): Promise<T> {
    const list = args.map((arg) => JSON.stringify(arg)).join(', ');
    return this.evaluate(`import(${JSON.stringify(module)}).then((module) => module.${name}(${list}))`);
  }

  /** Waits until an expression is true, or something else than null, undefined or false, and gives its value. */
  waitFor<T>(expression: string, ms = CALL_MS): Promise<T> {
    return eventually(
      ms,
      expression,
      async () => (await this.evaluate<T | null | undefined | false>(expression)) || null,
      50,
    );
  }

  /** Part of `Browser`: an event of the page's session. */
  happened(method: string, params: Params): void {
    switch (method) {
      case 'Page.loadEventFired':
        this.loads++;
        break;
      case 'Runtime.exceptionThrown': {
        const { text, exception } = params['exceptionDetails'] as {
          text: string;
          exception?: { description?: string };
        };
        this.complaints.push(exception?.description ?? text);
        break;
      }
      case 'Runtime.consoleAPICalled': {
        const args = params['args'] as { value?: unknown; description?: string }[];
        const text = args.map(({ value, description }) => description ?? String(value)).join(' ');
        this.logged.push({ kind: params['type'] as string, text });
        if (params['type'] === 'error') this.complaints.push(text);
        break;
      }
      case 'Log.entryAdded': {
        const { level, text, url } = params['entry'] as { level: string; text: string; url?: string };
        if (level === 'error') this.complaints.push(`${text} ${url ?? ''}`);
        break;
      }
    }
  }

  async close(): Promise<void> {
    this.browser.forget(this);
    await this.browser.send('Target.closeTarget', { targetId: this.targetId });
  }
}
