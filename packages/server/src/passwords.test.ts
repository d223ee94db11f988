import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BcryptEngine, type PasswordQuestion, Passwords } from './passwords.ts';

/** Hashes by reversing, and finishes when told to. */
class SlowEngine implements BcryptEngine {
  started = 0;
  underWay = 0;
  mostAtOnce = 0;
  private readonly releases: (() => void)[] = [];

  hash(password: string, cost: number): Promise<string> {
    return this.later(`$2y$${cost}$${[...password].reverse().join('')}`);
  }

  verify(password: string, stored: string): Promise<boolean> {
    return this.later(stored.endsWith([...password].reverse().join('')));
  }

  async releaseAll(): Promise<void> {
    for (let round = 0; round < 50; round++) {
      for (const release of this.releases.splice(0)) release();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private later<T>(value: T): Promise<T> {
    this.started++;
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.underWay);
    return new Promise((resolve) => {
      this.releases.push(() => {
        this.underWay--;
        resolve(value);
      });
    });
  }
}

function setUp(): { engine: SlowEngine; passwords: Passwords; clock: { now: number } } {
  const engine = new SlowEngine();
  const clock = { now: 1000 };
  const random = { bytes: (count: number) => Buffer.alloc(count, 9) };
  const passwords = new Passwords({ random, clock: { nowMs: () => clock.now }, cost: 4, engine, atOnce: 2 });
  return { engine, passwords, clock };
}

function ask(password: string, stored: string | null): PasswordQuestion {
  return { user: 'joe', password, stored, origin: '10.0.0.1' };
}

// Goal: the form is the one that etcd's members read, by the library that is shipped.
test('a hash is as Go writes it, and only its password fits', async () => {
  const random = { bytes: (count: number) => Buffer.alloc(count, 9) };
  const passwords = new Passwords({ random, clock: { nowMs: () => 0 }, cost: 4 });
  const hashed = await new Promise<string>((resolve, reject) =>
    passwords.hash('secret', (error, text) => (error === null ? resolve(text) : reject(error))),
  );
  assert.match(hashed, /^\$2a\$04\$[./A-Za-z0-9]{53}$/);
  const check = (password: string) =>
    new Promise<boolean>((resolve) => passwords.check(ask(password, hashed), (_error, isRight) => resolve(isRight)));
  assert.deepEqual([await check('secret'), await check('Secret'), await check('')], [true, false, false]);
  const fits = (stored: string) =>
    new Promise<boolean>((resolve) => passwords.check(ask('U*U', stored), (_error, isRight) => resolve(isRight)));
  // A vector of the first implementation, crypt_blowfish.
  assert.equal(await fits('$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'), true);
  assert.equal(await fits('not a hash'), false, 'what is no hash is nobody’s password');
});

test('a password beyond what bcrypt reads is refused with the words of etcd', () => {
  const { passwords } = setUp();
  passwords.hash('x'.repeat(73), (error) => assert.equal(error?.message, 'bcrypt: password length exceeds 72 bytes'));
});

// Goal: many logins cost one check, and only right passwords are remembered.
test('the same login is checked once, and known afterwards', async () => {
  const { engine, passwords, clock } = setUp();
  const answers: boolean[] = [];
  const check = (password: string, stored = '$2a$04$sap') =>
    passwords.check(ask(password, stored), (error, isRight) => {
      assert.equal(error, null);
      answers.push(isRight);
    });
  for (let client = 0; client < 100; client++) check('pas');
  await engine.releaseAll();
  assert.deepEqual([engine.started, answers.length, answers.every(Boolean)], [1, 100, true]);
  check('pas');
  assert.deepEqual([engine.started, answers.length], [1, 101], 'answered at once');
  check('wrong');
  await engine.releaseAll();
  check('wrong');
  await engine.releaseAll();
  assert.deepEqual([engine.started, answers.at(-1)], [3, false], 'a wrong one is checked each time');
  check('pas', '$2a$04$new');
  await engine.releaseAll();
  assert.deepEqual([engine.started, answers.at(-1)], [4, false], 'the old password is not known under the new hash');
  clock.now += 300_000;
  check('pas');
  await engine.releaseAll();
  assert.equal(engine.started, 5, 'forgotten after a while');
});

// Goal: hashing can not take the threads that the log needs, nor memory without end.
test('only a few hashes are made at once, and who comes too late is refused', async () => {
  const { engine, passwords } = setUp();
  let refused = 0;
  for (let user = 0; user < 1100; user++) {
    const origin = `10.0.0.${user % 10}`;
    passwords.check({ ...ask('pas', '$2a$04$sap'), user: `user-${user}`, origin }, (error) => {
      if (error !== null) refused++;
    });
  }
  await engine.releaseAll();
  assert.equal(engine.mostAtOnce, 2);
  assert.equal(refused, 98, 'two at work and a thousand waiting');
});

// Goal: who is there can not be told from how long an answer takes: a name that nobody has costs a hash like any other.
test('a user who is not there is looked at as long as one who is', async () => {
  const { engine, passwords } = setUp();
  let answer: boolean | null = null;
  passwords.check(ask('', null), (_error, isRight) => {
    answer = isRight;
  });
  assert.deepEqual([engine.started, answer], [1, null]);
  await engine.releaseAll();
  assert.equal(answer, false, 'whatever the engine says');
  const random = { bytes: (count: number) => Buffer.alloc(count, 9) };
  const real = new Passwords({ random, clock: { nowMs: () => 0 }, cost: 11 });
  const spent = async (stored: string | null): Promise<number> => {
    const started = process.cpuUsage().user;
    await new Promise((resolve) => real.check(ask('secret', stored), resolve));
    return process.cpuUsage().user - started;
  };
  const stored = await new Promise<string>((resolve) => real.hash('other', (_error, hashed) => resolve(hashed)));
  const times = [await spent(stored), await spent(null)] as const;
  assert.ok(times[1] > times[0] / 3, `${times.join(' and ')} microseconds: the hash of nobody is a hash`);
});

// Goal: one address, or guesses at one user, can not take all places of those who wait to be checked.
test('one address and one user have their share of the queue', async () => {
  const { engine, passwords } = setUp();
  const refused = new Map<string, number>();
  const count = (name: string) => (error: unknown) => {
    if (error !== null) refused.set(name, (refused.get(name) ?? 0) + 1);
  };
  for (let user = 0; user < 300; user++) {
    passwords.check({ ...ask('pas', null), user: `user-${user}`, origin: '10.0.0.9' }, count('address'));
  }
  for (let guess = 0; guess < 20; guess++) {
    passwords.check({ ...ask(`guess-${guess}`, null), user: 'ann', origin: `10.0.1.${guess}` }, count('user'));
  }
  passwords.check({ ...ask('pas', null), user: 'bob', origin: '10.0.2.1' }, count('others'));
  await engine.releaseAll();
  assert.deepEqual(
    [...refused],
    [
      ['address', 50],
      ['user', 12],
    ],
  );
});

// Goal: also where the operator changed the cost, and users still have hashes of the former one.
test('nobody’s hash costs what the last one did', async () => {
  const { engine, passwords } = setUp();
  const asked: string[] = [];
  engine.verify = async (_password, stored) => {
    asked.push(stored.slice(0, 7));
    return false;
  };
  const check = (stored: string | null) =>
    new Promise((resolve) => passwords.check({ ...ask('x', stored), user: `${asked.length}` }, resolve));
  await check(null);
  await check('$2a$12$abc');
  await check(null);
  await check('no hash');
  await check(null);
  assert.deepEqual(asked, ['$2a$04$', '$2a$12$', '$2a$12$', 'no hash', '$2a$12$']);
});
