import { EMPTY, type U64 } from '@etsd/base';
import { AlarmMember, AlarmType } from '@etsd/proto';
import type { BackendPort } from './ports.ts';

const ALARM = 'alarm';

/** Alarms raised by members and not yet cleared. They stand in the backend, so they survive a restart. */
export class Alarms {
  /** Some member is out of space: entries that would add data are refused while being applied, on every member alike. */
  noSpace = false;
  /** Some member's data differs: nothing is read or written any more. */
  corrupt = false;
  private raised: AlarmMember[] = [];
  private readonly backend: BackendPort;

  constructor(backend: BackendPort) {
    this.backend = backend;
    this.reload();
  }

  /** Reads what the backend says now. */
  reload(): void {
    this.raised = [];
    this.backend.scan(ALARM, null, null, (key) => {
      this.raised.push(AlarmMember.decode(Buffer.from(key)));
      return true;
    });
    this.update();
  }

  /** The alarms of one type, or all with `NONE`; ordered by type, then member. */
  list(type: number): AlarmMember[] {
    return this.raised.filter((alarm) => type === AlarmType.NONE || alarm.alarm === type);
  }

  /**
   * Raises an alarm and returns it, also where it was raised before. Null for types that are none: etcd's member stops
   * on those, which no client should be able to bring about.
   */
  activate(memberId: U64, type: number): AlarmMember | null {
    if (type !== AlarmType.NOSPACE && type !== AlarmType.CORRUPT) return null;
    const before = this.find(memberId, type);
    if (before !== undefined) return before;
    const alarm = AlarmMember.create({ memberID: memberId, alarm: type });
    this.raised.push(alarm);
    this.backend.put(ALARM, AlarmMember.encode(alarm), EMPTY);
    this.update();
    return alarm;
  }

  /** Clears an alarm and returns it; null where it was not raised. */
  deactivate(memberId: U64, type: number): AlarmMember | null {
    const alarm = this.find(memberId, type);
    if (alarm === undefined) return null;
    this.raised = this.raised.filter((other) => other !== alarm);
    this.backend.delete(ALARM, AlarmMember.encode(alarm));
    this.update();
    return alarm;
  }

  private find(memberId: U64, type: number): AlarmMember | undefined {
    return this.raised.find((alarm) => alarm.memberID === memberId && alarm.alarm === type);
  }

  private update(): void {
    this.raised.sort((a, b) => a.alarm - b.alarm || (a.memberID < b.memberID ? -1 : 1));
    this.noSpace = this.raised.some((alarm) => alarm.alarm === AlarmType.NOSPACE);
    this.corrupt = this.raised.some((alarm) => alarm.alarm === AlarmType.CORRUPT);
  }
}
