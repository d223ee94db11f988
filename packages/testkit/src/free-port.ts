import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One file for each port that a test process has taken, with the id of that process: several may run at once. */
const RESERVATIONS = join(tmpdir(), 'etsd-test-ports');

const own: string[] = [];
process.on('exit', () => {
  for (const path of own) rmSync(path, { force: true });
});

/** A port nobody listens on and no other test has been given, from outside the range of outgoing connections. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (!reserve(port)) continue;
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer();
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

function reserve(port: number): boolean {
  const path = join(RESERVATIONS, String(port));
  mkdirSync(RESERVATIONS, { recursive: true });
  for (const _attempt of ['', 'after a process that is gone']) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      own.push(path);
      return true;
    } catch {
      if (isHeld(path)) return false;
      rmSync(path, { force: true });
    }
  }
  return false;
}

function isHeld(path: string): boolean {
  try {
    process.kill(Number(readFileSync(path, 'latin1')), 0);
    return true;
  } catch {
    return false;
  }
}
