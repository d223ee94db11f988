/** Finding the command that is meant, and the commands that every program has. */
import type { Command, Program } from './command.ts';
import { completionScript, SHELLS } from './completion.ts';
import { Failure } from './failure.ts';
import { type Flag, nearest, overlaid } from './flags.ts';
import { HELP_FLAG } from './global-flags.ts';
import { globalOptions } from './help.ts';

/** Completion, and the page of global flags. */
export function generalCommands(program: () => Program): readonly Command[] {
  const shells = Object.keys(SHELLS) as (keyof typeof SHELLS)[];
  return [
    {
      name: 'completion',
      summary: 'Print a completion script for a shell',
      group: 'Other',
      description: 'The script holds all words itself, so that a tab is quick. Load it where the shell starts.',
      commands: shells.map((shell) => ({
        name: shell,
        summary: `Print the script for ${shell}`,
        run: (context) => context.write(completionScript(shell, program())),
      })),
    },
    {
      name: 'options',
      summary: 'Print the flags that all commands have',
      group: 'Other',
      run: (context) => context.write(globalOptions(program().globalFlags)),
    },
  ];
}

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
export function findCommand(program: Program, all: readonly string[]): Found {
  let { commands } = program;
  let flags: Flag[] = [...program.globalFlags, HELP_FLAG];
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
        program.commands.map((each) => each.name),
      );
      const hint = near === null ? `Run '${program.name} --help' for usage.` : `did you mean ${near}?`;
      throw new Failure(1, `unknown command "${word}" for "${program.name}"`, hint);
    }
    words = [...words.slice(0, at), ...words.slice(at + 1)];
    command = next;
    path.push(next.name);
    const added = [...(next.sharedFlags ?? []), ...(next.flags ?? [])];
    ownFlags = overlaid(
      ownFlags.filter((flag) => path.length > 1 && flag !== HELP_FLAG),
      added,
    );
    flags = overlaid(flags, added);
    commands = next.commands ?? [];
  }
  return { command, path, flags, ownFlags, words };
}
