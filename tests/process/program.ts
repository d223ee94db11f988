import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { within } from '../support/conditions.ts';

/** How a run of the program ended. */
export interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `etsd` (or another program) with these words until it ends by itself. */
export async function run(
  words: readonly string[],
  env: Record<string, string> = {},
  program: readonly string[] = [NODE, join(ROOT, 'packages/cli/bin/etsd.ts')],
): Promise<Ending> {
  const child = spawn(program[0] as string, [...program.slice(1), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8');
    child[name].on('data', (text: string) => {
      texts[name] += text;
    });
  }
  try {
    const code = await within(
      30_000,
      `etsd ${words.join(' ')} ends`,
      new Promise<number | null>((resolve) => child.on('close', resolve)),
    );
    return { code, ...texts };
  } finally {
    child.kill('SIGKILL');
  }
}

const scratches: string[] = [];
process.on('exit', () => {
  for (const path of scratches) rmSync(path, { recursive: true, force: true });
});

/** A fresh directory, removed when the test process ends. */
export function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'etsd-process-'));
  scratches.push(path);
  return path;
}

/** Flags of a member alone on free ports: one for its peers as well, since by default all would want the same. */
export async function aloneIn(dataDir: string, port?: number): Promise<string[]> {
  const client = `http://127.0.0.1:${port ?? (await freePort())}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  return [
    ...['--data-dir', dataDir, '--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
  ];
}
