import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import {
  decideVersion,
  haveAllReached,
  isNewer,
  isVersionChange,
  leftBehind,
  type MemberVersions,
  shownVersion,
  versionRefusal,
} from './version-rules.ts';

const answers = (...list: (MemberVersions | null)[]) =>
  new Map(list.map((answer, index) => [u64FromNumber(index + 1), answer]));
const member = (server: string, cluster = '3.5.0'): MemberVersions => ({ server, cluster });

// Goal: the oldest member decides, its patch level does not matter, and nobody may be missing.
test('the version of a cluster is that of its oldest member', () => {
  assert.equal(decideVersion(answers(member('3.5.30'))), '3.5.0');
  assert.equal(decideVersion(answers(member('3.6.1'), member('3.5.30'), member('3.10.0'))), '3.5.0');
  assert.equal(decideVersion(answers(member('3.10.0'), member('3.9.2'))), '3.9.0');
  assert.equal(decideVersion(answers(member('3.5.30'), null)), null);
  assert.equal(decideVersion(answers(member('3.5.30'), member('soon'))), null);
  assert.equal(decideVersion(answers()), null);
});

// Goal: the steps that etcd allows: up at will, down by one minor version, never to another major one.
test('a cluster goes up at will and down by one', () => {
  const steps = [
    ['3.0.0', '3.5.0', true],
    ['3.5.0', '3.5.0', false],
    ['3.5.0', '3.4.0', true],
    ['3.5.0', '3.3.0', false],
    ['3.5.0', '4.0.0', false],
    ['4.0.0', '3.9.0', false],
    ['', '3.5.0', false],
  ] as const;
  for (const [from, to, expected] of steps) assert.equal(isVersionChange(from, to), expected, `${from} to ${to}`);
});

test('a downgrade is done when every member says so', () => {
  assert.equal(haveAllReached('3.4.0', answers(member('3.4.9', '3.4.0'), member('3.5.30', '3.4.0'))), true);
  assert.equal(haveAllReached('3.4.0', answers(member('3.4.9', '3.4.0'), member('3.5.30', '3.5.0'))), false);
  assert.equal(haveAllReached('3.4.0', answers(member('3.4.9', '3.4.0'), null)), false);
  assert.equal(haveAllReached('3.4.0', answers(member('3.4.9', 'not_decided'))), false);
});

// Goal: the two refusals of etcd 3.5.30, by their first words, which operators search for.
test('a member too old for its cluster, or not that of a downgrade, does not start', () => {
  const cluster = (version: string, target = '') => ({
    version,
    downgradeEnabled: target !== '',
    downgradeTarget: target,
  });
  assert.equal(versionRefusal(cluster(''), '3.5.30'), null);
  assert.equal(versionRefusal(cluster('3.5.0'), '3.5.30'), null);
  assert.equal(versionRefusal(cluster('3.4.0'), '3.5.30'), null);
  assert.match(
    versionRefusal(cluster('3.6.0'), '3.5.30')?.message ?? '',
    /^invalid downgrade; server version is lower than determined cluster version/,
  );
  assert.match(
    versionRefusal(cluster('3.5.0', '3.4.0'), '3.5.30')?.message ?? '',
    /^invalid downgrade; server version is not allowed to join when downgrade is enabled/,
  );
  assert.equal(versionRefusal(cluster('3.6.0', '3.5.0'), '3.5.30'), null, 'it is the version aimed at');
});

test('a member goes on that is newer than a downgrade aims at, and stops if its cluster leaves it behind', () => {
  const down = { version: '3.5.0', downgradeEnabled: true, downgradeTarget: '3.5.0' };
  assert.equal(leftBehind(down, '3.6.1'), null);
  assert.equal(leftBehind({ ...down, version: '3.6.0' }, '3.5.30'), null, 'it has gone ahead');
  const up = { version: '3.6.0', downgradeEnabled: false, downgradeTarget: '' };
  assert.equal(leftBehind(up, '3.6.0'), null);
  assert.match(leftBehind(up, '3.5.30')?.message ?? '', /^invalid downgrade; server version is lower than determined/);
});

test('versions are compared as numbers and shown short', () => {
  assert.deepEqual(
    [isNewer('3.10.0', '3.9.9'), isNewer('3.5.30', '3.5.30'), isNewer('x', '3.5.0')],
    [true, false, false],
  );
  assert.deepEqual([shownVersion('3.5.30'), shownVersion('x')], ['3.5', 'x']);
});
