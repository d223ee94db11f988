/** Flags in the manner of etcdctl: long ones with one or two words, short ones, in any place; `--` ends them. */
import { Failure } from './failure.ts';
import { parseDuration, quote, syntaxError } from './go.ts';

export type FlagKind = 'bool' | 'string' | 'int' | 'uint' | 'duration' | 'list';

export interface Flag {
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  /** As it would be written. */
  readonly fallback: string;
  readonly help: string;
}

export function flag(name: string, kind: FlagKind, fallback: string, help: string, short?: string): Flag {
  return short === undefined ? { name, kind, fallback, help } : { name, kind, fallback, help, short };
}

/** Both, but of a name that is in both only the one behind: a command below another has its own word for it. */
export function overlaid(flags: readonly Flag[], added: readonly Flag[]): Flag[] {
  const names = new Set(added.map((flag) => flag.name));
  return [...flags.filter((flag) => !names.has(flag.name)), ...added];
}

/** The values of the flags of one command, checked when they were given. */
export class FlagValues {
  private readonly flags: ReadonlyMap<string, Flag>;
  private readonly given = new Map<string, string>();

  constructor(flags: Iterable<Flag>) {
    this.flags = new Map([...flags].map((each) => [each.name, each]));
  }

  /** Whether the command has the flag. */
  knows(name: string): boolean {
    return this.flags.has(name);
  }

  /** Whether the flag was given, if only with its default. */
  isGiven(name: string): boolean {
    return this.given.has(name);
  }

  /** Sets a flag from text. Throws `Failure` where the text does not fit. */
  set(name: string, text: string): void {
    const known = this.flags.get(name) as Flag;
    const problem = problemOf(known.kind, text);
    if (problem !== null) {
      const shown = known.short === undefined ? `--${name}` : `-${known.short}, --${name}`;
      throw new Failure(
        1,
        `invalid argument ${quote(Buffer.from(text))} for "${shown}" flag: ${problem}`,
        example(known),
      );
    }
    const before = this.given.get(name);
    this.given.set(name, known.kind === 'list' && before !== undefined ? `${before},${text}` : text);
  }

  text(name: string): string {
    return this.given.get(name) ?? (this.flags.get(name) as Flag).fallback;
  }

  flag(name: string): boolean {
    return TRUE.has(this.text(name));
  }

  number(name: string): number {
    return Number(this.text(name).replaceAll('_', ''));
  }

  milliseconds(name: string): number {
    return parseDuration(this.text(name)) as number;
  }

  /** A time to wait for something, at most as long as timers can. Throws `Failure` that names the flag below 0. */
  waitMs(name: string): number {
    const ms = this.milliseconds(name);
    if (ms >= 0) return Math.min(ms, WAIT_MS_MAX);
    const shown = quote(Buffer.from(this.text(name)));
    throw new Failure(1, `invalid argument ${shown} for "--${name}" flag: a time below zero`, `write --${name}=5s`);
  }

  list(name: string): string[] {
    const text = this.text(name);
    return text === '' ? [] : text.split(',');
  }
}

/** Almost 25 days; JavaScript's timers that are to wait longer do not wait at all. */
const WAIT_MS_MAX = 2 ** 31 - 1;

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

function problemOf(kind: FlagKind, text: string): string | null {
  switch (kind) {
    case 'bool':
      return TRUE.has(text) || FALSE.has(text) ? null : syntaxError('ParseBool', text);
    case 'int':
      return /^[+-]?(\d+|0[xX][0-9a-fA-F]+)$/.test(text) ? null : syntaxError('ParseInt', text);
    case 'uint':
      return /^(\d+|0[xX][0-9a-fA-F]+)$/.test(text) ? null : syntaxError('ParseUint', text);
    case 'duration':
      return durationProblem(text);
    default:
      return null;
  }
}

function durationProblem(text: string): string | null {
  if (parseDuration(text) !== undefined) return null;
  const shown = quote(Buffer.from(text));
  if (/(^|[a-zµμ])[+-]?\d*\.?\d+$/.test(text)) return `time: missing unit in duration ${shown}`;
  const unit = /^[+-]?[\d.]+([^\d.]+)/.exec(text)?.[1];
  if (unit !== undefined && parseDuration(`1${unit}`) === undefined) {
    return `time: unknown unit ${quote(Buffer.from(unit))} in duration ${shown}`;
  }
  return `time: invalid duration ${shown}`;
}

const EXAMPLES: Record<FlagKind, string> = {
  bool: '',
  string: 'TEXT',
  int: '10',
  uint: '10',
  duration: '5s',
  list: 'A,B',
};

/** The right form of a flag, for whoever got it wrong. */
function example(known: Flag): string {
  return known.kind === 'bool'
    ? `write --${known.name} or --${known.name}=false`
    : `write --${known.name}=${EXAMPLES[known.kind]}`;
}

export interface Parsed {
  readonly values: FlagValues;
  readonly args: string[];
  /** How many of `args` came before `--`; −1 without one. */
  readonly beforeDash: number;
}

/** Reads the words behind a command. Throws `Failure` that names the flag. */
export function parseFlags(words: readonly string[], flags: readonly Flag[]): Parsed {
  const values = new FlagValues(flags);
  const args: string[] = [];
  let beforeDash = -1;
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    if (word === '--') {
      beforeDash = args.length;
      args.push(...words.slice(at + 1));
      break;
    }
    if (word.length < 2 || word[0] !== '-') args.push(word);
    else if (word.startsWith('--')) at += takeLong(word.slice(2), words[at + 1], values, flags);
    else at += takeShort(word.slice(1), words[at + 1], values, flags);
  }
  return { values, args, beforeDash };
}

/** How many further words the flag took. */
function takeLong(word: string, next: string | undefined, values: FlagValues, flags: readonly Flag[]): number {
  const equals = word.indexOf('=');
  const name = equals < 0 ? word : word.slice(0, equals);
  if (name === '' || name.startsWith('-'))
    throw new Failure(1, `bad flag syntax: --${word}`, 'write --flag or --flag=value');
  const known = flags.find((each) => each.name === name);
  if (known === undefined) throw new Failure(1, `unknown flag: --${name}`, suggestion(name, flags));
  if (equals >= 0) values.set(name, word.slice(equals + 1));
  else if (known.kind === 'bool') values.set(name, 'true');
  else if (next === undefined) throw new Failure(1, `flag needs an argument: --${name}`, example(known));
  else {
    values.set(name, next);
    return 1;
  }
  return 0;
}

function takeShort(letters: string, next: string | undefined, values: FlagValues, flags: readonly Flag[]): number {
  for (let at = 0; at < letters.length; at++) {
    const letter = letters[at] as string;
    const known = flags.find((each) => each.short === letter);
    if (known === undefined) {
      const hint = 'a value or command that begins with "-" goes behind "--"';
      throw new Failure(1, `unknown shorthand flag: ${`'${letter}'`} in -${letters}`, hint);
    }
    const rest = letters.slice(at + 1);
    if (rest.startsWith('=')) {
      values.set(known.name, rest.slice(1));
      return 0;
    }
    if (known.kind === 'bool') values.set(known.name, 'true');
    else if (rest !== '') {
      values.set(known.name, rest);
      return 0;
    } else if (next === undefined) {
      throw new Failure(1, `flag needs an argument: '${letter}' in -${letters}`, example(known));
    } else {
      values.set(known.name, next);
      return 1;
    }
  }
  return 0;
}

function suggestion(name: string, flags: readonly Flag[]): string {
  const near = nearest(
    name,
    flags.map((each) => each.name),
  );
  return near === null ? '--help lists the flags there are' : `did you mean --${near}?`;
}

/** The word that differs least, if it differs little. */
export function nearest(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const each of known) {
    const distance = each.startsWith(word) ? 1 : editDistance(word, each);
    if (distance < bestDistance) {
      best = each;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_unused, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const cost = left[i - 1] === right[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + cost));
    }
    row = next;
  }
  return row[right.length] as number;
}
