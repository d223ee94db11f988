/** Everything about snapshots that a member is wired from. */
import type { Backend } from '@etsd/backend';
import type { Logger } from '@etsd/base';
import type { Store } from '@etsd/mvcc';
import type { World } from '@etsd/runtime';
import type { Lessor, State } from '@etsd/state';
import { MemberSnapshotInstaller } from './installer.ts';
import { pacer } from './pace.ts';
import { MemberSnapshotSink } from './sink.ts';
import { SnapshotFiles } from './snapshot-files.ts';
import type { SnapshotMetrics } from './snapshot-metrics.ts';
import { MemberSnapshotSource } from './source.ts';
import { StoreStreams } from './store-streams.ts';

export interface MemberSnapshotsParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers' | 'workers'>;
  readonly logger: Logger;
  /** `member/snap`, which exists. */
  readonly directory: string;
  readonly backend: Backend;
  readonly store: Store;
  readonly lessor: Lessor;
  readonly state: State;
  readonly metrics: SnapshotMetrics;
  /** Whether somebody is served who should not feel that snapshots are made; by default nobody is. */
  readonly isBusy?: () => boolean;
}

export class MemberSnapshots {
  /** What clients are sent (`Maintenance.Snapshot`); separate from the peers', so that slow clients keep nobody waiting. */
  readonly forClients: StoreStreams;
  /** The same by way of a file, where there is no other. */
  readonly clientFiles: SnapshotFiles;
  readonly source: MemberSnapshotSource;
  readonly sink: MemberSnapshotSink;
  readonly installer: MemberSnapshotInstaller;
  /** Called when the state was replaced: set to the watch hub's `storeReplaced`. */
  onReplaced: (() => void) | null = null;

  constructor(parts: MemberSnapshotsParts) {
    const { world, logger, directory, backend, state, metrics } = parts;
    const isBusy = parts.isBusy ?? ((): boolean => false);
    const shared = { world, logger, directory, backend, metrics, isBusy, saveProgress: () => state.saveProgress() };
    this.clientFiles = new SnapshotFiles({ ...shared, prefix: 'client', isPaced: true, hasKeys: false });
    this.forClients = new StoreStreams({ ...shared, files: this.clientFiles, newPace: () => pacer(world, isBusy) });
    this.source = new MemberSnapshotSource(
      new SnapshotFiles({ ...shared, prefix: 'peer', isPaced: false, hasKeys: true }),
      shared,
    );
    this.sink = new MemberSnapshotSink({ world, logger, directory, metrics, appliedIndex: () => state.appliedIndex });
    this.installer = new MemberSnapshotInstaller({ ...parts, replaced: () => this.onReplaced?.() });
  }

  /** What is being installed or sent is given up, so that the backend can be closed. The log must be stopped before. */
  stop(): void {
    this.installer.stop();
    this.forClients.stop();
  }
}
