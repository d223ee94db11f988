/**
 * How long a program waits for its first embedded member, in memory and on disk: the best and the median of several
 * starts, each in a process of its own that has loaded `@etsd/server` before.
 *
 *     node tests/embedding/first-start.ts [--starts 5] [--built dist]
 *
 * With `--built` it is the JavaScript that users install (`npm run build` makes it), without it the sources: Node.js turns
 * these into JavaScript while it loads them, and clears up behind that while the first member starts.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { NODE, ROOT } from '../support/binaries.ts';

export interface FirstStart {
  /** From the call of `startMember` to its answer. */
  readonly elapsedMs: number;
  /** Time of all processors that the process used meanwhile. */
  readonly cpuMs: number;
}

/** Run as text: a file in TypeScript would bring the stripping of types into the process that is measured. */
const PROGRAM = `
  const [entry, dataDir] = process.argv.slice(1);
  const { startMember } = await import(entry);
  const options = dataDir === '' ? {} : { dataDir };
  const before = process.cpuUsage();
  const startedMs = performance.now();
  const member = await startMember(options);
  const elapsedMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(before);
  await member.client().kv.put('a', '1');
  await member.close();
  console.log(JSON.stringify({ elapsedMs, cpuMs: (user + system) / 1000 }));
`;

/** A member is started in a fresh process; `built` is where `npm run build` put the packages, null for the sources. */
export async function firstStart(place: 'memory' | 'disk', built: string | null = null): Promise<FirstStart> {
  const entry = join(
    built === null ? ROOT : resolve(built),
    'packages/server/src',
    `index.${built === null ? 'ts' : 'js'}`,
  );
  const folder = mkdtempSync(join(tmpdir(), 'etsd-first-start-'));
  try {
    const dataDir = place === 'disk' ? join(folder, 'data') : '';
    const args = ['--input-type=module', '--eval', PROGRAM, pathToFileURL(entry).href, dataDir];
    const { stdout } = await promisify(execFile)(NODE, args, { timeout: 120_000 });
    return JSON.parse(stdout) as FirstStart;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The best of several: whatever else the machine does only adds. */
export async function bestStart(place: 'memory' | 'disk', starts: number, built: string | null): Promise<FirstStart> {
  const all = await severalStarts(place, starts, built);
  return { elapsedMs: Math.min(...all.map((one) => one.elapsedMs)), cpuMs: Math.min(...all.map((one) => one.cpuMs)) };
}

async function severalStarts(place: 'memory' | 'disk', starts: number, built: string | null): Promise<FirstStart[]> {
  const all: FirstStart[] = [];
  for (let i = 0; i < starts; i++) all.push(await firstStart(place, built));
  return all;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] as number;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { starts: { type: 'string', default: '5' }, built: { type: 'string' } } });
  const built = values.built ?? null;
  for (const place of ['memory', 'disk'] as const) {
    const all = await severalStarts(place, Number(values.starts), built);
    const elapsed = all.map((one) => one.elapsedMs);
    const cpu = median(all.map((one) => one.cpuMs));
    console.log(
      `first start, ${place}, ${built === null ? 'from the sources' : 'as installed'}: ${median(elapsed).toFixed(0)} ms ` +
        `(best ${Math.min(...elapsed).toFixed(0)}), ${cpu.toFixed(0)} ms of processor time`,
    );
  }
}
