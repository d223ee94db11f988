import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeWorld } from './api/surroundings.fixture.ts';
import { SimpleTokens } from './tokens.ts';

function setUp(): { world: FakeWorld; tokens: SimpleTokens } {
  const world = new FakeWorld();
  return { world, tokens: new SimpleTokens({ ...world, ttlMs: 10_000 }) };
}

test('a prefix is sixteen letters', () => {
  const { tokens } = setUp();
  assert.match(tokens.prefix(), /^[A-Za-z]{16}$/);
});

// Goal: a token that is used stays, one that lies ends after its time, to the moment.
test('a token lives as long as it is used', () => {
  const { world, tokens } = setUp();
  tokens.assigned('joe', 'abc.5');
  world.advance(9999);
  assert.equal(tokens.caller('abc.5', 7)?.username, 'joe');
  world.advance(9999);
  assert.equal(tokens.caller('abc.5', 8)?.authRevision, 8, 'known at the present revision');
  world.advance(10_000);
  assert.equal(tokens.caller('abc.5', 8), null);
  assert.equal(tokens.size, 0);
});

test('tokens nobody asks for are swept', () => {
  const { world, tokens } = setUp();
  tokens.assigned('joe', 'abc.5');
  tokens.assigned('joe', 'abd.6');
  world.advance(20_000);
  assert.equal(tokens.size, 0);
  assert.equal(world.timerCount, 0, 'nothing left to sweep');
});

test('the tokens of one user go, those of the others stay', () => {
  const { tokens } = setUp();
  tokens.assigned('joe', 'a.1');
  tokens.assigned('joe', 'b.2');
  tokens.assigned('ann', 'c.3');
  tokens.dropUser('joe');
  assert.deepEqual(
    ['a.1', 'b.2', 'c.3'].map((token) => tokens.caller(token, 1)?.username),
    [undefined, undefined, 'ann'],
  );
  tokens.dropAll();
  assert.equal(tokens.size, 0);
});

test('where a token was born is read from it, if it looks like one', () => {
  const { tokens } = setUp();
  assert.deepEqual(
    ['abc.17', 'abc', 'abc.', 'abc.x', 'abc.-1', 'abc.99999999999999999999', 'a.b.c'].map((text) =>
      tokens.bornAt(text),
    ),
    [17, 0, 0, 0, 0, 0, 0],
  );
});
