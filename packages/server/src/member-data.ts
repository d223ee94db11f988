/** What a member finds on its disks when it starts. */
import type { Backend } from '@etsd/backend';
import { Store } from '@etsd/mvcc';
import type { LogPlace } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import { Lessor, leaseTtlMinSeconds, State } from '@etsd/state';
import type { LogTail } from './archive/log-stretches.ts';
import type { MemberConfig } from './config/config.ts';
import type { DataDirectory } from './data-directory.ts';
import type { DiskPlace } from './duties/disk-space.ts';
import type { MemberMetrics } from './member-metrics.ts';
import type { MemberParts } from './member-parts.ts';
import { recoverInstalledSnapshot } from './snapshots/recover.ts';

/** Records of the store read before the event loop gets its turn while a member starts. */
const RESTORE_SLICE = 5000;

/** What a member holds, as it was found on disk. */
export interface OpenedData {
  readonly backend: Backend;
  readonly store: Store;
  readonly state: State;
  readonly lessor: Lessor;
}

/** Who is told of an operation that found the disk full; set once the member stands. */
export interface FullDisk {
  noticed: () => void;
}

/** Where a full disk would hurt: the log may have a disk of its own. */
export function placesOf(config: MemberConfig, directory: DataDirectory): DiskPlace[] {
  const places = [{ holds: 'data', path: config.dataDir }];
  if (config.walDir !== '') places.push({ holds: 'log', path: directory.walDirectory });
  return places;
}

/** Opens the store and reads what stands in it, after an installation of a snapshot that was begun is finished. */
export async function openData(parts: MemberParts, directory: DataDirectory, fullDisk: FullDisk): Promise<OpenedData> {
  const { world, config, logger } = parts;
  await checkStore(parts, directory.storePath);
  const startedMs = world.clock.nowMs();
  const backend = parts.openBackend(directory.storePath, parts.fail, () => fullDisk.noticed());
  try {
    const { snapDirectory, walDirectory } = directory;
    await recoverInstalledSnapshot({ world, logger, walDirectory, directory: snapDirectory, backend });
    const store = new Store(backend, parts.cacheBytes === undefined ? {} : { cacheBytes: parts.cacheBytes });
    store.beginRestore();
    while (!store.restoreSlice(RESTORE_SLICE)) await turn(world);
    const lessor = new Lessor({ store, backend, ttlMinSeconds: leaseTtlMinSeconds(config.electionTimeoutMs) });
    lessor.open();
    for (const [key, lease] of store.restoredLeases ?? []) lessor.attach(key, lease);
    store.restoredLeases = null;
    const state = new State({ backend, store, lessor });
    state.v2.nowMs = () => world.clock.wallMs();
    state.v2.digest = store.digest;
    logger.log('info', 'kvstore restored', {
      'current-rev': store.revision,
      'applied-index': state.appliedIndex,
      took: `${(world.clock.nowMs() - startedMs).toFixed(1)}ms`,
    });
    return { backend, store, state, lessor };
  } catch (error) {
    await backend.close();
    throw error;
  }
}

/** The engine has no checksums of its own: what changed on disk since it was written must not be served. */
async function checkStore({ world, logger, checkStore }: MemberParts, path: string): Promise<void> {
  const startedMs = world.clock.nowMs();
  const checked = await checkStore?.(path, () => turn(world));
  if (checked === undefined || checked === null) return;
  logger.log('info', 'checked the store', {
    records: checked.records,
    'has-checksum': checked.hasChecksum,
    took: `${(world.clock.nowMs() - startedMs).toFixed(1)}ms`,
  });
}

/** Where the log is kept, and who hears of its writes. */
export function logPlace(
  parts: MemberParts,
  directory: DataDirectory,
  metrics: MemberMetrics,
  fullDisk: FullDisk,
  tail: LogTail,
): LogPlace {
  const { world, config, logger } = parts;
  return {
    world,
    directory: directory.walDirectory,
    logger,
    walOptions: {
      logger,
      unsafeNoSync: config.unsafeNoFsync,
      ...parts.wal,
      observer: {
        synced(durationMs: number, bytes: number, sequence: number, end: number): void {
          metrics.walSync.observe(durationMs / 1000);
          metrics.walWrite.observe(durationMs / 1000);
          metrics.walBytes += bytes;
          tail.moved(sequence, end);
        },
        outOfSpace: () => fullDisk.noticed(),
      },
    },
  };
}

function turn(world: World): Promise<void> {
  return new Promise((resolve) => world.timers.endOfTurn(resolve));
}
