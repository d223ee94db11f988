/** The text under `meta/confState`: the ConfState message as Go's JSON encoder writes it. */
import { CorruptionError, type U64, u64FromDecimal, u64ToDecimal } from '@etsd/base';
import { ConfState } from '@etsd/proto';

/** Fields that are empty are left out, but for `auto_leave`. */
export function confStateToJson(conf: ConfState): string {
  const parts: string[] = [];
  const list = (name: string, ids: readonly U64[]) => {
    if (ids.length > 0) parts.push(`"${name}":[${ids.map(u64ToDecimal).join(',')}]`);
  };
  list('voters', conf.voters);
  list('learners', conf.learners);
  list('voters_outgoing', conf.votersOutgoing);
  list('learners_next', conf.learnersNext);
  parts.push(`"auto_leave":${conf.autoLeave === true}`);
  return `{${parts.join(',')}}`;
}

/** Reads what `confStateToJson` or Go wrote. */
export function confStateFromJson(text: string): ConfState {
  const conf = new ConfState();
  const match = /^\s*\{(.*)\}\s*$/s.exec(text);
  if (match === null) {
    throw new CorruptionError('the stored configuration is no JSON object', 'meta/confState', 'Restore from a backup.');
  }
  // Ids exceed what a double can hold, so the numbers are taken from the text.
  const ids = (name: string): U64[] => {
    const list = new RegExp(`"${name}"\\s*:\\s*\\[([^\\]]*)\\]`).exec(text)?.[1] ?? '';
    return (list.match(/\d+/g) ?? []).map((digits) => u64FromDecimal(digits) as U64);
  };
  conf.voters = ids('voters');
  conf.learners = ids('learners');
  conf.votersOutgoing = ids('voters_outgoing');
  conf.learnersNext = ids('learners_next');
  conf.autoLeave = /"auto_leave"\s*:\s*true/.test(text);
  return conf;
}
