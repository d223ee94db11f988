/** `/debug/`: what the process is, and profiles of it. */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { errorFrom } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import { cpuToPprof, heapToPprof } from '../debug/pprof.ts';
import type { Profiler } from '../debug/profiler.ts';
import type { WebExchange } from './web-exchange.ts';

const packed = promisify(gzip);

const DEFAULT_SECONDS = 30;
const SECONDS_MAX = 300;
export const VARS_PATH = '/debug/vars';
export const PPROF_PREFIX = '/debug/pprof/';

const TEXT = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff'];
const ERROR = [...TEXT, 'X-Go-Pprof', '1'];
const BYTES = ['Content-Type', 'application/octet-stream', 'X-Content-Type-Options', 'nosniff'];
const JSON_TEXT = ['Content-Type', 'application/json; charset=utf-8'];

/** Who asks, as far as it says. */
export type Asker = Pick<WebExchange, 'header' | 'peerCommonName' | 'peer'>;

export interface DebugParts {
  /** Null where the operator wants no profiles. */
  readonly profiler: Profiler | null;
  /** Why this caller may not look: where authentication is on, only root may. */
  readonly refusal: (asker: Asker) => EtcdError | null;
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  readonly wallMs: () => number;
  /** Each value of `/debug/vars`. */
  readonly vars: () => Readonly<Record<string, unknown>>;
  readonly report: (error: unknown) => void;
}

const INDEX = `<!doctype html>
<title>/debug/pprof/</title>
<h1>Profiles</h1>
<p>In the form of pprof: <code>go tool pprof http://HOST/debug/pprof/profile</code>. With <code>format=v8</code> in the form
that the developer tools of browsers open. One at a time.</p>
<ul>
<li><a href="profile?seconds=${DEFAULT_SECONDS}">profile</a>: what the event loop does, for <code>seconds</code></li>
<li><a href="heap">heap</a>: who allocated what is in memory, since the start</li>
<li><a href="cmdline">cmdline</a>: the command line</li>
</ul>
`;

export class DebugRoutes {
  private readonly parts: DebugParts;
  private isBusy = false;

  constructor(parts: DebugParts) {
    this.parts = parts;
  }

  /** Whether a path is one of these. */
  takes(path: string): boolean {
    if (path === VARS_PATH) return true;
    return this.parts.profiler !== null && (path === PPROF_PREFIX.slice(0, -1) || path.startsWith(PPROF_PREFIX));
  }

  /** `query` with its question mark. */
  serve(exchange: WebExchange, path: string, query: string, headers: readonly string[]): void {
    const refused = this.parts.refusal(exchange);
    if (refused !== null) {
      exchange.respond(403, [...headers, ...TEXT], `${refused.message}\n`);
      return;
    }
    this.answer(exchange, path, new URLSearchParams(query), headers).catch((error: unknown) => {
      this.parts.report(error);
      exchange.respond(500, [...headers, ...ERROR], `${errorFrom(error).message}\n`);
    });
  }

  private async answer(
    exchange: WebExchange,
    path: string,
    query: URLSearchParams,
    headers: readonly string[],
  ): Promise<void> {
    const { profiler } = this.parts;
    if (path === VARS_PATH || profiler === null) {
      const lines = Object.entries(this.parts.vars()).map(([name, value]) => `"${name}": ${JSON.stringify(value)}`);
      exchange.respond(200, [...headers, ...JSON_TEXT], `{\n${lines.join(',\n')}\n}\n`);
      return;
    }
    switch (path.slice(PPROF_PREFIX.length)) {
      case '':
        exchange.respond(200, [...headers, 'Content-Type', 'text/html; charset=utf-8', ...TEXT.slice(2)], INDEX);
        return;
      case 'cmdline':
        exchange.respond(200, [...headers, ...TEXT], shownCommand(profiler.commandLine).join('\0'));
        return;
      case 'profile':
        await this.alone(exchange, headers, query, (isV8) => this.cpu(profiler, exchange, query, isV8));
        return;
      case 'heap':
        await this.alone(exchange, headers, query, (isV8) => this.heap(profiler, isV8));
        return;
      default:
        exchange.respond(404, [...headers, ...ERROR], 'etsd has the profiles profile and heap, and cmdline\n');
    }
  }

  /** Profiles cost everybody else something: one at a time. */
  private async alone(
    exchange: WebExchange,
    headers: readonly string[],
    query: URLSearchParams,
    make: (isV8: boolean) => Promise<Buffer>,
  ): Promise<void> {
    if (this.isBusy) {
      exchange.respond(500, [...headers, ...ERROR], 'another profile is being made; try again when it is done\n');
      return;
    }
    this.isBusy = true;
    try {
      const isV8 = query.get('format') === 'v8';
      const bytes = await make(isV8);
      exchange.respond(200, [...headers, ...(isV8 ? JSON_TEXT : BYTES)], isV8 ? bytes : await packed(bytes));
    } finally {
      this.isBusy = false;
    }
  }

  private async cpu(profiler: Profiler, exchange: WebExchange, query: URLSearchParams, isV8: boolean): Promise<Buffer> {
    const asked = Number(query.get('seconds') ?? DEFAULT_SECONDS);
    const seconds = asked > 0 ? Math.min(asked, SECONDS_MAX) : DEFAULT_SECONDS;
    const wallMs = this.parts.wallMs();
    const profile = await profiler.cpu(
      () =>
        new Promise((resolve) => {
          const timer = this.parts.after(seconds * 1000, resolve);
          // Nobody waits for it any more.
          exchange.onGone = () => {
            timer.cancel();
            resolve();
          };
        }),
    );
    exchange.onGone = null;
    return isV8 ? Buffer.from(JSON.stringify(profile)) : cpuToPprof(profile, wallMs, profiler.cpuIntervalUs);
  }

  private async heap(profiler: Profiler, isV8: boolean): Promise<Buffer> {
    const profile = await profiler.heap();
    if (isV8) return Buffer.from(JSON.stringify(profile));
    return heapToPprof(profile, this.parts.wallMs(), profiler.heapIntervalBytes);
  }
}

/** A command line without what nobody should read in it. */
export function shownCommand(words: readonly string[]): string[] {
  const isSecret = (word: string | undefined): boolean => /^--?discovery-(?:password|user|token)$/.test(word ?? '');
  return words.map((word, place) => {
    if (isSecret(words[place - 1])) return '…';
    const [flag = '', ...rest] = word.split('=');
    return rest.length > 0 && isSecret(flag) ? `${flag}=…` : word;
  });
}
