import { type Backend, META_CONF_STATE, META_CONSISTENT_INDEX, META_TERM } from '@etsd/backend';
import { assert, errorFrom, faultPoint, type Logger, OperatorError } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { KeyIndex, Restore, type Store } from '@etsd/mvcc';
import type { RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import type { SnapshotInstaller } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import { confStateToJson, type Lessor, LessorReload, putKeysFromSnapshot, type State } from '@etsd/state';
import { purgeSnapshots, writeSnapshotFile } from '@etsd/wal';
import { asidePath, receivedPath, removeAside, removeReceived } from './file-names.ts';
import { numberBytes, readFrozenState } from './frozen-state.ts';
import type { SnapshotMetrics } from './snapshot-metrics.ts';
import { type Pause, readBoltIntoBackend } from './store-file.ts';
import { OTHERS_ARE_BUSY, pauser } from './turns.ts';

/** Read at once while the new state's index and leases are built: about a millisecond. */
const SLICE_RECORDS = 400;
/** Snapshot files kept, as many as etcd keeps. */
const SNAPSHOT_FILES_KEPT = 5;

export interface InstallerParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  readonly directory: string;
  readonly backend: Backend;
  readonly store: Store;
  readonly lessor: Lessor;
  readonly state: State;
  readonly metrics: SnapshotMetrics;
  /** The watch hub: the store has another state now. */
  readonly replaced: () => void;
}

/**
 * Puts a snapshot that was received in place of the member's state while the member goes on serving what it had:
 *
 * ```
 *   <index>.snap.db ──▶ new backend file ──▶ new key index, new leases     (slices; the old state is read meanwhile)
 *                             └─ durable ─▶ renamed ─▶ exchanged, all in one step ─▶ watchers look up what happened
 * ```
 * A crash before the renaming leaves the old state and the received file, from which `recoverInstalledSnapshot` begins
 * anew; a crash behind it leaves the new state.
 */
export class MemberSnapshotInstaller implements SnapshotInstaller {
  private readonly parts: InstallerParts;
  private isStopped = false;
  /** One after the other. */
  private last: Promise<void> = Promise.resolve();

  constructor(parts: InstallerParts) {
    this.parts = parts;
  }

  install(snapshot: RaftSnapshot, done: (error: Error | null) => void): void {
    this.follow(() => this.run(snapshot, false), done);
  }

  /**
   * The same for a snapshot of the very entry that was applied last, which raft knows nothing of: what is there differs
   * from it, though it should not, and is set aside.
   */
  exchange(snapshot: RaftSnapshot, done: (error: Error | null) => void): void {
    this.follow(() => this.run(snapshot, true), done);
  }

  private follow(run: () => Promise<void>, done: (error: Error | null) => void): void {
    const { metrics } = this.parts;
    const finished = (error: Error | null): void => {
      metrics.isInstalling = false;
      done(error);
    };
    this.last = this.last.then(() => {
      metrics.isInstalling = true;
      return run();
    });
    this.last.then(
      () => finished(null),
      (error: unknown) => finished(errorFrom(error)),
    );
  }

  /** Gives up what is under way; the next start begins it anew. */
  stop(): void {
    this.isStopped = true;
  }

  private async run(snapshot: RaftSnapshot, isExchange: boolean): Promise<void> {
    const { world, logger, directory, backend, store, lessor, state, metrics, replaced } = this.parts;
    const { disk, clock } = world;
    const metadata = snapshot.metadata;
    assert(metadata !== null, 'a snapshot has a position');
    const { index, term } = metadata;
    const startMs = clock.nowMs();
    const pause = pauser(world, { isStopped: () => this.isStopped, isBusy: OTHERS_ARE_BUSY });
    logger.log('info', 'applying snapshot', { 'current-applied-index': state.appliedIndex, 'snapshot-index': index });
    faultPoint('snapshot.apply.before');
    if (isExchange) await removeAside(disk, directory);
    else await writeSnapshotFile(disk, directory, snapshot);
    const savedSeconds = (clock.nowMs() - startMs) / 1000;
    metrics.fileSync.observe(savedSeconds);
    metrics.fileSaved.observe(savedSeconds);
    state.beginReplacement(() => backend.commit());
    store.beginReplacement();
    const restore = { store: null as Restore | null, lessor: null as LessorReload | null };
    await backend.replace(
      async (fresh) => {
        await fillFromReceived({ disk, directory, metadata, data: snapshot.data, fresh, pause });
        restore.store = new Restore(new KeyIndex(), fresh.snapshot());
        while (!restore.store.slice(SLICE_RECORDS)) await pause();
        restore.lessor = new LessorReload(fresh, restore.store.leases);
        while (!restore.lessor.slice(SLICE_RECORDS)) await pause();
        faultPoint('snapshot.apply.exchange');
      },
      () => {
        store.adopt(restore.store as Restore);
        store.restoredLeases = null;
        lessor.adopt(restore.lessor as LessorReload);
        state.reload();
        replaced();
      },
      isExchange ? asidePath(directory, index) : '',
    );
    assert(state.appliedIndex === index && state.appliedTerm === term, 'the state is that of the snapshot');
    faultPoint('snapshot.apply.after');
    await removeReceived(world, directory, index);
    await purgeSnapshots(disk, directory, SNAPSHOT_FILES_KEPT);
    logger.log('info', 'applied snapshot', {
      'snapshot-index': index,
      'snapshot-term': term,
      'current-rev': store.revision,
      took: `${(clock.nowMs() - startMs).toFixed(1)}ms`,
    });
  }
}

export interface FillParts {
  readonly disk: World['disk'];
  readonly directory: string;
  readonly metadata: SnapshotMetadata;
  /** Of the raft snapshot: the keys of etcd 2, which are not in the file. */
  readonly data: Buffer;
  readonly fresh: Backend;
  readonly pause: Pause;
}

/**
 * Fills an empty backend with a received snapshot. What the file says of its own position may lag behind the message
 * where the last entries changed nothing in it; being ahead of it would mean that entries are applied twice.
 */
export async function fillFromReceived({ disk, directory, metadata, data, fresh, pause }: FillParts): Promise<void> {
  const { index, term, confState } = metadata;
  const path = receivedPath(directory, index);
  const file = await BoltFile.open(disk, path);
  try {
    await readBoltIntoBackend(file, fresh, pause);
  } finally {
    await file.close();
  }
  const found = readFrozenState(fresh);
  if (found.index > index) {
    throw new OperatorError(
      `the snapshot in ${path} contains entry ${found.index}, though it was sent as that of entry ${index}`,
      'Remove this member from the cluster and add it anew.',
    );
  }
  putKeysFromSnapshot(fresh, data);
  fresh.put('meta', META_CONSISTENT_INDEX, numberBytes(index));
  fresh.put('meta', META_TERM, numberBytes(term));
  if (confState !== null) fresh.put('meta', META_CONF_STATE, Buffer.from(confStateToJson(confState)));
  await new Promise<void>((resolve, reject) => {
    fresh.commit((error) => (error === null ? resolve() : reject(error)));
  });
}
