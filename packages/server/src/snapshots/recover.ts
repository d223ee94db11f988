import type { Backend } from '@etsd/backend';
import { EMPTY, type Logger } from '@etsd/base';
import { ConfState, SnapshotMetadata } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import { loadNewestSnapshot, newestSnapshot } from '@etsd/wal';
import { hasReceived, receivedPath, removeLeftovers } from './file-names.ts';
import { readFrozenState } from './frozen-state.ts';
import { fillFromReceived } from './installer.ts';
import { pauser } from './turns.ts';

export interface RecoverParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  /** Of the log. */
  readonly walDirectory: string;
  /** Of the snapshots. */
  readonly directory: string;
  /** Open, and read by nobody yet. */
  readonly backend: Backend;
}

/**
 * To be called at each start, before anything is read from the backend or the log. Where a crash came between the record
 * of a received snapshot in the log and its installation, the backend is older than the log allows; the received file is
 * still there, and is installed now. Whatever else snapshots left behind is removed. Returns whether it installed one.
 */
export async function recoverInstalledSnapshot(parts: RecoverParts): Promise<boolean> {
  const { world, logger, walDirectory, directory, backend } = parts;
  const { disk } = world;
  // Reading the log for its records takes a while: it is done only where there is something to install.
  const isNeeded = (await hasReceived(disk, directory)) && (await disk.stat(walDirectory)) !== null;
  const recorded = isNeeded ? await newestSnapshot(disk, walDirectory) : null;
  let isInstalled = false;
  if (recorded !== null && recorded.index > readFrozenState(backend).index) {
    const { index, term } = recorded;
    if ((await disk.stat(receivedPath(directory, index))) === null) return false;
    logger.log('info', 'installing a snapshot that was received before the last stop', { 'snapshot-index': index });
    const confState = recorded.confState ?? new ConfState();
    const metadata = SnapshotMetadata.create({ index, term, confState });
    const pause = pauser(world);
    const { snapshot } = await loadNewestSnapshot(disk, directory, [{ index, term }]);
    const data = snapshot?.data ?? EMPTY;
    await backend.replace((fresh) => fillFromReceived({ disk, directory, metadata, data, fresh, pause }));
    isInstalled = true;
  }
  await removeLeftovers(disk, directory);
  return isInstalled;
}
