import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeWorld } from '../api/surroundings.fixture.ts';
import { LoginPace, type PacedLogin } from './login-pace.ts';

class Login implements PacedLogin {
  isOpen = true;
  begun = 0;

  begin(): void {
    this.begun++;
  }
}

// Goal: however many log in at once, what goes through the log in any moment is a group, and all have their turn, in order.
test('logins go in groups, one every eight milliseconds', () => {
  const world = new FakeWorld();
  const pace = new LoginPace(world, 2);
  const logins = Array.from({ length: 100 }, () => new Login());
  const begun = () => logins.filter((login) => login.begun > 0).length;
  for (const login of logins) pace.add(login);
  assert.equal(begun(), 16, 'the first group does not wait');
  for (let ended = 0; ended < 16; ended++) pace.ended();
  assert.equal(begun(), 16, 'the next one waits for its time, though none is under way');
  const startMs = world.now;
  for (let group = 2; begun() < 100; group++) {
    world.advance(8);
    const expected = Math.min(100, 16 * group);
    assert.equal(begun(), expected);
    assert.ok(logins.slice(0, expected).every((login) => login.begun === 1));
    for (let ended = 16 * (group - 1); ended < expected; ended++) pace.ended();
  }
  assert.equal(world.now - startMs, 48);
  assert.equal(world.timerCount, 0);
});

test('a group waits for the one before, and who has gone takes no place in it', () => {
  const world = new FakeWorld();
  const pace = new LoginPace(world, 2);
  const logins = Array.from({ length: 48 }, () => new Login());
  for (const login of logins) pace.add(login);
  for (const gone of logins.slice(16, 32)) gone.isOpen = false;
  world.advance(100);
  assert.equal(logins[32]?.begun, 0, 'the log is slow: no more than a group is under way');
  for (let ended = 0; ended < 16; ended++) pace.ended();
  world.advance(8);
  assert.deepEqual(
    logins.map((login) => login.begun),
    [...new Array(16).fill(1), ...new Array(16).fill(0), ...new Array(16).fill(1)],
  );
});

test('a login now and then does not wait', () => {
  const world = new FakeWorld();
  const pace = new LoginPace(world, 2);
  for (let round = 0; round < 10; round++) {
    const login = new Login();
    pace.add(login);
    assert.equal(login.begun, 1);
    pace.ended();
  }
});

// Goal: while others write, no sync is made for logins alone; and they neither stop for it nor crowd into one write.
test('while others write, logins ride in their writes, 360 a second for each processor', () => {
  const world = new FakeWorld();
  const pace = new LoginPace(world, 2);
  pace.ride();
  const logins = Array.from({ length: 100 }, () => new Login());
  const begun = () => logins.filter((login) => login.begun > 0).length;
  for (const login of logins) pace.add(login);
  assert.equal(begun(), 0, 'somebody writes: no group of their own');
  const ride = (): number => {
    const before = begun();
    pace.ride();
    const riders = begun() - before;
    for (let rider = 0; rider < riders; rider++) pace.ended();
    return riders;
  };
  assert.equal(ride(), 16, 'what was not used before, no more than a group');
  world.advance(3.4723);
  assert.equal(ride(), 2);
  world.advance(3.4723);
  assert.equal(ride(), 3, 'the other half is not lost');
  assert.equal(ride(), 0, 'a second write in the same moment');
  world.advance(18);
  assert.equal(ride(), 12);
  world.advance(19.5);
  assert.equal(begun(), 33, 'nobody wrote for a while, but may still');
  world.advance(2);
  assert.equal(begun(), 49, 'nobody writes any more: a group');
  pace.ride();
  for (let login = 0; login < 16; login++) pace.ended();
  world.advance(8);
  assert.equal(begun(), 65, 'the write of a group is nobody else’s');
});
