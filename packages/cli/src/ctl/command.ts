/** What a command is: words, flags, help, and what it does. */
import type { Context } from './context.ts';
import type { Flag } from './flags.ts';

export interface Command {
  readonly name: string;
  /** One line, as in the list of commands. */
  readonly summary: string;
  /** Its arguments as the usage line shows them. */
  readonly usage?: string;
  readonly description?: string;
  /** What it is for, and what to type. */
  readonly examples?: readonly (readonly [string, string])[];
  readonly flags?: readonly Flag[];
  /** Flags that the commands below have too. */
  readonly sharedFlags?: readonly Flag[];
  /** Heading in the list of all commands. */
  readonly group?: string;
  readonly commands?: readonly Command[];
  run?(context: Context): Promise<void> | void;
}

/** How many words beside flags a command takes, by its usage line; what is not mentioned there is not looked at. */
export function argumentsMax(usage: string): number {
  const words = usage.replace(/--[a-z-]+[= ]\S+/g, '');
  if (words.includes('…')) return Number.POSITIVE_INFINITY;
  return words.split(' ').filter((word) => /[A-Za-z]/.test(word)).length;
}

/** A program made of commands. */
export interface Program {
  readonly name: string;
  /** What it is for, as the first line of its help. */
  readonly summary: string;
  readonly commands: readonly Command[];
  /** What every command understands, beside `--help`. */
  readonly globalFlags: readonly Flag[];
  /** Headings of the list of commands, in order. */
  readonly groups: readonly string[];
  readonly examples: readonly string[];
}
