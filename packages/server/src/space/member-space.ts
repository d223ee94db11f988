import type { Backend } from '@etsd/backend';
import type { Logger } from '@etsd/base';
import { AlarmType } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import type { State } from '@etsd/state';
import type { MemberConfig } from '../config/config.ts';
import type { MemberContext } from '../context.ts';
import { type DiskPlace, DiskSpace } from '../duties/disk-space.ts';
import type { MetricRegistry } from '../metrics.ts';
import { clearNoSpace, isNoSpaceRaised, raiseNoSpace } from '../quota.ts';
import { HeldAlarm } from './held-alarm.ts';
import { LargestPrefixes, type PrefixShare } from './largest-prefixes.ts';
import { attachSpaceMetrics } from './space-metrics.ts';
import { SpaceWatch } from './space-watch.ts';

export interface MemberSpaceParts {
  readonly world: World;
  readonly logger: Logger;
  readonly config: MemberConfig;
  readonly context: MemberContext;
  readonly state: State;
  readonly backend: Backend;
  /** The directories whose disks may become full. */
  readonly places: readonly DiskPlace[];
  /** The file that keeps in mind that an operator holds the alarm. */
  readonly heldPath: string;
  /** The largest prefixes among the newest records, at any time. */
  readonly counted: () => readonly PrefixShare[];
  /** Compacts through the log. */
  readonly compact: (revision: number, done: (failure: string | undefined) => void) => void;
}

/** All that a member does about room: on its disks, and within the quota of its store. */
export class MemberSpace {
  readonly disk: DiskSpace;
  readonly watch: SpaceWatch;
  private readonly state: State;
  private readonly heldAlarm: HeldAlarm;
  private readonly prefixes: LargestPrefixes;

  constructor({ world, logger, config, context, state, backend, ...parts }: MemberSpaceParts) {
    const { places, heldPath, counted, compact } = parts;
    const { store, replication } = context;
    const every = (ms: number, callback: () => void) => world.timers.every(ms, callback, { ref: false });
    const nowMs = () => world.clock.nowMs();
    this.state = state;
    this.disk = new DiskSpace({
      places,
      freeBytes: (path) => world.disk.freeBytes(path),
      nowMs,
      every,
      logger,
      backend,
      isRaised: () => isNoSpaceRaised(context),
      raise: (done) => raiseNoSpace(context, { done, fail: done }),
    });
    this.heldAlarm = new HeldAlarm({
      disk: world.disk,
      path: heldPath,
      alarms: state.alarms,
      memberId: replication.memberId,
      logger,
    });
    this.prefixes = new LargestPrefixes({
      store,
      after: (ms, callback) => world.timers.after(ms, callback, { ref: false }),
      nowMs,
    });
    this.watch = new SpaceWatch({
      quotaBytes: context.limits.quotaBytes,
      backend,
      every,
      nowMs,
      logger,
      prefixes: this.prefixes,
      counted,
      alarm: () => ({
        isRaised: isNoSpaceRaised(context),
        isHeld: state.alarms.isHeld(replication.memberId, AlarmType.NOSPACE),
      }),
      isDiskLow: () => this.disk.isLow,
      clear: (done) => clearNoSpace(context, { done: () => done(undefined), fail: (error) => done(error.message) }),
      revision: () => store.revision,
      compactRevision: () => store.compactRevision,
      isCompacting: () => store.compacting,
      compact,
      compactsUnasked: config.upkeep.compactOnNoSpace,
      defragmentPercent: config.upkeep.autoDefragmentPercent,
    });
  }

  /** Reads, before the log is applied, whether an operator holds the alarm. */
  open(): Promise<void> {
    return this.heldAlarm.open();
  }

  start(): void {
    this.disk.start();
    this.watch.start();
  }

  stop(): void {
    this.disk.stop();
    this.watch.stop();
    this.prefixes.stop();
  }

  /** What was said of the alarm last is on disk. */
  settled(): Promise<void> {
    return this.heldAlarm.settled();
  }

  /** What the HTTP API tells beside a refusal. Names of keys only where anybody may read them. */
  explain(): Readonly<Record<string, unknown>> {
    return this.watch.explain(this.tellsPrefixes());
  }

  attachMetrics(registry: MetricRegistry): void {
    attachSpaceMetrics(registry, this.watch, () => this.tellsPrefixes());
  }

  private tellsPrefixes(): boolean {
    return !this.state.auth.enabled;
  }
}
