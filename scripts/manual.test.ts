/**
 * Goal: every command has a page that man can show, with its flags on it, and every program completes in every shell.
 * Method: the pages as they are made for the package, read by mandoc; the scripts read by their shells.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Command } from '../packages/cli/src/ctl/command.ts';
import { ETSDCTL } from '../packages/cli/src/ctl/program.ts';
import { ETSDUTL } from '../packages/cli/src/utl/program.ts';
import { OPTIONS } from '../packages/server/src/config/options.ts';
import { completionFiles, manPages } from './manual.ts';

const has = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;

function inFolder<T>(files: ReadonlyMap<string, string>, use: (paths: string[]) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-manual-'));
  try {
    const paths = [...files].map(([name, text]) => {
      const path = join(folder, name.replaceAll('/', '-'));
      writeFileSync(path, text);
      return path;
    });
    return use(paths);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function names(commands: readonly Command[], prefix: string): string[] {
  return commands.flatMap(({ name, commands: below = [] }) => [
    `${prefix}-${name}.1`,
    ...names(below, `${prefix}-${name}`),
  ]);
}

test('there is a page for each program and each command, with every flag of the server on its own', () => {
  const pages = manPages();
  const wanted = ['etsd.1', 'etsdctl.1', 'etsdutl.1'];
  for (const { name, commands } of [ETSDCTL, ETSDUTL]) wanted.push(...names(commands, name));
  assert.deepEqual([...pages.keys()].sort(), wanted.sort());
  const server = pages.get('etsd.1') ?? '';
  for (const { name } of OPTIONS) assert.ok(server.includes(`\\-\\-${name.replaceAll('-', '\\-')}\\fR`), name);
  assert.match(pages.get('etsdctl-get.1') ?? '', /\\-\\-count\\-only/);
});

test('mandoc finds nothing to warn of', { skip: !has('mandoc') && 'no mandoc' }, () => {
  inFolder(manPages(), (paths) => {
    const { stdout, stderr, status } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', ...paths], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, `${stdout}${stderr}`.split('\n').slice(0, 10).join('\n'));
    const page = paths.find((path) => path.endsWith('etsdctl-lease-grant.1')) as string;
    const shown = spawnSync('mandoc', ['-T', 'ascii', page], { encoding: 'utf8' }).stdout;
    assert.match(shown, /etsdctl-lease-grant - Create a lease\n\n.*\n.*lease grant TTL \[/);
  });
});

for (const [shell, check] of [
  ['bash', ['-n']],
  ['zsh', ['-n']],
  ['fish', ['--no-execute']],
] as const) {
  test(`${shell} reads the completion of each program`, { skip: !has(shell) && `no ${shell}` }, () => {
    const files = new Map([...completionFiles()].filter(([path]) => path.startsWith(`${shell}/`)));
    assert.equal(files.size, 3);
    inFolder(files, (paths) => {
      for (const path of paths) {
        const { stderr, status } = spawnSync(shell, [...check, path], { encoding: 'utf8' });
        assert.equal(status, 0, stderr);
      }
    });
  });
}

test('bash completes flags of the server and words of it', { skip: !has('bash') && 'no bash' }, () => {
  const script = completionFiles().get('bash/etsd') ?? '';
  const ask = (...words: string[]): string[] => {
    const line = `COMP_WORDS=(etsd ${words.join(' ')}); COMP_CWORD=${words.length}; _etsd; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', `${script}\n${line}`], { encoding: 'utf8' })
      .stdout.trim()
      .split('\n');
  };
  assert.deepEqual(ask('--listen-pe'), ['--listen-peer-urls']);
  assert.deepEqual(ask('compl'), ['completion']);
  assert.deepEqual(ask('completion', 'po'), ['powershell']);
});
