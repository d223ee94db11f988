/**
 * Goal: a tab does in each shell what it should. Method: the real shells read the script; zsh is typed to on a terminal,
 * where `etsdctl` is a function that prints what was made of the line, and fish tells what it would offer.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { completionScript } from './completion.ts';
import { ETSDCTL } from './program.ts';

/** Beginnings of lines, and what a tab makes of them. */
const LINES: readonly (readonly [typed: string, completed: string])[] = [
  ['compl', 'completion'],
  ['lease rev', 'lease revoke'],
  ['check p', 'check perf'],
  ['get --pre', 'get --prefix'],
  ['--hex lease keep-alive --onc', '--hex lease keep-alive --once'],
  ['put --endp', 'put --endpoints'],
  ['user add --no-p', 'user add --no-password'],
];

/** Types each line, a tab and the end of the line, and prints what the function got. */
const TYPE_INTO_ZSH = `
  zmodload zsh/zpty
  zpty shell 'zsh -f -i'
  zpty -w shell "PS1=''; autoload -U compinit; compinit -u -d $1/dump; source $1/script; setopt no_beep"
  zpty -w shell "etsdctl() { print -r -- \\"<<\\$*>>\\" }; print RE''ADY"
  while zpty -r shell line; do [[ $line == *READY* ]] && break; done
  folder=$1
  shift
  for typed; do
    zpty -w -n shell "etsdctl \${typed/FOLDER/$folder}"$'\\t\\n'
    while zpty -r shell line; do [[ $line == *'<<'*'>>'* ]] && { print -r -- $line; break }; done
  done
  zpty -d shell
`;

const isMissing = (shell: string): string | false => spawnSync(shell, ['-c', '']).error !== undefined && `no ${shell}`;

/** What the shell prints that runs this program, with a folder of its own as the first argument. */
function run(shell: string, program: (folder: string) => string, ...args: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-completion-'));
  try {
    // Scripts of this length fit into no argument.
    const path = join(folder, 'program');
    writeFileSync(path, program(folder));
    const { stdout, stderr, status } = spawnSync(shell, [path, folder, ...args], { encoding: 'utf8', timeout: 60_000 });
    assert.equal(status, 0, stderr);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('zsh completes commands and flags, and offers no files where a command follows', {
  skip: isMissing('zsh'),
}, () => {
  const program = (folder: string): string => {
    writeFileSync(join(folder, 'script'), completionScript('zsh', ETSDCTL));
    return TYPE_INTO_ZSH;
  };
  const printed = run('zsh', program, ...LINES.map(([typed]) => typed), 'snapshot save FOLDER/scr');
  const got = [...printed.matchAll(/<<(.*)>>/g)].map((match) => match[1]);
  assert.match(got.pop() ?? '', /^snapshot save \/.*\/script$/);
  assert.deepEqual(
    got,
    LINES.map(([, completed]) => completed),
  );
});

test('fish completes commands and flags', { skip: isMissing('fish') }, () => {
  const offers = LINES.map(([typed]) => `complete -C 'etsdctl ${typed}'; echo END`).join('\n');
  const printed = run('fish', () => `${completionScript('fish', ETSDCTL)}\n${offers}`);
  const first = printed.split('\nEND\n').map((offer) => offer.split('\t')[0]);
  assert.deepEqual(
    first.slice(0, LINES.length),
    LINES.map(([, completed]) => completed.split(' ').at(-1)),
  );
});
