import { OPTIONS } from '@etsd/server';
import type { Program } from '../ctl/command.ts';
import { completionScript, SHELLS } from '../ctl/completion.ts';
import { type FlagKind, flag } from '../ctl/flags.ts';

const KINDS: Readonly<Record<string, FlagKind>> = { boolean: 'bool', unsigned: 'uint', duration: 'duration' };

/** `etsd` in the form of the programs that are made of commands: all flags, and a word of its own. */
export const ETSD: Program = {
  name: 'etsd',
  summary: 'etsd runs one member of a cluster that keeps keys and values as etcd does.',
  commands: [
    {
      name: 'completion',
      summary: 'Print a completion script for a shell',
      commands: Object.keys(SHELLS).map((shell) => ({ name: shell, summary: `Print the script for ${shell}` })),
    },
  ],
  globalFlags: [
    ...OPTIONS.map(({ name, kind, fallback, help }) => flag(name, KINDS[kind] ?? 'string', fallback, help)),
    flag('config-file', 'string', '', 'Settings in YAML; other flags and the environment do not count then.'),
    flag('version', 'bool', 'false', 'Show the version.'),
    flag('help', 'bool', 'false', 'Show every flag.'),
  ],
  groups: [],
  examples: ['--name m1 --data-dir m1.etcd'],
};

/** The script for a shell; undefined for a word that names none. */
export function etsdCompletion(shell: string): string | undefined {
  return Object.hasOwn(SHELLS, shell) ? completionScript(shell as keyof typeof SHELLS, ETSD) : undefined;
}
