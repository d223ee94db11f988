/** Goal: mistakes are named and answered with the right form, help is whole, and Go's forms are met to the letter. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { ETSDUTL } from '../utl/program.ts';
import type { Command, Program } from './command.ts';
import { wordsOf } from './commands/txn.ts';
import { completionScript } from './completion.ts';
import { formatDuration, formatSize, parseDuration, parseHexId, parseInteger, quote, unquote } from './go.ts';
import { run } from './main.ts';
import { ETSDCTL } from './program.ts';
import { askPassword } from './terminal.ts';

async function typed(
  program: Program,
  line: string,
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  stdin.end();
  const words = line.split(' ').filter((word) => word !== '');
  const code = await run(program, words, { env, stdin: stdin as never, stdout, stderr });
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

describe('mistakes', () => {
  const cases: [string, number, RegExp][] = [
    ['gte a', 1, /^Error: unknown command "gte" for "etsdctl"\n\(did you mean get\?\)\n$/],
    ['get a --prefx', 1, /^Error: unknown flag: --prefx\n\(did you mean --prefix\?\)\n$/],
    ['get a --limit=x', 1, /invalid argument "x" for "--limit" flag: .*\n\(write --limit=10\)/],
    ['get a --limit', 1, /flag needs an argument: --limit\n\(write --limit=10\)/],
    ['put a -v', 1, /unknown shorthand flag: 'v' in -v\n\(a value or command that begins with "-" goes behind "--"\)/],
    ['put', 128, /put command needs 1 argument and input from stdin or 2 arguments\n\(write: put KEY VALUE\)/],
    ['get a -w xml', 4, /unsupported output format\n\(--write-out is one of fields, json, protobuf, simple, table\)/],
    ['get a --order=up', 4, /bad sort order up\n\(it is one of ASCEND, DESCEND\)/],
    ['lease revoke xyz', 128, /bad lease ID arg \(strconv.ParseInt: parsing "xyz": invalid syntax\)/],
    ['get a --endpoints=nowhere', 2, /"nowhere" is no endpoint; one looks like 127\.0\.0\.1:2379/],
    [
      'get a --command-timeout=-5s --endpoints=a:1',
      1,
      /"-5s" for "--command-timeout" flag: a time below zero\n\(write --command-timeout=5s\)/,
    ],
    ['get a --dial-timeout=-5s --endpoints=a:1', 1, /"-5s" for "--dial-timeout" flag: a time below zero/],
    ['get a --cert=x', 128, /KeyFile and CertFile must both be present/],
  ];
  for (const [line, code, message] of cases) {
    test(line, async () => {
      const result = await typed(ETSDCTL, line);
      assert.equal(result.code, code);
      assert.match(result.stderr, message);
      assert.equal(result.stdout, '');
    });
  }
});

function leaves(commands: readonly Command[], path: readonly string[] = []): [string[], Command][] {
  return commands.flatMap((command) => {
    const at = [...path, command.name];
    return command.commands === undefined ? [[at, command] as [string[], Command]] : leaves(command.commands, at);
  });
}

test('a variable that means nothing is named, without its value', async () => {
  const env = { ETCDCTL_PASWORD: 'hidden', ETCDCTL_HEX: 'perhaps', ETCDCTL_XYZ: '', ETCDCTL_API: '3' };
  const { code, stdout, stderr } = await typed(ETSDCTL, 'get a -w xml', env);
  assert.deepEqual([code, stdout], [4, '']);
  const lines = stderr.split('\n');
  assert.match(lines[0] ?? '', /^Warning: ETCDCTL_HEX is not used: invalid argument "perhaps" for "--hex" flag/);
  assert.deepEqual(lines.slice(2, 5), [
    'Warning: unknown environment variable ETCDCTL_PASWORD',
    '(did you mean ETCDCTL_PASSWORD?)',
    'Warning: unknown environment variable ETCDCTL_XYZ',
  ]);
  assert.doesNotMatch(stderr, /hidden|API/);
});

describe('passwords typed on a terminal', () => {
  /** Answers each prompt at once; returns what was asked and what came out of it. */
  async function asked(...answers: string[]): Promise<{ passwords: string[]; shown: string; hidden: boolean[] }> {
    const stdin = Object.assign(new PassThrough(), { isTTY: true, isRaw: false, setRawMode });
    const stdout = new PassThrough();
    const hidden: boolean[] = [];
    function setRawMode(this: { isRaw: boolean }, isRaw: boolean): void {
      this.isRaw = isRaw;
    }
    const queue = [...answers];
    let shown = '';
    stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString();
      if (!chunk.toString().endsWith(': ')) return;
      hidden.push(stdin.isRaw);
      const answer = queue.shift();
      if (answer !== undefined) stdin.write(answer);
    });
    const surroundings = { env: {}, stdin: stdin as never, stdout, stderr: new PassThrough() };
    const passwords = [await askPassword('First: ', surroundings), await askPassword('Second: ', surroundings)];
    assert.equal(stdin.isRaw, false);
    return { passwords, shown, hidden };
  }

  test('two are asked for one after the other, as for a new user, and none is shown', async () => {
    const { passwords, shown, hidden } = await asked('secret\r', 'secret\r');
    assert.deepEqual(passwords, ['secret', 'secret']);
    assert.deepEqual([shown, hidden], ['First: \nSecond: \n', [true, true]]);
  });

  test('both may come at once; mistakes are taken back, characters of several bytes too', async () => {
    assert.deepEqual((await asked('one\r\ntwo\n')).passwords, ['one', 'two']);
    assert.deepEqual((await asked('wrong\u0015gr\u00fc\u007f\u00fcnx\u007f\r', 'end\u0004')).passwords, [
      'grün',
      'end',
    ]);
  });
});

test('--debug shows the settings in use, but no secret', async () => {
  const { stderr } = await typed(ETSDCTL, 'get a --debug --user=me:hidden --endpoints=nowhere --password=');
  assert.match(stderr, /^ETCDCTL_ENDPOINTS=nowhere$/m);
  assert.match(stderr, /^ETCDCTL_USER=me:\*\*\*$/m);
  assert.doesNotMatch(stderr, /hidden/);
});

describe('help', () => {
  for (const program of [ETSDCTL, ETSDUTL]) {
    test(`every command of ${program.name} has a page, and every example is a command line that parses`, async () => {
      const overview = await typed(program, '');
      assert.equal(overview.code, 0);
      for (const command of program.commands) assert.ok(overview.stdout.includes(`  ${command.name} `), command.name);
      for (const [path, command] of leaves(program.commands)) {
        const { code, stdout } = await typed(program, `${path.join(' ')} --help`);
        assert.equal(code, 0);
        assert.ok(stdout.startsWith(`${command.summary}.\n`));
        assert.match(stdout, new RegExp(`Usage:\\n  ${program.name} ${path.join(' ')}`));
        for (const flag of command.flags ?? []) assert.ok(stdout.includes(`--${flag.name}=`), flag.name);
        // A flag that a command has from the one above it, and means in its own way, is listed once.
        const listed = [...stdout.matchAll(/^ {2,6}(?:-\w, )? *--([a-z0-9-]+)=/gm)].map(([, name]) => name);
        assert.deepEqual(listed, [...new Set(listed)], `${path.join(' ')}: a flag is listed twice`);
        for (const [, example] of command.examples ?? []) {
          assert.ok(example.startsWith(path[0] as string), `${example} is no example of ${path.join(' ')}`);
          const known = [...program.globalFlags, ...(command.flags ?? [])].map((flag) => flag.name).concat('cluster');
          for (const [, name] of (example.split(' -- ')[0] as string).matchAll(/ --([a-z-]+)/g))
            assert.ok(known.includes(name as string), example);
        }
      }
    });
  }

  test('groups without a command show what is below them', async () => {
    const { code, stdout } = await typed(ETSDCTL, 'lease');
    assert.equal(code, 0);
    assert.match(stdout, /Available Commands:\n {2}grant /);
  });
});

describe('completion', () => {
  const complete = (words: string): string[] => {
    const script = completionScript('bash', ETSDCTL);
    const typed = words.split(' ');
    const shell = `${script}\nCOMP_WORDS=(${typed.map((word) => `'${word}'`).join(' ')})\nCOMP_CWORD=${typed.length - 1}\n_etsdctl\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', shell], { encoding: 'utf8' }).stdout.trim().split('\n');
  };

  test('bash completes commands, commands below them, and flags of either', () => {
    assert.deepEqual(complete('etsdctl comp'), ['compaction', 'completion']);
    assert.deepEqual(complete('etsdctl lease ti'), ['timetolive']);
    assert.deepEqual(complete('etsdctl --hex lease keep'), ['keep-alive']);
    assert.deepEqual(complete('etsdctl lease keep-alive --o'), ['--once']);
    assert.deepEqual(complete('etsdctl get --pri'), ['--print-value-only']);
  });

  test('every shell is given all words', () => {
    for (const shell of ['bash', 'zsh', 'fish', 'powershell'] as const) {
      const script = completionScript(shell, ETSDCTL);
      for (const word of ['timetolive', 'grant-permission', 'print-value-only', 'write-out']) {
        assert.ok(script.includes(word), `${shell} ${word}`);
      }
    }
  });
});

describe('forms of Go', () => {
  test('durations', () => {
    const cases: [number, string][] = [
      [0, '0s'],
      [0.000001, '1ns'],
      [0.5702, '570.2µs'],
      [2.846816, '2.846816ms'],
      [1000, '1s'],
      [90_500, '1m30.5s'],
      [3_600_000, '1h0m0s'],
    ];
    for (const [ms, text] of cases) assert.equal(formatDuration(ms), text);
    assert.equal(parseDuration('1m30.5s'), 90_500);
    assert.equal(parseDuration('-1.5h'), -5_400_000);
    assert.equal(parseDuration('300ms'), 300);
    for (const wrong of ['', '1', 's', '1x', '1s2']) assert.equal(parseDuration(wrong), undefined);
  });

  test('sizes', () => {
    const cases: [number, string][] = [
      [0, '0 B'],
      [9, '9 B'],
      [20_480, '20 kB'],
      [24_576, '25 kB'],
      [2_147_483_648, '2.1 GB'],
      [999, '999 B'],
    ];
    for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
  });

  test('quoted text, both ways', () => {
    const cases: [Buffer, string][] = [
      [Buffer.from('plain "x" \\'), '"plain \\"x\\" \\\\"'],
      [Buffer.from([0, 7, 10, 0x7f, 0xff, 0xc3]), '"\\x00\\a\\n\\x7f\\xff\\xc3"'],
      [Buffer.from('schön ☃ 𝄞 \u200b'), '"schön ☃ 𝄞 \\u200b"'],
    ];
    for (const [bytes, text] of cases) {
      assert.equal(quote(bytes), text);
      assert.deepEqual(unquote(text), bytes);
    }
    for (const wrong of ['', '"', 'x', '"\\q"', '"a"b"', '"\n"']) assert.equal(unquote(wrong), null);
  });

  test('numbers and ids', () => {
    assert.equal(parseInteger('-12'), -12);
    assert.match(String(parseInteger('9223372036854775808999')), /value out of range/);
    assert.deepEqual(parseHexId('77', 'ParseInt'), { id: '0000000000000077' });
    assert.deepEqual(parseHexId('-1', 'ParseInt'), { id: 'ffffffffffffffff' });
    assert.ok('problem' in parseHexId('ffffffffffffffff', 'ParseInt'));
    assert.ok('id' in parseHexId('ffffffffffffffff', 'ParseUint'));
    assert.ok('problem' in parseHexId('0x1', 'ParseUint'));
  });

  test('words of a line', () => {
    assert.deepEqual(wordsOf(`put "a b" 'c "d' e --lease=1`), ['put', 'a b', 'c "d', 'e', '--lease=1']);
  });
});
