import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compareReports, type MemberReport, readReport, type StateHash, writeReport } from './compare.ts';

const window = (end: number, digest: number) => ({ end, digest, fromRevision: end - 255, toRevision: end + 1 });
const report = (digests: Record<number, number>, states: StateHash[] = []): MemberReport => ({
  windows: Object.entries(digests).map(([end, digest]) => window(Number(end), digest)),
  states,
});

describe('this member is wrong', () => {
  const cases: [what: string, voters: number, own: number, others: number[], isWrong: boolean][] = [
    ['where both others agree on something else', 3, 1, [2, 2], true],
    ['not where the others agree with it', 3, 1, [1, 1], false],
    ['not where one of them does', 3, 1, [1, 2], false],
    ['not where each holds something else', 3, 1, [2, 3], false],
    ['not where only one was heard', 3, 1, [2], false],
    ['not in a cluster of two', 2, 1, [2], false],
    ['where three of five agree', 5, 1, [2, 2, 2], true],
    ['not where two of five do', 5, 1, [2, 2], false],
    ['not where two of five do, and another with it', 5, 1, [2, 2, 1], false],
    ['where three of four agree', 4, 1, [2, 2, 2], true],
    ['not where two of four do: that is half', 4, 1, [2, 2, 1], false],
    ['as a learner of one voter that says otherwise', 1, 1, [2], true],
  ];
  for (const [what, voters, own, others, isWrong] of cases) {
    test(what, () => {
      const heard = new Map(others.map((digest, at) => [`000000000000000${at}`, report({ 256: digest })]));
      const { difference } = compareReports(report({ 256: own }), heard, voters);
      assert.equal(difference !== null, isWrong);
    });
  }
});

test('the first window that differs is told, with its revisions and who agrees', () => {
  const others = new Map([
    ['a', report({ 512: 5, 768: 6, 1024: 7 })],
    ['b', report({ 256: 4, 512: 5, 768: 6 })],
  ]);
  const { difference, differing } = compareReports(report({ 256: 4, 512: 5, 768: 66, 1024: 77 }), others, 3);
  assert.deepEqual(difference, { what: 'changes', fromRevision: 513, toRevision: 769, others: ['a', 'b'] });
  assert.equal(differing, 2, 'the last one was told by one member alone');
});

test('states are compared at the same revision and compaction only', () => {
  const state = (compactRevision: number, hash: number): StateHash => ({ revision: 90, compactRevision, hash });
  const others = (hash: StateHash) =>
    new Map([['a', hash] as const, ['b', hash] as const].map(([id, one]) => [id, report({}, [one])]));
  assert.equal(compareReports(report({}, [state(5, 1)]), others(state(6, 2)), 3).difference, null);
  assert.deepEqual(compareReports(report({}, [state(5, 1)]), others(state(5, 2)), 3).difference, {
    what: 'state',
    fromRevision: 5,
    toRevision: 90,
    others: ['a', 'b'],
  });
});

describe('on the wire', () => {
  const own = report({ 256: -7 }, [{ revision: 3, compactRevision: -1, hash: 4_000_000_000 }]);

  test('what is written is read', () => {
    assert.deepEqual(readReport(Buffer.from(writeReport(own, false))), own);
  });

  test('a member in quarantine, another format and nonsense count for nothing', () => {
    assert.equal(readReport(Buffer.from(writeReport(own, true))), null);
    const good = JSON.parse(writeReport(own, false)) as Record<string, unknown>;
    for (const change of [
      { format: 2 },
      { windows: 1 },
      { windows: [[1]] },
      { states: [[1, 2, '3']] },
      { windows: [null] },
    ]) {
      assert.equal(readReport(Buffer.from(JSON.stringify({ ...good, ...change }))), null, JSON.stringify(change));
    }
    for (const text of ['', 'null', '[]', '7', '{}', '\xff']) assert.equal(readReport(Buffer.from(text)), null, text);
  });
});
