import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { MEMORY_ROOT } from '../support/server.ts';
import * as steps from './steps.ts';
import { differences, transcript } from './transcript.ts';

const skip = needsPeer('etcd', 'etcdctl');
const { CHECK_PERF, ...chapters } = steps.CHAPTERS;

for (const [name, chapter] of Object.entries(chapters)) {
  // Goal: who uses etcdctl cannot tell which server answers.
  test(`etcdctl prints the same against etsd as against etcd: ${name}`, { skip }, async () => {
    const [left, right] = await Promise.all([transcript('etcd', chapter), transcript('etsd', chapter)]);
    assert.equal(differences(left, right), null);
  });
}

const skipLong =
  process.env['ETSD_TEST_CHECK_PERF'] === undefined && 'takes a minute; set ETSD_TEST_CHECK_PERF to run it';

// Goal: etcdctl's own judgement of a server's speed runs to its end and passes.
test('etcdctl check perf passes', { skip: skip || skipLong }, async () => {
  // Each takes a minute, and once is enough here; `main.ts` compares a second one. No request may take half a second: a disk
  // that others use as well stands still for longer, and etcd then fails too.
  const [check, , refused] = CHECK_PERF as [steps.Step, steps.Step, steps.Step];
  const [passed, unknown] = await transcript('etsd', [check, refused], undefined, MEMORY_ROOT);
  assert.equal(passed?.exit, '0', `${passed?.stdout}${passed?.stderr}`);
  assert.equal(unknown?.exit, '4');
});

// Goal: it finds the memory of the member in its metrics, and everything it wrote is gone afterwards.
test('etcdctl check datascale passes', { skip, timeout: 180_000 }, async () => {
  const commands = [
    steps.step('check datascale --load=s --auto-compact --auto-defrag'),
    steps.step('get /etcdctl-check-datascale/ --prefix --count-only -w fields'),
  ];
  const [check, rest] = await transcript('etsd', commands);
  assert.equal(check?.exit, '0', `${check?.stdout}${check?.stderr}`);
  assert.match(check?.stdout ?? '', /PASS: Approximate (system|RSS) memory used/);
  assert.match(rest?.stdout ?? '', /"Count" : 0/);
});
