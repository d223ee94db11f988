import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inRange, Prng } from '@etsd/base';
import { AuthPermission } from '@etsd/proto';
import { KeyIntervals, UserPermissions } from './permissions.ts';

const perm = (key: string, rangeEnd = '', permType = 2) =>
  AuthPermission.create({ permType, key: Buffer.from(key, 'latin1'), rangeEnd: Buffer.from(rangeEnd, 'latin1') });

test('a range is covered where permissions leave no gap', () => {
  const set = new KeyIntervals([perm('a', 'c'), perm('c', 'e'), perm('f'), perm('d', 'd5'), perm('x', '\0')]);
  const table: [key: string, end: string, covered: boolean][] = [
    ['a', '', true],
    ['a', 'e', true],
    ['b', 'd9', true],
    ['a', 'e\0', false],
    ['e', '', false],
    ['f', '', true],
    ['f', 'f\0', true],
    ['f', 'f\0\0', false],
    ['f\0', '', false],
    ['`', 'b', false],
    ['`', '', false],
    ['a', '\0', false],
    ['x', '\0', true],
    ['y', '\0', true],
    ['w', '\0', false],
    ['y', 'z', true],
    ['\xff\xff', '', true],
  ];
  for (const [key, end, covered] of table) assert.equal(set.covers(key, end), covered, JSON.stringify([key, end]));
});

test('what contains no key allows nothing, nor does a kind that is not known', () => {
  const set = new KeyIntervals([perm('', '\0'), perm('b', 'a'), perm('c', 'c')]);
  for (const key of ['a', 'b', 'c', '\xff']) assert.equal(set.covers(key, ''), false);
  const user = new UserPermissions([perm('a', '', 0), perm('b', '', 1), perm('c', '', 2), perm('d', '', 3)]);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => [user.read.covers(key, ''), user.write.covers(key, '')]),
    [
      [true, false],
      [false, true],
      [true, true],
      [false, false],
    ],
  );
});

// Goal: merged intervals answer what the permissions mean. Method: random ones over few keys, key by key.
test('random permissions cover a range exactly where they cover each of its keys', () => {
  const random = new Prng(5);
  const keys = [...'abcdefgh'].flatMap((letter) => [letter, `${letter}\0`, `${letter}m`]);
  for (let round = 0; round < 300; round++) {
    const one = () => keys[random.below(keys.length)] as string;
    const permissions = Array.from({ length: random.below(6) }, () => perm(one(), ['', one(), '\0'][random.below(3)]));
    const set = new KeyIntervals(permissions);
    const isAllowed = (key: string) =>
      permissions.some((each) => inRange(key, each.key.toString('latin1'), each.rangeEnd.toString('latin1')));
    const first = one();
    const last = one();
    assert.equal(set.covers(first, ''), isAllowed(first));
    if (first >= last) continue;
    // All keys that matter lie right at an edge or in the middle of two.
    const inside = [...new Set([...keys, ...keys.map((key) => `${key}\0`)])].filter(
      (key) => first <= key && key < last,
    );
    if (inside.every(isAllowed) !== set.covers(first, last)) {
      assert.fail(
        JSON.stringify({ first, last, permissions: permissions.map((each) => [`${each.key}`, `${each.rangeEnd}`]) }),
      );
    }
  }
});
