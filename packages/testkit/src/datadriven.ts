/**
 * Transcripts as tests: a text file holds commands and what they are expected to print.
 *
 *     # a comment
 *     put key=(a, b) loud
 *     lines of input
 *     ----
 *     what comes out
 *
 * A case ends at an empty line; output that has empty lines itself stands between `----` `----` and the same again.
 * `REWRITE=1` in the environment writes what came out into the file, to be read as a diff.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

/** One command of a transcript. */
export class Command {
  readonly name: string;
  /** Values by key; an argument without value has none. Several values stand in parentheses. */
  readonly args: ReadonlyMap<string, readonly string[]>;
  readonly input: string;
  /** File and line, for messages. */
  readonly place: string;

  constructor(name: string, args: ReadonlyMap<string, readonly string[]>, input: string, place: string) {
    this.name = name;
    this.args = args;
    this.input = input;
    this.place = place;
  }

  has(key: string): boolean {
    return this.args.has(key);
  }

  /** The only value of an argument. */
  text(key: string, otherwise?: string): string {
    const values = this.args.get(key);
    if (values === undefined && otherwise !== undefined) return otherwise;
    assert.equal(values?.length, 1, `${this.place}: ${this.name} needs one value for ${key}`);
    return (values as readonly string[])[0] as string;
  }

  number(key: string, otherwise?: number): number {
    const text = this.text(key, otherwise?.toString());
    const value = Number(text);
    assert.ok(text !== '' && !Number.isNaN(value), `${this.place}: ${key}=${text} is no number`);
    return value;
  }

  /** All values of an argument; none if it is not there. */
  list(key: string): readonly string[] {
    return this.args.get(key) ?? [];
  }
}

interface Case {
  /** The lines before the output, as they stand in the file. */
  readonly head: readonly string[];
  readonly command: Command | null;
  readonly expected: string;
}

function isSet(name: string): boolean {
  return (process.env[name] ?? '') !== '';
}

/** Runs every command of the transcript at `path`; what `handle` gives is compared with the file. */
export async function runTranscript(
  path: string,
  handle: (command: Command) => string | Promise<string>,
): Promise<void> {
  const cases = parseTranscript(readFileSync(path, 'utf8'), path);
  const written: string[] = [];
  for (const { head, command, expected } of cases) {
    written.push(...head);
    if (command === null) continue;
    const actual = withNewline(await handle(command));
    if (!isSet('REWRITE')) assert.equal(actual, expected, `${command.place}: ${command.name}`);
    written.push(...outputLines(actual));
  }
  if (isSet('REWRITE')) writeFileSync(path, `${written.join('\n').trimEnd()}\n`);
}

function withNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

function outputLines(output: string): string[] {
  const lines = output === '' ? [] : output.slice(0, -1).split('\n');
  if (!lines.includes('')) return ['----', ...lines, ''];
  return ['----', '----', ...lines, '----', '----', ''];
}

/** Takes a transcript apart. */
export function parseTranscript(text: string, path: string): Case[] {
  const lines = text.split('\n');
  const cases: Case[] = [];
  let head: string[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] as string;
    head.push(line);
    at++;
    if (line.trim() === '' || line.startsWith('#')) continue;
    const place = `${path}:${at}`;
    const input: string[] = [];
    while (at < lines.length && lines[at] !== '----') input.push(lines[at++] as string);
    assert.ok(at < lines.length, `${place}: no ---- follows`);
    head.push(...input);
    const output = readOutput(lines, at + 1);
    const command = new Command(...parseCommand(line, place), input.join('\n'), place);
    cases.push({ head, command, expected: output.text });
    at = output.next;
    head = [];
  }
  if (head.length > 0) cases.push({ head, command: null, expected: '' });
  return cases;
}

function readOutput(lines: readonly string[], start: number): { text: string; next: number } {
  const isFenced = lines[start] === '----';
  const from = isFenced ? start + 1 : start;
  let at = from;
  const isEnd = (): boolean => (isFenced ? lines[at] === '----' && lines[at + 1] === '----' : lines[at] === '');
  while (at < lines.length && !isEnd()) at++;
  const text = at === from ? '' : `${lines.slice(from, at).join('\n')}\n`;
  return { text, next: at + (isFenced ? 3 : 1) };
}

function parseCommand(line: string, place: string): [string, Map<string, readonly string[]>] {
  const words = line.match(/[^\s=]+=\([^)]*\)|\S+/g) ?? [];
  const name = words[0];
  assert.ok(name !== undefined, `${place}: no command`);
  const args = new Map<string, readonly string[]>();
  for (const word of words.slice(1)) {
    const equals = word.indexOf('=');
    const key = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? null : word.slice(equals + 1);
    if (value === null) args.set(key, []);
    else if (value.startsWith('('))
      args.set(
        key,
        value
          .slice(1, -1)
          .split(/[\s,]+/)
          .filter((part) => part !== ''),
      );
    else args.set(key, [value]);
  }
  return [name, args];
}
