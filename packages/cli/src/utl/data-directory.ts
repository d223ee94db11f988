/** What works on the data directory of a member that is stopped. */
import { join } from 'node:path';
import { META_STORAGE_VERSION } from '@etsd/backend';
import type { LmdbBackend } from '@etsd/backend/lmdb';
import type { Logger } from '@etsd/base';
import type { Context } from '../ctl/context.ts';
import { ExitCode, Failure } from '../ctl/failure.ts';
import { openStore, StderrLogger, world } from './files.ts';

/** Does it with the store of the directory, which nobody else may use meanwhile. `doing` begins the sentence if not. */
async function withStoreOf(
  dataDir: string,
  doing: string,
  use: (store: LmdbBackend, path: string) => Promise<void>,
): Promise<void> {
  const { disk } = world;
  const path = join(dataDir, 'member', 'snap', 'store.mdb');
  if ((await disk.stat(path)) === null) {
    const isEtcd = (await disk.stat(join(dataDir, 'member', 'snap', 'db'))) !== null;
    const what = isEtcd ? 'a data directory of etcd' : 'no data directory';
    throw new Failure(ExitCode.ERROR, `${doing}[${dataDir}] (it is ${what})`, isEtcd ? 'use etcdutl' : '');
  }
  let lock: Awaited<ReturnType<typeof disk.lock>>;
  try {
    lock = await disk.lock(join(dataDir, 'member', 'lock'));
  } catch {
    throw new Failure(ExitCode.ERROR, `${doing}[${dataDir}] (a member is using it)`, 'stop the member first');
  }
  try {
    const store = openStore(path);
    try {
      await use(store, path);
    } finally {
      await store.close();
    }
  } finally {
    await lock.release();
  }
}

/** Rewrites the store of a data directory that no member uses. */
export async function defragment(context: Context, dataDir: string): Promise<void> {
  const logger = new StderrLogger(context);
  await withStoreOf(dataDir, 'Failed to defragment etcd data', async (store, path) => {
    logger.log('info', 'defragmenting', { path });
    const before = store.sizeBytes();
    await store.defragment();
    logger.log('info', 'finished defragmenting directory', { path, before, after: store.sizeBytes() });
  });
}

/** The oldest version whose note can be written; it is that of a store without one. */
const MINIMAL = '3.5';
const VERSIONS: readonly string[] = [MINIMAL, '3.6'];

/** Writes or removes the note that says for which version of etcd a store is laid out, in etcdutl's words. */
export async function migrate(context: Context, dataDir: string, target: string): Promise<void> {
  if (!/^\d+\.\d+$/.test(target)) {
    const text = `wrong target version format, expected "X.Y", got "${target}"`;
    throw new Failure(ExitCode.ERROR, text, 'write --target-version 3.6');
  }
  if (!VERSIONS.includes(target)) {
    const text = `target version "${target}" not supported. Minimal "${MINIMAL}"`;
    throw new Failure(ExitCode.ERROR, text, `it is one of ${VERSIONS.join(', ')}`);
  }
  const logger: Logger = new StderrLogger(context);
  await withStoreOf(dataDir, 'Failed to migrate etcd data', async (store) => {
    const noted = store.get('meta', META_STORAGE_VERSION)?.toString() ?? `${MINIMAL}.0`;
    if (noted === `${target}.0`) {
      logger.log('info', 'storage version up-to-date', { 'storage-version': target });
      return;
    }
    if (target === MINIMAL) store.delete('meta', META_STORAGE_VERSION);
    else store.put('meta', META_STORAGE_VERSION, Buffer.from(`${target}.0`));
    await store.flush();
    logger.log('info', 'updated storage version', { 'new-storage-version': `${target}.0` });
  });
}
