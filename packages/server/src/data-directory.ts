import { type Logger, OperatorError } from '@etsd/base';
import { hasCode, type Lock, type World } from '@etsd/runtime';
import type { MemberConfig } from './config/config.ts';

/** Where the parts of a member rest, and what was found there. */
export interface DataDirectory {
  readonly walDirectory: string;
  readonly storePath: string;
  readonly snapDirectory: string;
  /** Where small notes of the member about itself rest. */
  readonly memberDirectory: string;
  readonly lock: Lock;
  readonly hasStore: boolean;
}

/**
 * Makes or checks the data directory and holds it against other processes. Refuses, without touching anything, what is
 * not ours: a directory of etcd, which keeps its store in another format. `meanwhile` runs while the lock is waited for.
 */
export async function openDataDirectory(
  world: World,
  config: MemberConfig,
  logger: Logger,
  meanwhile: () => void = () => {},
): Promise<DataDirectory> {
  const { disk } = world;
  const memberDirectory = `${config.dataDir}/member`;
  const snapDirectory = `${memberDirectory}/snap`;
  const storePath = `${snapDirectory}/store.mdb`;
  if ((await disk.stat(`${snapDirectory}/db`)) !== null) {
    throw new OperatorError(
      `${config.dataDir} is a data directory of etcd, which etsd does not open as it is`,
      'Give --data-dir another directory; docs/migration.md says how to move the data.',
    );
  }
  const existing = await disk.stat(config.dataDir);
  const isMember = (await disk.stat(memberDirectory)) !== null;
  if (existing !== null && !existing.isDirectory) {
    throw new OperatorError(`--data-dir ${config.dataDir} is a file`, 'Give --data-dir a directory.');
  }
  try {
    await disk.makeDirectory(snapDirectory);
  } catch (error) {
    throw new OperatorError(
      `cannot access data directory: ${config.dataDir}`,
      'Check --data-dir and its permissions.',
      {
        cause: error,
      },
    );
  }
  const lock = await takeLock(world, config.dataDir, `${memberDirectory}/lock`, meanwhile);
  if (isMember)
    logger.log('info', 'the server is already initialized as member before, starting as etcd member...', {
      'data-dir': config.dataDir,
      'wal-dir': config.walDir,
      'member-dir': memberDirectory,
    });
  return {
    walDirectory: config.walDir === '' ? `${memberDirectory}/wal` : config.walDir,
    storePath,
    snapDirectory,
    memberDirectory,
    lock,
    hasStore: (await disk.stat(storePath)) !== null,
  };
}

async function takeLock(world: World, dataDir: string, path: string, meanwhile: () => void): Promise<Lock> {
  const locking = world.disk.lock(path);
  try {
    meanwhile();
  } catch (error) {
    await locking.then(
      (lock) => lock.release(),
      () => {},
    );
    throw error;
  }
  try {
    return await locking;
  } catch (error) {
    if (!hasCode(error, 'ELOCKED')) throw error;
    throw new OperatorError(
      `another process is using the data directory ${dataDir}`,
      'Stop it first, or give --data-dir another directory.',
      { cause: error },
    );
  }
}
