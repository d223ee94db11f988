/**
 * Goal: what is packed works where nothing else is: installed by npm in an empty folder, `npx etsd` starts, runs a member, and
 * `etsdctl` uses it. Method: exactly that, with the package that CI has just built, by the steps of
 * the Dockerfile, and npm's own cache for what it needs.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '@etsd/testkit';
import { NODE, ROOT } from '../tests/support/binaries.ts';
import { eventually } from '../tests/support/conditions.ts';

const isBuilt = existsSync(join(ROOT, 'dist/packages/cli/bin/etsd.js'));

test('npx etsd runs a member from the package alone', {
  skip: !isBuilt && 'npm run build',
  timeout: 300_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-package-'));
  // The Node.js of this repository, for the programs as for npx.
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${dirname(NODE)}:${process.env['PATH']}` };
  const run = (program: string, ...words: string[]): string => {
    const { status, stdout, stderr } = spawnSync(program, words, {
      cwd: folder,
      env,
      encoding: 'utf8',
      timeout: 240_000,
    });
    assert.equal(status, 0, `${program} ${words.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  try {
    run(process.execPath, join(ROOT, 'scripts/pack.ts'), '--out', join(ROOT, 'dist'));
    assert.equal(readdirSync(join(ROOT, 'dist')).filter((name) => /^etsd-.*\.tgz$/.test(name)).length, 1);
    // In the words of the image's file, whose steps these are too.
    const steps = readFileSync(join(ROOT, 'deploy/docker/Dockerfile'), 'utf8')
      .replaceAll(/\\\n/g, ' ')
      .split(/RUN|&&|\n/)
      .map((step) => step.trim().replaceAll('/opt/etsd', folder))
      .filter((step) => /^(?:npm install|ln) /.test(step));
    assert.equal(steps.length, 2, steps.join('\n'));
    for (const step of steps) {
      const words = step.replace('npm install', 'npm install --prefer-offline');
      const { status, stderr } = spawnSync('sh', ['-c', words], { cwd: ROOT, env, encoding: 'utf8', timeout: 240_000 });
      assert.equal(status, 0, `${words}: ${stderr}`);
    }
    assert.match(run(join(folder, 'bin/etsd'), '--version'), /^etsd Version: /);
    const installed = join(folder, 'node_modules/etsd');
    const { man } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { man: string[] };
    for (const page of man) assert.ok(existsSync(join(installed, page)), page);
    assert.ok(existsSync(join(installed, 'completions/zsh/_etsdctl')));
    assert.match(run('npx', '--no', '--', 'etsd', '--version'), /^etsd Version: /);
    const [client, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    const flags = [
      ...['--listen-client-urls', client, '--advertise-client-urls', client, '--listen-peer-urls', peer],
      ...['--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ];
    const member = spawn(join(folder, 'node_modules/.bin/etsd'), flags, { cwd: folder, env, stdio: 'ignore' });
    try {
      await eventually(60_000, 'the member serves', async () => {
        const answer = await fetch(`${client}/health`).catch(() => null);
        return answer?.ok === true ? true : null;
      });
      const ctl = join(folder, 'node_modules/.bin/etsdctl');
      assert.equal(run(ctl, '--endpoints', client, 'put', 'a', '1'), 'OK\n');
      assert.equal(run(ctl, '--endpoints', client, 'get', 'a'), 'a\n1\n');
    } finally {
      const ended = new Promise((resolve) => member.on('close', resolve));
      member.kill('SIGTERM');
      await ended;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
