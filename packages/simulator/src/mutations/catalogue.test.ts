/** Goal: every mutation of the catalogue fits the product's text, and what is loaded with it is a copy that has it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MUTATIONS } from './catalogue.ts';
import { checkEdits, importMutated, mutate } from './loader.ts';

type Rounds = typeof import('../../../raft/src/read-rounds.ts');

test('there are 17, and each has its text where it says', () => {
  assert.equal(new Set(MUTATIONS.map(({ id }) => id)).size, 17);
  for (const mutation of MUTATIONS) checkEdits(mutation);
});

test('an edit that fits nowhere, or twice, is refused', () => {
  const edit = { file: 'x.ts', find: 'a', replace: 'b' };
  assert.equal(mutate('cac', [edit]), 'cbc');
  assert.throws(() => mutate('c', [edit]), /fits x.ts no more/);
  assert.throws(() => mutate('aa', [edit]), /in several places/);
});

test('the copy has the bug, the original has not, side by side', async () => {
  const mutation = MUTATIONS.find(({ id }) => id === '20418');
  assert.ok(mutation !== undefined);
  const { ReadRounds: Real } = await import('../../../raft/src/read-rounds.ts');
  const { ReadRounds: Mutant } = await importMutated<Rounds>('raft/src/read-rounds.ts', mutation);
  const name = (rounds: InstanceType<Rounds['ReadRounds']>): string | undefined =>
    rounds.add(Buffer.from('r'), 1, null)?.heartbeat.toString();
  assert.equal(name(new Mutant()), 'r');
  assert.equal(name(new Real()), 'r#1');
});
