/**
 * Goal: nothing that can be typed for etcd's tools is unknown to ours. Method: the help of the real programs is read
 * command by command, and every command and flag in it, with its default, is looked up among ours. What came after the
 * version at hand is in a list.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { findPeerProgram, needsPeer } from '@etsd/testkit';
import type { Program } from '../../packages/cli/src/ctl/command.ts';
import type { Flag } from '../../packages/cli/src/ctl/flags.ts';
import { ETSDCTL } from '../../packages/cli/src/ctl/program.ts';
import { findCommand } from '../../packages/cli/src/ctl/tree.ts';
import { ETSDUTL } from '../../packages/cli/src/utl/program.ts';

interface TheirFlag {
  readonly name: string;
  readonly short: string;
  /** As shown, without quotes; null where the help shows none. */
  readonly fallback: string | null;
}

function helpOf(program: string, words: readonly string[]): string {
  const { stderr, stdout } = spawnSync(findPeerProgram(program) as string, [...words, '--help'], { encoding: 'utf8' });
  return stdout === '' ? stderr : stdout;
}

/** etcdctl shows `-w, --write-out="simple"`, etcdutl `-w, --write-out string   set … (default "simple")`. */
function flagsIn(help: string): TheirFlag[] {
  const flags: TheirFlag[] = [];
  for (const line of help.split('\n')) {
    const match = /^\s+(?:-(\w), |\s{4})?--([a-z][a-z-]*)(?:\[?=("[^"]*"|\[[^\]]*\]|[^\s\]]*)\]?)?/.exec(line);
    if (match === null || match[2] === 'help') continue;
    const shown = match[3] ?? /\(default ("[^"]*"|\S+)\)/.exec(line)?.[1] ?? null;
    flags.push({
      name: match[2] as string,
      short: match[1] ?? '',
      fallback: shown === null ? null : shown.replace(/^["[]|["\]]$/g, ''),
    });
  }
  return flags;
}

/** `lease grant` and the like: etcdctl lists all of them at once, etcdutl level by level. */
function commandsOf(program: string, path: readonly string[] = []): string[][] {
  const help = helpOf(program, path);
  const whole = /COMMANDS:\n([\s\S]*?)\n\n/.exec(help)?.[1];
  if (whole !== undefined && path.length === 0) {
    return whole.split('\n').map((line) => (line.trim().split('\t')[0] as string).trim().split(' '));
  }
  const below = /Available Commands:\n([\s\S]*?)\n\n/.exec(help)?.[1];
  if (below === undefined) return [[...path]];
  return below.split('\n').flatMap((line) => commandsOf(program, [...path, line.trim().split(/\s+/)[0] as string]));
}

/** Offered by cobra for completion scripts that ask the program; ours hold all words themselves. */
const NOT_OURS: readonly string[] = ['no-descriptions'];
/** Files of etcd's own, which ours does not open. */
const ETCD_FILES: readonly string[] = ['backup', 'check v2store', 'snapshot hashkv'];

interface Lookup {
  readonly missing: string[];
  commands: number;
  flags: number;
}

function lookUp(ours: Program, theirs: string): Lookup {
  const result: Lookup = { missing: [], commands: 0, flags: 0 };
  for (const path of commandsOf(theirs)) {
    const line = path.join(' ');
    if (line === 'help' || ETCD_FILES.includes(line)) continue;
    const found = findCommand(ours, path);
    if (found.command === null || found.path.join(' ') !== line) {
      result.missing.push(`${theirs} ${line}`);
      continue;
    }
    result.commands++;
    for (const flag of flagsIn(helpOf(theirs, path))) {
      if (NOT_OURS.includes(flag.name)) continue;
      result.flags++;
      const problem = problemOf(flag, found.flags);
      if (problem !== null) result.missing.push(`${theirs} ${line}: ${problem}`);
    }
  }
  return result;
}

function problemOf(flag: TheirFlag, known: readonly Flag[]): string | null {
  const same = known.find((each) => each.name === flag.name);
  if (same === undefined) return `--${flag.name} is missing`;
  if ((same.short ?? '') !== flag.short) return `--${flag.name} is -${flag.short} in short`;
  if (flag.fallback !== null && same.fallback !== flag.fallback) {
    return `--${flag.name} is ${flag.fallback} by default, not ${same.fallback}`;
  }
  return null;
}

for (const [name, ours] of [
  ['etcdctl', ETSDCTL],
  ['etcdutl', ETSDUTL],
] as const) {
  test(`every command and flag of ${name} is one of ${ours.name}`, { skip: needsPeer(name) }, (context) => {
    const { commands, flags, missing } = lookUp(ours, name);
    context.diagnostic(`${commands} commands and ${flags} flags of ${name} looked up`);
    assert.deepEqual(missing, []);
    assert.ok(commands > 4 && flags > 4, 'the help was understood');
  });
}

/** Flags that etcd's tools got after 3.5. */
const LATER: readonly (readonly [program: Program, command: string, flags: readonly string[]])[] = [
  [ETSDCTL, 'get', ['max-request-bytes', 'max-recv-bytes', 'auth-jwt-token']],
  [ETSDCTL, 'get', ['min-create-rev', 'max-create-rev', 'min-mod-rev', 'max-mod-rev', 'stream']],
  [ETSDCTL, 'del', ['range']],
  [ETSDCTL, 'member list', ['consistency']],
  [ETSDCTL, 'make-mirror', ['rev', 'max-txn-ops']],
  [ETSDCTL, 'downgrade validate', []],
  [ETSDCTL, 'downgrade enable', []],
  [ETSDCTL, 'downgrade cancel', []],
  [ETSDCTL, 'options', []],
  [ETSDUTL, 'hashkv', ['rev']],
  [ETSDUTL, 'migrate', ['data-dir', 'target-version', 'force']],
  [ETSDUTL, 'snapshot restore', ['bump-revision', 'mark-compacted', 'initial-memory-map-size']],
];

test('commands and flags of later versions of etcd are there, too', () => {
  for (const [program, command, flags] of LATER) {
    const found = findCommand(program, command.split(' '));
    assert.equal(found.path.join(' '), command);
    for (const name of flags) {
      assert.ok(
        found.flags.some((flag) => flag.name === name),
        `${program.name} ${command} --${name}`,
      );
    }
  }
});
