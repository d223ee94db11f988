/** What to do about a log that is damaged, for the operator. */
export const ADVICE_DAMAGED =
  'Do not start this member on the damaged log: `etsdutl doctor` says what was lost, `etsdutl rebuild` fetches all from its ' +
  'peers; where there are none, restore a backup.';
