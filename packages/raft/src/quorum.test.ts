/**
 * Goal: the arithmetic of majorities is right for any configuration. Method: random configurations against definitions
 * that are too slow to use and too simple to be wrong.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng, type U64 } from '@etsd/base';
import {
  ANY_INDEX,
  jointIndex,
  jointVote,
  majorityIndex,
  majorityVote,
  VOTE_LOST,
  VOTE_PENDING,
  VOTE_WON,
} from './quorum.ts';
import { idOf } from './testing/member.ts';

const SEED = Number(process.env['SEED'] ?? 20240607);

function drawMembers(random: Prng, sizeMax: number): U64[] {
  const members = new Set<U64>();
  const size = random.below(sizeMax + 1);
  while (members.size < size) members.add(idOf(random.between(1, sizeMax + 2)));
  return [...members].sort();
}

/** The definition: the highest index that more than half of the members have reached. */
function naiveIndex(members: readonly U64[], indexOf: (id: U64) => number): number {
  if (members.length === 0) return ANY_INDEX;
  for (let index = 100; index > 0; index--) {
    if (members.filter((id) => indexOf(id) >= index).length * 2 > members.length) return index;
  }
  return 0;
}

/** The definition: won in every way the missing votes may go, lost in every way, or open. */
function naiveVote(groups: readonly (readonly U64[])[], votes: ReadonlyMap<U64, boolean>): number {
  const missing = [...new Set(groups.flat())].filter((id) => !votes.has(id));
  const outcomes = new Set<boolean>();
  for (let mask = 0; mask < 1 << missing.length; mask++) {
    const granted = (id: U64): boolean => votes.get(id) ?? ((mask >> missing.indexOf(id)) & 1) === 1;
    outcomes.add(groups.every((group) => group.length === 0 || group.filter(granted).length * 2 > group.length));
  }
  if (outcomes.size === 2) return VOTE_PENDING;
  return outcomes.has(true) ? VOTE_WON : VOTE_LOST;
}

test(`committed indexes agree with the definition (seed ${SEED})`, () => {
  const random = new Prng(SEED);
  for (let round = 0; round < 5000; round++) {
    const incoming = drawMembers(random, 7);
    const outgoing = random.chance(0.5) ? [] : drawMembers(random, 5);
    const indexes = new Map([...incoming, ...outgoing].map((id) => [id, random.below(20)]));
    const indexOf = (id: U64): number => indexes.get(id) ?? 0;
    assert.equal(majorityIndex(incoming, indexOf), naiveIndex(incoming, indexOf));
    const both = Math.min(naiveIndex(incoming, indexOf), naiveIndex(outgoing, indexOf));
    assert.equal(jointIndex(incoming, outgoing, indexOf), both, `${incoming} and ${outgoing}`);
  }
});

test(`votes agree with the definition (seed ${SEED})`, () => {
  const random = new Prng(SEED);
  for (let round = 0; round < 3000; round++) {
    const incoming = drawMembers(random, 5);
    const outgoing = random.chance(0.5) ? [] : drawMembers(random, 4);
    const votes = new Map<U64, boolean>();
    for (const id of [...incoming, ...outgoing]) if (random.chance(0.7)) votes.set(id, random.chance(0.6));
    assert.equal(majorityVote(incoming, votes), naiveVote([incoming], votes));
    const joint = jointVote(incoming, outgoing, votes);
    // A half that is lost decides; one that is only not yet won leaves it open, though the other may be lost in the end.
    assert.equal(joint, naiveVote([incoming, outgoing], votes), `${incoming} and ${outgoing}`);
  }
});

test('a group of nobody agrees to everything', () => {
  assert.equal(
    majorityIndex([], () => 0),
    ANY_INDEX,
  );
  assert.equal(majorityVote([], new Map()), VOTE_WON);
});
