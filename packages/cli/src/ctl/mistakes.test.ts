/**
 * Goal: every mistake in a flag or argument of any command is answered with a message that names it and with the right
 * form. Method: all commands are walked, and every mistake that their flags and arguments allow is made.
 */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { ETSDUTL } from '../utl/program.ts';
import { argumentsMax, type Command, type Program } from './command.ts';
import { run } from './main.ts';
import { ETSDCTL } from './program.ts';
import { findCommand } from './tree.ts';

interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function typed(program: Program, words: readonly string[]): Promise<Answer> {
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end();
  const env = { ETCDCTL_ENDPOINTS: 'no-endpoint' };
  const code = await run(program, words, { env, stdin: stdin as never, stdout, stderr });
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

function leaves(commands: readonly Command[], path: readonly string[] = []): [string[], Command][] {
  return commands.flatMap((command) => {
    const at = [...path, command.name];
    return command.commands === undefined ? [[at, command] as [string[], Command]] : leaves(command.commands, at);
  });
}

function assertNamed({ code, stderr, stdout }: Answer, line: string, names: string, form: RegExp): void {
  assert.notEqual(code, 0, line);
  assert.equal(stdout, '', `${line}: nothing but the mistake is told`);
  const [error = '', hint = ''] = stderr.replace(/^Deprecated: [^\n]*\n\n/, '').split('\n');
  assert.ok(error.startsWith('Error: ') && error.includes(names), `${line}: ${stderr}`);
  assert.match(hint, form, line);
}

for (const program of [ETSDCTL, ETSDUTL]) {
  describe(program.name, () => {
    const all = leaves(program.commands);

    test('a flag that is no flag, and one with a typing error', async () => {
      for (const [path] of all) {
        const unknown = await typed(program, [...path, '--qqqqqqqq=1']);
        assertNamed(unknown, path.join(' '), '--qqqqqqqq', /^\(--help lists the flags there are\)$/);
        for (const flag of findCommand(program, path).flags) {
          const typo = `--${flag.name.slice(0, 1)}${flag.name.slice(2)}x`;
          const line = [...path, typo].join(' ');
          if (flag.name.length < 5) continue;
          assertNamed(await typed(program, [...path, typo]), line, typo, /^\(did you mean --[a-z-]+\?\)$/);
        }
      }
    });

    test('a flag without its value, and with one that does not fit', async () => {
      for (const [path] of all) {
        for (const flag of findCommand(program, path).flags) {
          const form = new RegExp(`^\\(write --${flag.name}`);
          if (flag.kind !== 'bool') {
            const words = [...path, `--${flag.name}`];
            assertNamed(await typed(program, words), words.join(' '), `--${flag.name}`, form);
          }
          if (flag.kind === 'string' || flag.kind === 'list') continue;
          const words = [...path, `--${flag.name}=?`];
          assertNamed(await typed(program, words), words.join(' '), `--${flag.name}`, form);
        }
      }
    });

    test('a command without the arguments it needs', async () => {
      let commands = 0;
      for (const [path, command] of all) {
        if (!/^(?:[A-Z]|--)/.test(command.usage ?? '')) continue;
        commands++;
        const answer = await typed(program, path);
        assertNamed(answer, path.join(' '), '', new RegExp(`^\\(write: (etsdctl )?${path.join(' ')} `));
      }
      assert.ok(commands > 2);
    });

    test('a word too many', async () => {
      let refused = 0;
      let ignored = 0;
      for (const [path, command] of all) {
        const max = argumentsMax(command.usage ?? '');
        if (max === Number.POSITIVE_INFINITY) continue;
        const words = [...path, ...Array.from({ length: max }, () => '1'), 'surplus'];
        const { code, stderr } = await typed(program, words);
        if (code === 128) refused++;
        else ignored++;
        assert.ok(code === 128 || stderr.includes('(ignored: surplus)\n'), `${words.join(' ')}: ${code} ${stderr}`);
      }
      assert.ok(refused > 0 && ignored > 0);
    });

    test('a word that is no command, at every level', async () => {
      const groups = program.commands.filter((command) => command.commands !== undefined);
      for (const { name, commands = [] } of groups) {
        const near = `${(commands[0] as Command).name}x`;
        const { stderr } = await typed(program, [name, near]);
        assert.match(stderr, new RegExp(`unknown command "${near}" for "${program.name} ${name}"; did you mean `));
      }
    });
  });
}

test('a choice that does not exist is answered with those that do', async () => {
  const cases: [string, string, RegExp][] = [
    ['get a --order=up', 'up', /ASCEND, DESCEND/],
    ['get a --sort-by=size', 'size', /CREATE, KEY, MODIFY, VALUE, VERSION/],
    ['get a --consistency=x', 'x', /--consistency=l or =s/],
    ['member list --consistency=x', 'x', /--consistency=l or =s/],
    ['get a -w xml', 'output format', /fields, json, protobuf, simple, table/],
    ['get a --compat=3.4', '3.4', /--compat=3\.5 or =3\.6/],
    ['check perf --load=huge', 'huge', /--load=s, m, l or xl/],
    ['role grant-permission r all k', 'all', /read, write or readwrite/],
    ['completion tcsh', 'tcsh', /bash/],
  ];
  for (const [line, names, form] of cases) {
    const { code, stderr, stdout } = await typed(ETSDCTL, line.split(' '));
    assert.ok(stderr.includes(names), `${line}: ${stderr}`);
    assert.match(stderr + stdout, form, line);
    if (!line.startsWith('completion')) assert.notEqual(code, 0);
  }
});
