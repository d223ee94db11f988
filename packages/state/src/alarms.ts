import { EMPTY, type U64 } from '@etsd/base';
import { AlarmMember, AlarmType } from '@etsd/proto';
import type { BackendPort } from './ports.ts';

const ALARM = 'alarm';

/**
 * Behind an AlarmRequest in the log: the member itself raised it and will clear it, not an operator. A field that etcd's
 * members pass over (number 15, a varint). No request of a client can end like this: what it has besides the known fields
 * is left out when it is written into the log.
 */
export const RAISED_BY_MEMBER: Buffer = Buffer.from([0x78, 0x01]);

/** Alarms raised by members and not yet cleared. They stand in the backend, so they survive a restart. */
export class Alarms {
  /** Some member is out of space: entries that would add data are refused while being applied, on every member alike. */
  noSpace = false;
  /** Some member's data differs: nothing is read or written any more. */
  corrupt = false;
  /** Is told when an operator raises or clears an alarm that members might else clear themselves. */
  onOrdered: ((memberId: U64, type: number, isHeld: boolean) => void) | null = null;
  private raised: AlarmMember[] = [];
  /** Those among them that an operator has raised, as far as that is known: `member/type`. */
  private readonly held = new Set<string>();
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
   * on those, which no client should be able to bring about. `isOrdered`: by an operator, who alone may clear it then.
   */
  activate(memberId: U64, type: number, isOrdered = false): AlarmMember | null {
    if (type !== AlarmType.NOSPACE && type !== AlarmType.CORRUPT) return null;
    if (isOrdered) {
      this.hold(memberId, type);
      this.onOrdered?.(memberId, type, true);
    }
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
    if (this.held.delete(`${memberId}/${type}`)) this.onOrdered?.(memberId, type, false);
    this.update();
    return alarm;
  }

  /** Whether the alarm stands because an operator wants it. */
  isHeld(memberId: U64, type: number): boolean {
    return this.held.has(`${memberId}/${type}`) && this.find(memberId, type) !== undefined;
  }

  /** Notes that an operator wants the alarm: the stored state does not say who raised it, whoever starts may know. */
  hold(memberId: U64, type: number): void {
    this.held.add(`${memberId}/${type}`);
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
