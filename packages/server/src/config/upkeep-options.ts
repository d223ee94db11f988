/** Flags of etsd's own: what a member does unasked about its space, and about data that differs. */
import { OperatorError } from '@etsd/base';
import type { Option } from './options.ts';
import type { Value, ValueKind } from './values.ts';

function own(kind: ValueKind, name: string, fallback: string, help: string): Option {
  return { name, kind, fallback, status: 'active', section: 'Upkeep', help: `${help} Not in etcd.`, aliases: [] };
}

export const UPKEEP_OPTIONS: readonly Option[] = [
  own('boolean', 'compact-on-nospace', 'true', 'Under the alarm NOSPACE of this member, compact all but the last 5 s.'),
  own('unsigned', 'auto-defragment-percent', '50', 'Free part of the store at which it gives disk back; 0 is never.'),
  own('boolean', 'compare-members', 'true', 'Compare what this member holds with the others all the time.'),
  own('duration', 'state-check-time', '10m', 'Interval between two readings of the whole store; 0 is never.'),
];

/** What those flags say. */
export interface UpkeepConfig {
  readonly compactOnNoSpace: boolean;
  /** 0 is never. */
  readonly autoDefragmentPercent: number;
  readonly compareMembers: boolean;
  /** Milliseconds; 0 is never. */
  readonly stateCheckMs: number;
}

export function upkeepConfig(values: ReadonlyMap<string, Value>): UpkeepConfig {
  const autoDefragmentPercent = values.get('auto-defragment-percent') as number;
  if (autoDefragmentPercent > 100) throw new OperatorError('--auto-defragment-percent must be 100 at most');
  return {
    compactOnNoSpace: values.get('compact-on-nospace') as boolean,
    autoDefragmentPercent,
    compareMembers: values.get('compare-members') as boolean,
    stateCheckMs: values.get('state-check-time') as number,
  };
}
