/** The archive as a member is wired with it. */
import type { Backend } from '@etsd/backend';
import { type Logger, OperatorError, type U64 } from '@etsd/base';
import type { Store } from '@etsd/mvcc';
import type { World } from '@etsd/runtime';
import { leaseTtlMinSeconds, type State } from '@etsd/state';
import type { MemberConfig } from '../config/config.ts';
import type { MemberParts } from '../member-parts.ts';
import type { MetricRegistry } from '../metrics.ts';
import { SnapshotFiles } from '../snapshots/snapshot-files.ts';
import type { SnapshotMetrics } from '../snapshots/snapshot-metrics.ts';
import { ArchiveMetrics } from './archive-metrics.ts';
import { Archiver, type TakenBase } from './archiver.ts';
import type { LogTail } from './log-stretches.ts';
import type { Sample } from './manifest.ts';
import { ArchiveSender, type CommandRunner } from './sender.ts';

/** Starts what runs commands, while the process is small; null where the operator wants none. */
export function startCommands({ config, startCommands }: MemberParts): CommandRunner | null {
  if (config.archive === null || config.archive.command === '') return null;
  if (startCommands !== undefined) return startCommands();
  throw new OperatorError('--archive-command cannot be used here', 'A member inside of another program runs none.');
}

export interface MemberArchiveParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  readonly config: MemberConfig;
  readonly clusterId: U64;
  readonly memberId: U64;
  readonly walDirectory: string;
  /** Where copies of the store are made. */
  readonly snapDirectory: string;
  readonly tail: LogTail;
  readonly backend: Backend;
  readonly store: Store;
  readonly state: State;
  readonly isBusy: () => boolean;
  readonly registry: MetricRegistry;
  readonly isTrusted: () => boolean;
  readonly snapshotMetrics: SnapshotMetrics;
  readonly runner: CommandRunner | null;
}

/** Null where the operator wants none. */
export function openArchive(parts: MemberArchiveParts): Archiver | null {
  const { world, logger, config, backend, store, state, isBusy, registry, runner } = parts;
  if (config.archive === null) return null;
  const metrics = new ArchiveMetrics(registry);
  const { command } = config.archive;
  const sender = runner === null ? null : new ArchiveSender({ world, logger, command, runner, metrics });
  let frozen: Sample | null = null;
  const files = new SnapshotFiles({
    world,
    logger,
    directory: parts.snapDirectory,
    backend,
    metrics: parts.snapshotMetrics,
    isPaced: false,
    prefix: 'archive',
    hasKeys: false,
    isBusy,
    // Called in the moment that the copy is of.
    saveProgress() {
      state.saveProgress();
      const { appliedIndex: index, appliedTerm: term } = state;
      frozen = { timeMs: world.clock.wallMs(), index, term, revision: store.revision };
    },
  });
  return new Archiver({
    world,
    logger,
    config: config.archive,
    clusterId: parts.clusterId,
    memberId: parts.memberId,
    walDirectory: parts.walDirectory,
    tail: parts.tail,
    applied: () => ({ index: state.appliedIndex, term: state.appliedTerm, revision: store.revision }),
    async takeBase(): Promise<TakenBase> {
      const file = await files.take();
      if (file === null || frozen === null) throw new Error('no copy of the store was made');
      return { file, at: { ...frozen, index: file.state.index, term: file.state.term } };
    },
    leaseTtlMinSeconds: leaseTtlMinSeconds(config.electionTimeoutMs),
    isBusy,
    isTrusted: parts.isTrusted,
    metrics,
    sender,
  });
}
