/** All commands, and finding the one that is meant. */
import type { Command } from './command.ts';
import { AUTH_COMMAND, ROLE_COMMAND, USER_COMMAND } from './commands/auth.ts';
import { CHECK_COMMAND } from './commands/check.ts';
import { CONCURRENCY_COMMANDS } from './commands/concurrency.ts';
import { ENDPOINT_COMMAND } from './commands/endpoint.ts';
import { COMPACTION_COMMAND, KV_COMMANDS } from './commands/kv.ts';
import { LEASE_COMMAND } from './commands/lease.ts';
import { ALARM_COMMAND, DEFRAG_COMMAND, DOWNGRADE_COMMAND } from './commands/maintenance.ts';
import { MAKE_MIRROR_COMMAND } from './commands/make-mirror.ts';
import { MEMBER_COMMAND, MOVE_LEADER_COMMAND } from './commands/member.ts';
import { SNAPSHOT_COMMAND } from './commands/snapshot.ts';
import { TXN_COMMAND } from './commands/txn.ts';
import { VERSION_COMMAND } from './commands/version.ts';
import { WATCH_COMMAND } from './commands/watch.ts';
import { completionScript, SHELLS } from './completion.ts';
import { Failure } from './failure.ts';
import { type Flag, nearest } from './flags.ts';
import { GLOBAL_FLAGS, HELP_FLAG } from './global-flags.ts';
import { globalOptions } from './help.ts';

const COMPLETION_COMMAND: Command = {
  name: 'completion',
  summary: 'Print a completion script for a shell',
  group: 'Other',
  examples: [
    ['For this shell (bash)', 'completion bash > /tmp/etsdctl && source /tmp/etsdctl'],
    ['For every shell (fish)', 'completion fish > ~/.config/fish/completions/etsdctl.fish'],
  ],
  commands: (Object.keys(SHELLS) as (keyof typeof SHELLS)[]).map((shell) => ({
    name: shell,
    summary: `Print the script for ${shell}`,
    run: (context) => context.write(completionScript(shell, COMMANDS, GLOBAL_FLAGS)),
  })),
};

const OPTIONS_COMMAND: Command = {
  name: 'options',
  summary: 'Print the flags that all commands have',
  group: 'Other',
  run: (context) => context.write(globalOptions(GLOBAL_FLAGS)),
};

export const COMMANDS: readonly Command[] = [
  ...KV_COMMANDS,
  TXN_COMMAND,
  WATCH_COMMAND,
  LEASE_COMMAND,
  ...CONCURRENCY_COMMANDS,
  ALARM_COMMAND,
  CHECK_COMMAND,
  COMPACTION_COMMAND,
  DEFRAG_COMMAND,
  DOWNGRADE_COMMAND,
  ENDPOINT_COMMAND,
  MAKE_MIRROR_COMMAND,
  MEMBER_COMMAND,
  MOVE_LEADER_COMMAND,
  SNAPSHOT_COMMAND,
  AUTH_COMMAND,
  ROLE_COMMAND,
  USER_COMMAND,
  COMPLETION_COMMAND,
  OPTIONS_COMMAND,
  VERSION_COMMAND,
];

export interface Found {
  /** Null where no command was named. */
  readonly command: Command | null;
  readonly path: readonly string[];
  /** All flags the command understands. */
  readonly flags: readonly Flag[];
  /** Of these, those of the command itself. */
  readonly ownFlags: readonly Flag[];
  /** The words that are left. */
  readonly words: readonly string[];
}

/** Whether the word is a flag whose value is the next word. */
function takesNext(word: string, flags: readonly Flag[]): boolean {
  if (word.includes('=')) return false;
  const known = word.startsWith('--')
    ? flags.find((each) => each.name === word.slice(2))
    : word.length === 2
      ? flags.find((each) => each.short === word[1])
      : undefined;
  return known !== undefined && known.kind !== 'bool';
}

/** The place of the first word that is neither a flag nor a flag's value; −1 without one. */
function firstArgument(words: readonly string[], flags: readonly Flag[]): number {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    if (word === '--') return -1;
    if (!word.startsWith('-') || word === '-') return at;
    if (takesNext(word, flags)) at++;
  }
  return -1;
}

/** A command by its name or by a beginning that no other one has. */
function named(commands: readonly Command[], word: string): Command | null {
  const exact = commands.find((command) => command.name === word);
  if (exact !== undefined) return exact;
  const beginning = commands.filter((command) => command.name.startsWith(word));
  return beginning.length === 1 ? (beginning[0] as Command) : null;
}

/** Finds the command. Throws `Failure` for a first word that is none. */
export function findCommand(all: readonly string[]): Found {
  let commands = COMMANDS;
  let flags: Flag[] = [...GLOBAL_FLAGS, HELP_FLAG];
  let ownFlags: Flag[] = [];
  let command: Command | null = null;
  let words = [...all];
  const path: string[] = [];
  while (commands.length > 0) {
    const at = firstArgument(words, flags);
    if (at < 0) break;
    const word = words[at] as string;
    const next = named(commands, word);
    if (next === null) {
      if (command !== null) break;
      const near = nearest(
        word,
        COMMANDS.map((each) => each.name),
      );
      const hint = near === null ? "Run 'etsdctl --help' for usage." : `did you mean ${near}?`;
      throw new Failure(1, `unknown command "${word}" for "etsdctl"`, hint);
    }
    words = [...words.slice(0, at), ...words.slice(at + 1)];
    command = next;
    path.push(next.name);
    ownFlags = [
      ...ownFlags.filter((flag) => path.length > 1 && flag !== HELP_FLAG),
      ...(next.sharedFlags ?? []),
      ...(next.flags ?? []),
    ];
    flags = [...flags, ...(next.sharedFlags ?? []), ...(next.flags ?? [])];
    commands = next.commands ?? [];
  }
  return { command, path, flags, ownFlags, words };
}
