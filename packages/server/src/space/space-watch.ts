import type { Logger } from '@etsd/base';
import type { TimerHandle } from '../context.ts';
import type { LargestPrefixes, PrefixShare } from './largest-prefixes.ts';

/** How often the store is looked at, in milliseconds. */
const LOOK_INTERVAL_MS = 1000;
/** Parts of the quota at which the operator is warned, in percent. */
const WARNINGS = [70, 85, 95] as const;
/** A warning is taken back this many points below where it was given, so that it is not repeated at every write. */
const WARNING_SLACK = 3;
/** The low-water mark: below this part of the quota, in percent, a member clears the alarm that it has raised. */
export const LOW_WATER = 90;
/** From this warning on the largest prefixes are told too. */
const TELLS_PREFIXES = 85;
/** History that stays when a member compacts to get out of its alarm, in milliseconds. */
const HISTORY_KEPT_MS = 5000;
/** A store is rewritten by itself where it would give back at least so many bytes, at most once in this time. */
const DEFRAGMENT_BYTES_MIN = 64 * 1024 * 1024;
const DEFRAGMENT_PAUSE_MS = 10 * 60_000;

export const QUOTA_FLAG = '--quota-backend-bytes';

/** What the duty needs of the parts. */
export interface SpaceWatchParts {
  /** Infinite where there is no quota. */
  readonly quotaBytes: number;
  readonly backend: {
    readonly pendingBytes: number;
    sizeBytes(): number;
    inUseBytes(): number;
    defragment(): Promise<void>;
  };
  readonly every: (ms: number, callback: () => void) => TimerHandle;
  readonly nowMs: () => number;
  readonly logger: Logger;
  readonly prefixes: Pick<LargestPrefixes, 'ask' | 'latest'>;
  /** Of the newest records alone, at any time. */
  readonly counted: () => readonly PrefixShare[];
  /** This member's NOSPACE alarm: whether it stands, and whether because an operator wants it. */
  readonly alarm: () => { readonly isRaised: boolean; readonly isHeld: boolean };
  /** The disk is short of room, whatever the quota says. */
  readonly isDiskLow: () => boolean;
  /** Clears the alarm through the log; `done` hears whether it could. */
  readonly clear: (done: (failure: string | undefined) => void) => void;
  readonly revision: () => number;
  readonly compactRevision: () => number;
  /** Whether what was compacted is still being removed. */
  readonly isCompacting: () => boolean;
  /** Compacts through the log. */
  readonly compact: (revision: number, done: (failure: string | undefined) => void) => void;
  /** Flag `compact-on-nospace`. */
  readonly compactsUnasked: boolean;
  /** Flag `auto-defragment-percent`: the free part of the file at which it is rewritten; 0 is never. */
  readonly defragmentPercent: number;
}

/** What the store takes of its quota. */
export interface SpaceUsage {
  /** Bytes that live data takes: pages of the file that are in use, and what is not written yet. */
  readonly usedBytes: number;
  /** Infinite where there is none. */
  readonly quotaBytes: number;
  readonly flag: string;
  readonly largestPrefixes: readonly PrefixShare[];
}

/**
 * Watches over the room that the store takes:
 *
 * ```
 *   used/quota  70 % ─ 85 % ─ 95 %      each said once, from 85 % on with the largest prefixes
 *               100 %                   the next write raises NOSPACE (`Quota`)
 *   NOSPACE     history older than 5 s goes, as far as the flag allows; below 90 % the alarm is cleared
 *   file        where half of it is free it is rewritten in the background
 * ```
 * An alarm that an operator has raised is the operator's to clear. One raised because the disk is short is cleared when
 * the disk has room again.
 */
export class SpaceWatch {
  /** The warning in force, in percent of the quota: 0, 70, 85 or 95. */
  warning = 0;
  /** Alarms that this member has cleared by itself since its start. */
  clearedTotal = 0;
  private readonly parts: SpaceWatchParts;
  private timer: TimerHandle | null = null;
  private wasRaised = false;
  private isClearing = false;
  private isCompacting = false;
  /** While the alarm stands: the revision at a time, so that what is older than `HISTORY_KEPT_MS` can go. */
  private mark: { readonly atMs: number; readonly revision: number } | null = null;
  private isDefragmenting = false;
  private defragmentAtMs = 0;

  constructor(parts: SpaceWatchParts) {
    this.parts = parts;
  }

  start(): void {
    this.timer = this.parts.every(LOOK_INTERVAL_MS, this.look);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  get usedBytes(): number {
    const { backend } = this.parts;
    return backend.inUseBytes() + backend.pendingBytes;
  }

  usage(): SpaceUsage {
    const { quotaBytes, prefixes } = this.parts;
    return { usedBytes: this.usedBytes, quotaBytes, flag: QUOTA_FLAG, largestPrefixes: prefixes.latest };
  }

  /** For whoever was refused. Prefixes are names of keys, which are not everybody's to know where there are users. */
  explain(tellsPrefixes: boolean): Readonly<Record<string, unknown>> {
    const { usedBytes, quotaBytes, flag, largestPrefixes: surveyed } = this.usage();
    // Before anybody had to look, the figures without history.
    const largestPrefixes = surveyed.length > 0 ? surveyed : this.parts.counted();
    const quota = Number.isFinite(quotaBytes) ? { quotaBytes, flag } : {};
    return { usedBytes, ...quota, ...(tellsPrefixes ? { largestPrefixes } : {}) };
  }

  private readonly look = (): void => {
    const { quotaBytes } = this.parts;
    const percent = (this.usedBytes / quotaBytes) * 100;
    this.warn(percent);
    this.lookAtAlarm(percent);
    this.lookAtFile();
  };

  private warn(percent: number): void {
    const { logger, prefixes } = this.parts;
    const reached = WARNINGS.findLast((level) => percent >= level) ?? 0;
    if (reached > this.warning) {
      this.warning = reached;
      if (reached < TELLS_PREFIXES) {
        this.say(`the store has reached ${reached} % of its quota`, {});
        return;
      }
      prefixes.ask((shares) => this.say(`the store has reached ${reached} % of its quota`, named(shares)));
    } else if (reached < this.warning && percent < this.warning - WARNING_SLACK) {
      this.warning = reached;
      logger.log('info', `the store is below ${this.roundedPercent(percent)} % of its quota again`, this.figures());
    }
  }

  private lookAtAlarm(percent: number): void {
    const { alarm, isDiskLow, prefixes } = this.parts;
    const { isRaised, isHeld } = alarm();
    if (isRaised && !this.wasRaised && percent >= LOW_WATER) {
      prefixes.ask((shares) => {
        const advice = `Delete what is not needed, or raise ${QUOTA_FLAG}. The alarm clears itself below ${LOW_WATER} %.`;
        this.say('the alarm NOSPACE stands: nothing is added any more', { ...named(shares), advice });
      });
    }
    this.wasRaised = isRaised;
    if (!isRaised || isHeld) {
      this.mark = null;
      return;
    }
    if (percent >= LOW_WATER) this.compact();
    else if (!isDiskLow()) this.clear();
  }

  /** Removes history, so that what was deleted gives its room back. */
  private compact(): void {
    const { compact, compactRevision, compactsUnasked, isCompacting, logger, nowMs, revision } = this.parts;
    if (!compactsUnasked || this.isCompacting || isCompacting()) return;
    const mark = this.mark;
    if (mark === null || mark.revision <= compactRevision()) {
      // Either the first look, or somebody else has compacted; nothing is to be had where nothing has changed since.
      if (mark === null || revision() > compactRevision()) this.mark = { atMs: nowMs(), revision: revision() };
      return;
    }
    if (nowMs() - mark.atMs < HISTORY_KEPT_MS) return;
    this.isCompacting = true;
    this.mark = { atMs: nowMs(), revision: revision() };
    const fields = { revision: mark.revision, 'history-kept': `${HISTORY_KEPT_MS / 1000}s` };
    compact(mark.revision, (failure) => {
      this.isCompacting = false;
      if (failure === undefined) logger.log('warn', 'compacted history to get out of the alarm NOSPACE', fields);
      else logger.log('warn', 'failed to compact under the alarm NOSPACE', { ...fields, error: failure });
    });
  }

  private clear(): void {
    const { clear, logger } = this.parts;
    if (this.isClearing) return;
    this.isClearing = true;
    clear((failure) => {
      this.isClearing = false;
      if (failure === undefined) {
        this.clearedTotal++;
        logger.log('info', 'cleared the alarm NOSPACE: there is room again', this.figures());
      } else logger.log('warn', 'failed to clear the alarm NOSPACE', { error: failure });
    });
  }

  /** Gives the disk back what the store does not need any more. */
  private lookAtFile(): void {
    const { backend, defragmentPercent, isCompacting, isDiskLow, logger, nowMs } = this.parts;
    if (defragmentPercent === 0 || this.isDefragmenting || nowMs() < this.defragmentAtMs) return;
    if (isCompacting() || isDiskLow()) return;
    const size = backend.sizeBytes();
    const free = size - backend.inUseBytes();
    if (free < DEFRAGMENT_BYTES_MIN || free < (size * defragmentPercent) / 100) return;
    this.isDefragmenting = true;
    this.defragmentAtMs = nowMs() + DEFRAGMENT_PAUSE_MS;
    const before = { 'size-bytes': size, 'free-bytes': free };
    logger.log('info', 'giving free space of the store back to the disk', before);
    backend
      .defragment()
      .then(
        () => logger.log('info', 'gave free space back', { ...before, 'new-size-bytes': backend.sizeBytes() }),
        (error: Error) => logger.log('warn', 'failed to give free space back', { ...before, error: error.message }),
      )
      .finally(() => {
        this.isDefragmenting = false;
      });
  }

  private say(message: string, more: Record<string, unknown>): void {
    this.parts.logger.log('warn', message, { ...this.figures(), ...more });
  }

  private figures(): Record<string, unknown> {
    return { 'used-bytes': this.usedBytes, 'quota-bytes': this.parts.quotaBytes, flag: QUOTA_FLAG };
  }

  private roundedPercent(percent: number): number {
    return Math.ceil(percent);
  }
}

function named(shares: readonly PrefixShare[]): Record<string, unknown> {
  return { 'largest-prefixes': shares };
}
