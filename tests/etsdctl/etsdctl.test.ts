import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { needsPeer } from '../support/binaries.ts';
import { compare } from './compare.ts';
import { CHAPTERS } from './steps.ts';

const skip = needsPeer('etcd', 'etcdctl');
let total = 0;

for (const [name, chapter] of Object.entries(CHAPTERS)) {
  // Goal: a script written for etcdctl works with etsdctl: same output to the byte, same exit code, same errors.
  test(`etsdctl prints what etcdctl prints: ${name}`, { skip }, async (context) => {
    const { compared, difference } = await compare('etcd', chapter);
    total += compared;
    context.diagnostic(`${compared} commands compared`);
    assert.equal(difference, null);
  });
}

after(() => {
  if (total > 0) console.log(`etsdctl: ${total} commands compared with etcdctl's`);
});
