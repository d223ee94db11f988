import { errorFrom, type Logger } from '@etsd/base';
import { EtcdError, GrpcCode } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import type { Difference } from './compare.ts';

/** Why this member is in quarantine: what stands in the note on disk. */
export interface QuarantineReason {
  readonly what: 'changes' | 'state';
  readonly fromRevision: number;
  readonly toRevision: number;
}

export interface QuarantineParts {
  readonly disk: Pick<World['disk'], 'readFile' | 'stat' | 'remove' | 'writeFileAtomic'>;
  /** The note; it exists while the quarantine lasts, also over restarts. */
  readonly path: string;
  readonly logger: Logger;
  /** Is told when the quarantine begins or ends. */
  readonly changed: (isQuarantined: boolean) => void;
}

/**
 * Whether this member may serve what it holds. In quarantine it refuses reads and writes with an error that lets clients
 * turn to another member; its log goes on, for that is not in doubt, and with it the majorities of the cluster.
 */
export class Quarantine {
  /** What clients are told; null where this member serves. */
  refusal: EtcdError | null = null;
  /** The stored state was seen to change by itself; told to operators, and not a quarantine by itself. */
  isDamaged = false;
  private reason: QuarantineReason | null = null;
  private readonly parts: QuarantineParts;

  constructor(parts: QuarantineParts) {
    this.parts = parts;
  }

  get isOn(): boolean {
    return this.refusal !== null;
  }

  /** Whether operators should see the alarm CORRUPT for this member. */
  get isAlarmed(): boolean {
    return this.isOn || this.isDamaged;
  }

  /** Reads the note of a former life. To be awaited before clients are served. */
  async open(): Promise<void> {
    const { disk, logger, path } = this.parts;
    if ((await disk.stat(path)) === null) return;
    const reason = readReason(await disk.readFile(path));
    logger.log('warn', 'this member is still in quarantine', { ...reason });
    this.enter(reason);
  }

  /** Nothing is served from this moment on; resolves when that survives a restart. */
  async begin({ what, fromRevision, toRevision, others }: Difference): Promise<void> {
    const { disk, logger, path } = this.parts;
    const reason: QuarantineReason = { what, fromRevision, toRevision };
    logger.log('error', 'this member differs from the majority of its cluster and goes into quarantine', {
      differs: what,
      'from-revision': fromRevision,
      'to-revision': toRevision,
      'members-that-agree': others,
      advice: 'It takes the state of another member by itself. Should it happen again, look at its memory and disk.',
    });
    this.enter(reason);
    try {
      await disk.writeFileAtomic(path, Buffer.from(`${JSON.stringify(reason)}\n`));
    } catch (error) {
      logger.log('warn', 'failed to note the quarantine; a restart will not know it', {
        path,
        error: errorFrom(error).message,
      });
    }
  }

  /** The state is that of another member now, durably. */
  async end(): Promise<void> {
    const { changed, disk, logger, path } = this.parts;
    await disk.remove(path);
    this.refusal = null;
    this.reason = null;
    this.isDamaged = false;
    logger.log('info', 'this member left its quarantine: its state is that of the majority');
    changed(false);
  }

  private enter(reason: QuarantineReason): void {
    this.reason = reason;
    this.refusal = new EtcdError(GrpcCode.Unavailable, this.describe());
    this.parts.changed(true);
  }

  /** In words, for clients and operators. */
  describe(): string {
    const { reason } = this;
    const range = reason === null ? '' : ` in revisions ${reason.fromRevision} to ${reason.toRevision}`;
    return `etcdserver: this member differs from the majority${range} and is in quarantine`;
  }
}

function readReason(bytes: Buffer): QuarantineReason {
  try {
    const { what, fromRevision, toRevision } = JSON.parse(bytes.toString('utf8')) as Partial<QuarantineReason>;
    if (Number.isSafeInteger(fromRevision) && Number.isSafeInteger(toRevision)) {
      const kind = what === 'state' ? 'state' : 'changes';
      return { what: kind, fromRevision: fromRevision as number, toRevision: toRevision as number };
    }
  } catch {
    // A note that cannot be read still says that there was one.
  }
  return { what: 'state', fromRevision: 0, toRevision: 0 };
}
