import { type Disk, hasCode, joinPath, removeGradually, type World } from '@etsd/runtime';

/** A snapshot that was received, under etcd's name for it: the index it stands at, in hexadecimal. */
const RECEIVED = /^([0-9a-f]{16})\.snap\.db$/;

/** Of files that a crash may leave behind and nobody needs. */
const TEMPORARY_SUFFIX = '.snapshot.tmp';

/** A store that was set aside because it differed from those of the other members. */
const ASIDE = /^store\.mdb\.differed-\d+$/;

export function asidePath(directory: string, index: number): string {
  return joinPath(directory, `store.mdb.differed-${index}`);
}

/** Removes what was set aside before: one is enough to look at. */
export async function removeAside(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) if (ASIDE.test(name)) await disk.remove(joinPath(directory, name));
}

export function receivedPath(directory: string, index: number): string {
  return joinPath(directory, `${index.toString(16).padStart(16, '0')}.snap.db`);
}

export function temporaryPath(directory: string, name: string): string {
  return joinPath(directory, `${name}${TEMPORARY_SUFFIX}`);
}

/** Whether any snapshot was received that is still there. */
export async function hasReceived(disk: Disk, directory: string): Promise<boolean> {
  return (await disk.list(directory)).some((name) => RECEIVED.test(name));
}

/** Removes received snapshots up to an index, each under a name that says so, without anybody feeling it. */
export async function removeReceived(
  world: Pick<World, 'disk' | 'timers'>,
  directory: string,
  index: number,
): Promise<void> {
  const { disk } = world;
  for (const name of await disk.list(directory)) {
    const digits = RECEIVED.exec(name)?.[1];
    if (digits === undefined || Number.parseInt(digits, 16) > index) continue;
    const leaving = temporaryPath(directory, `leaving-${digits}`);
    try {
      await disk.rename(joinPath(directory, name), leaving);
    } catch (error) {
      // Whoever receives the next one removes it, too, while it is installed.
      if (hasCode(error, 'ENOENT')) continue;
      throw error;
    }
    await removeGradually(world, leaving);
  }
}

/** Removes everything that only a running member has a use for. */
export async function removeLeftovers(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) {
    if (RECEIVED.test(name) || name.endsWith(TEMPORARY_SUFFIX)) await disk.remove(joinPath(directory, name));
  }
}
