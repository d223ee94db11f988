import { errorFrom, type Logger, type U64 } from '@etsd/base';
import { AlarmType } from '@etsd/proto';
import type { World } from '@etsd/runtime';
import type { Alarms } from '@etsd/state';

export interface HeldAlarmParts {
  readonly disk: Pick<World['disk'], 'stat' | 'remove' | 'writeFileAtomic'>;
  /** The note; it exists while an operator holds the alarm. */
  readonly path: string;
  readonly alarms: Alarms;
  readonly memberId: U64;
  readonly logger: Logger;
}

const NOTE = Buffer.from('An operator has raised the alarm NOSPACE of this member: only an operator clears it.\n');

/**
 * Remembers over restarts that an operator has raised this member's NOSPACE alarm, which it must not clear by itself then.
 * The stored alarm is byte for byte etcd's and has no room for that, so a small file says it.
 */
export class HeldAlarm {
  private readonly parts: HeldAlarmParts;
  /** Changes of the file, one after the other. */
  private work: Promise<void> = Promise.resolve();

  constructor(parts: HeldAlarmParts) {
    this.parts = parts;
  }

  /** To be awaited before entries are applied. */
  async open(): Promise<void> {
    const { alarms, disk, memberId, path } = this.parts;
    if ((await disk.stat(path)) !== null) alarms.hold(memberId, AlarmType.NOSPACE);
    alarms.onOrdered = (member, type, isHeld) => {
      if (member === memberId && type === AlarmType.NOSPACE) this.note(isHeld);
    };
  }

  /** Resolves when the file says what was noted last. */
  settled(): Promise<void> {
    return this.work;
  }

  private note(isHeld: boolean): void {
    const { disk, logger, path } = this.parts;
    this.work = this.work
      .then(() => (isHeld ? disk.writeFileAtomic(path, NOTE) : disk.remove(path)))
      .catch((error: unknown) => {
        const fields = { path, error: errorFrom(error).message };
        logger.log('warn', 'failed to note who raised the alarm NOSPACE; a restart will not know it', fields);
      });
  }
}
