import { OperatorError } from '@etsd/base';
import { findOption, nearestOption, readValue } from '@etsd/server';

/** What a command line asks for. */
export interface Arguments {
  readonly help: boolean;
  readonly version: boolean;
  readonly configFile: string;
  /** Flags given, by name as written, with their text. */
  readonly flags: ReadonlyMap<string, string>;
  /** Words that are no flags; etsd takes none. */
  readonly rest: readonly string[];
}

/** The command line was wrong in form; the message says how, as Go's flag package does. Exit status 2. */
export class UsageError extends OperatorError {}

/**
 * Reads a command line by the rules of Go's flag package, which etcd follows: one dash or two, `-flag value` or
 * `-flag=value`, a boolean without a value is true, and the first word that is no flag (or `--`) ends the flags.
 */
export function parseArguments(words: readonly string[]): Arguments {
  const flags = new Map<string, string>();
  let help = false;
  let version = false;
  let configFile = '';
  let at = 0;
  while (at < words.length) {
    const word = words[at] as string;
    if (word === '--') {
      at++;
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(word);
    if (match === null) {
      if (/^-./.test(word)) throw new UsageError(`bad flag syntax: ${word}`);
      break;
    }
    at++;
    const name = match[1] as string;
    let text = match[2];
    if (name === 'h' || name === 'help') {
      help = true;
      continue;
    }
    const boolean = name === 'version' || findOption(name)?.kind === 'boolean';
    if (name !== 'version' && name !== 'config-file' && findOption(name) === undefined) throw unknownFlag(name);
    if (text === undefined) {
      if (boolean) text = 'true';
      else if (at < words.length) text = words[at++] as string;
      else throw new UsageError(`flag needs an argument: -${name}`);
    }
    if (name === 'version') version = text !== 'false';
    else if (name === 'config-file') configFile = text;
    else {
      checkValue(name, text);
      flags.set(name, text);
    }
  }
  return { help, version, configFile, flags, rest: words.slice(at) };
}

function unknownFlag(name: string): UsageError {
  const nearest = nearestOption(name);
  const hint = nearest === undefined ? 'etsd --help lists every flag.' : `Did you mean --${nearest}?`;
  return new UsageError(`flag provided but not defined: -${name}`, hint);
}

function checkValue(name: string, text: string): void {
  try {
    readValue(name, text);
  } catch (error) {
    if (error instanceof OperatorError) throw new UsageError(error.message, error.advice);
    throw error;
  }
}
