/** The rules of --strict-reconfig-check: tables of clusters, as etcd judges them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import { MemberRecord } from '@etsd/state';
import { Reconfiguration } from './reconfiguration.ts';

const NOW = 100_000;
/** One letter a voter: S started and connected, R started and connected just now, D started and down, U not started. */
type Voters = string;

function rulesFor(voters: Voters, learners = 0, isStrict = true): Reconfiguration {
  const list: MemberRecord[] = [];
  const since = new Map<string, number>();
  for (const [index, letter] of [...voters].entries()) {
    const id = u64FromNumber(index + 1);
    list.push(new MemberRecord(id, [`http://${index}:1`], false, letter === 'U' ? '' : `m${index}`));
    if (letter === 'S') since.set(id, NOW - 5000);
    if (letter === 'R') since.set(id, NOW - 4999);
  }
  for (let index = 0; index < learners; index++) list.push(new MemberRecord(u64FromNumber(90 + index), [], true));
  return new Reconfiguration({
    members: {
      get: (id) => list.find((member) => member.id === id),
      voters: () => list.filter((member) => !member.isLearner),
    },
    // The first one judges; it is not connected to itself.
    memberId: u64FromNumber(1),
    activeSince: (id) => (id === u64FromNumber(1) ? null : (since.get(id) ?? null)),
    nowMs: () => NOW,
    isStrict,
  });
}

const OK = 'may';
const FEW = 'etcdserver: re-configuration failed due to not enough started members';
const ILL = 'etcdserver: unhealthy cluster';
const verdict = (error: EtcdError | null): string => error?.message ?? OK;

const ADD: [voters: Voters, voter: string, learner: string][] = [
  ['S', OK, OK],
  ['SU', FEW, ILL],
  ['SS', OK, OK],
  ['SR', ILL, ILL],
  ['SSS', OK, OK],
  ['SSR', ILL, ILL],
  ['SSD', ILL, ILL],
  ['SSU', FEW, ILL],
  ['SSSU', OK, OK],
  ['SSSD', OK, OK],
  ['SSDU', ILL, ILL],
  ['SSSUU', FEW, ILL],
  ['SSSSD', OK, OK],
  ['SSSDD', ILL, ILL],
  ['SDD', ILL, ILL],
];
for (const [voters, voter, learner] of ADD) {
  test(`adding to ${voters}`, () => {
    const rules = rulesFor(voters);
    assert.equal(verdict(rules.againstAdding(false)), voter, 'a voter');
    assert.equal(verdict(rules.againstAdding(true)), learner, 'a learner');
  });
}

const REMOVE: [voters: Voters, index: number, answer: string][] = [
  ['S', 1, FEW],
  ['SS', 1, OK],
  ['SS', 2, OK],
  ['SD', 1, ILL],
  ['SD', 2, OK],
  ['SU', 1, FEW],
  ['SU', 2, OK],
  ['SSS', 1, OK],
  ['SSD', 3, OK],
  ['SSD', 2, ILL],
  ['SSD', 1, ILL],
  ['SRR', 2, ILL],
  ['SSSD', 2, OK],
  ['SSDD', 2, ILL],
  ['SSSSD', 1, OK],
  ['SSSDD', 1, ILL],
  ['SSSDD', 5, OK],
];
for (const [voters, index, answer] of REMOVE) {
  test(`removing number ${index} of ${voters}`, () => {
    assert.equal(verdict(rulesFor(voters).againstRemoving(u64FromNumber(index))), answer);
  });
}

test('a learner may always go, and nobody is judged where the check is off', () => {
  assert.equal(rulesFor('SDD', 1).againstRemoving(u64FromNumber(90)), null);
  const lax = rulesFor('SDU', 0, false);
  assert.deepEqual(
    [lax.againstAdding(false), lax.againstRemoving(u64FromNumber(2)), lax.againstPromoting()],
    [null, null, null],
  );
});

for (const [voters, answer] of [
  ['S', OK],
  ['SU', OK],
  ['SUU', FEW],
  ['SSU', OK],
  ['SUUU', FEW],
] as const) {
  test(`promoting beside ${voters}`, () => assert.equal(verdict(rulesFor(voters).againstPromoting()), answer));
}
