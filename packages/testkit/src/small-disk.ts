/** Disks that become full: small file systems in memory, which need the rights to mount. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Begins the names of the folders; the number of the process that mounted them follows. */
const PREFIX = 'etsd-small-disk-';
const MOUNTED = new RegExp(`${PREFIX}(\\d+)-\\w+$`);

const present = new Set<string>();
let isWatching = false;

/** Where one is mounted, or null where that is not permitted. It is unmounted by `removeSmallDisk`, or as the process ends. */
export function makeSmallDisk(megabytes: number): string | null {
  sweepSmallDisks();
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    rmSync(folder, { recursive: true });
    return null;
  }
  present.add(folder);
  if (!isWatching) {
    isWatching = true;
    process.on('exit', () => {
      for (const each of present) removeSmallDisk(each);
    });
    // Without a listener a signal ends the process at once, and no other listener is called.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
  }
  return folder;
}

/** Unmounts it, whoever still has files open there. May be called more than once. */
export function removeSmallDisk(folder: string): void {
  if (!present.delete(folder)) return;
  unmount(folder);
}

/** Unmounts what processes have left that were killed. Gives the folders. */
export function sweepSmallDisks(): string[] {
  const mounts = existsSync('/proc/self/mounts') ? readFileSync('/proc/self/mounts', 'latin1') : '';
  const stale = mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => {
      const owner = Number(MOUNTED.exec(path)?.[1] ?? 0);
      return owner > 0 && owner !== process.pid && !existsSync(`/proc/${owner}`);
    });
  for (const folder of stale) unmount(folder);
  return stale;
}

function unmount(folder: string): void {
  try {
    execFileSync('umount', ['-l', folder], { stdio: 'ignore' });
  } catch {
    // Somebody else has swept.
  }
  rmSync(folder, { recursive: true, force: true });
}
