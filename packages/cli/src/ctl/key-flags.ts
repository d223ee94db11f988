import { type Flag, flag } from './flags.ts';

/** Flags of every command that opens or makes files which may be encrypted. */
export const KEY_FLAGS: readonly Flag[] = [
  flag('encryption-key-file', 'string', '', 'keys of encrypted files, one "NAME HEX" per line; the last one writes'),
  flag('encryption-key-command', 'string', '', 'instead of it: a line of the shell that prints what would stand in it'),
];
