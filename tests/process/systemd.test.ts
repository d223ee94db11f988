/**
 * Goal: the unit under deploy/ works with systemd itself: ready when it serves, started anew when the watchdog hears nothing,
 * stopped cleanly. Method: a real systemd manages it, in namespaces of its own, which takes root; only the paths are the test's.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { scratch } from './program.ts';

const UNIT = join(ROOT, 'deploy/systemd/etsd.service');
const SYSTEMD = '/lib/systemd/systemd';
/** Short enough to wait for; that it may be missed on a busy machine before it is stopped changes nothing. */
const WATCHDOG_SECONDS = 4;

/** Runs as the first process of its namespace; prints what the test wants to know, a line each. */
const SCRIPT = `
set -u
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0/systemd/user
export XDG_RUNTIME_DIR=/run/user/0 HOME="$1/home"
cp "$2" /run/user/0/systemd/user/etsd.service
cp -r "$1/etsd.service.d" /run/user/0/systemd/user/
${SYSTEMD} --user --unit=basic.target --log-target=null </dev/null >/dev/null 2>&1 &
until systemctl --user list-units >/dev/null 2>&1; do sleep 0.1; done
show() { systemctl --user show etsd.service --property="$1" --value; }
systemctl --user start etsd.service || { systemctl --user status etsd.service; tail -n 5 "$1/log"; exit 1; }
echo "started: $(show ActiveState) $(show SubState) $(show StatusText)"
first=$(show MainPID)
kill -STOP "$first"
until [ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ]; do sleep 0.1; done
second=$(show MainPID)
[ "$first" != "$second" ] && echo "restarted: $(show StatusText)"
systemctl --user stop etsd.service
echo "stopped: $(show ActiveState) $(show Result)"
`;

function whyNot(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'takes root on Linux';
  if (spawnSync(SYSTEMD, ['--version']).status !== 0) return 'no systemd';
  const probe = spawnSync('unshare', [
    '--mount',
    '--pid',
    '--fork',
    '--mount-proc',
    'mount',
    '-t',
    'tmpfs',
    't',
    '/run',
  ]);
  return probe.status !== 0 && 'no namespaces here';
}

test('systemd starts it, misses it, starts it anew and stops it', { skip: whyNot(), timeout: 300_000 }, async () => {
  const folder = scratch();
  const url = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const flags = [
    `--listen-client-urls=${url} --advertise-client-urls=${url} --listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer} --initial-cluster=default=${peer}`,
    `--data-dir=${folder}/data --log-outputs=${folder}/log`,
  ].join(' ');
  const dropIn = [
    '[Service]',
    'User=',
    'Group=',
    'ExecStart=',
    `ExecStart=${NODE} ${ROOT}/packages/cli/bin/etsd.ts ${flags}`,
    `WatchdogSec=${WATCHDOG_SECONDS}s`,
    'RestartSec=0',
    // As in units written for etcd: the member itself speaks, not a program it starts.
    'NotifyAccess=main',
    // Where a checkout and the test's folder may be.
    'ProtectHome=no',
    'PrivateTmp=no',
    `ReadWritePaths=${folder}`,
    '',
  ];
  mkdirSync(join(folder, 'etsd.service.d'));
  mkdirSync(join(folder, 'home'));
  writeFileSync(join(folder, 'etsd.service.d', 'test.conf'), dropIn.join('\n'));
  const printed = await new Promise<string>((resolve, reject) => {
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const words = [...namespaces, 'bash', '-c', SCRIPT, 'systemd', folder, UNIT];
    execFile('unshare', words, { timeout: 280_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${stdout}${stderr}`, { cause: error }));
    });
  });
  const [started, restarted, stopped] = printed.trim().split('\n');
  assert.match(started ?? '', new RegExp(`^started: active running Serving ${url}; leader in term \\d+$`));
  assert.match(restarted ?? '', new RegExp(`^restarted: Serving ${url}; leader in term \\d+$`));
  assert.equal(stopped, 'stopped: inactive success');
});
