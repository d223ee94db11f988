import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '../support/binaries.ts';
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
  const entries = await transcript('etsd', CHECK_PERF);
  assert.equal(entries[0]?.exit, '0', `${entries[0]?.stdout}${entries[0]?.stderr}`);
  assert.equal(entries[2]?.exit, '4');
});
