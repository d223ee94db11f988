/**
 * Goal: an address that offends without end is kept out, for no longer than it deserves, and nobody else is. Method: a
 * door, a clock that is told the time, and offences of each kind.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Door } from './door.ts';

function setUp(perSecond = 100): { clock: { now: number; nowMs(): number }; door: Door; refused: string[] } {
  const clock = {
    now: 1000,
    nowMs(): number {
      return this.now;
    },
  };
  const door = new Door({ clock, perSecond });
  const refused: string[] = [];
  door.onRefused = (address) => refused.push(address);
  return { clock, door, refused };
}

test('who sends what is no handshake is let in a hundred times a second, and others always', () => {
  const { clock, door, refused } = setUp();
  let letIn = 0;
  for (let ms = 0; ms < 10_000; ms++) {
    clock.now++;
    for (let again = 0; again < 5; again++) {
      if (!door.admits('10.0.0.1')) continue;
      letIn++;
      door.handshakeRefused('10.0.0.1:4000', 'not-tls');
    }
    assert.ok(door.admits('10.0.0.2'));
  }
  assert.ok(letIn >= 1190 && letIn <= 1210, `${letIn}: two hundred free, then a hundred a second`);
  assert.equal(refused.length, 50_000 - letIn);
  assert.ok(refused.every((address) => address === '10.0.0.1'));
});

test('a flood counts as fifty, and after the last one the address is back within two seconds', () => {
  const { clock, door } = setUp();
  for (let count = 0; count < 1000; count++) door.misused('http2_enhance_your_calm', '10.0.0.1:1', 'too many resets');
  assert.ok(!door.admits('10.0.0.1'));
  clock.now += 1900;
  assert.ok(!door.admits('10.0.0.1'));
  clock.now += 200;
  assert.ok(door.admits('10.0.0.1'));
  door.misused('http2_enhance_your_calm', '10.0.0.1:1', 'too many resets');
  assert.ok(!door.admits('10.0.0.1'), 'little is forgiven at once');
});

test('what others can not help, or harms nobody, shuts nobody out', () => {
  const { door } = setUp();
  for (let count = 0; count < 10_000; count++) {
    door.handshakeRefused('10.0.0.1:1', 'bad-certificate');
    door.handshakeRefused('10.0.0.1:1', 'no-certificate');
    door.handshakeRefused('10.0.0.1:1', 'not-allowed');
    door.misused('answers_unread', '10.0.0.1:1', 'its window is shut');
    door.handshakeRefused('@', 'not-tls');
  }
  assert.ok(door.admits('10.0.0.1'));
  for (let count = 0; count < 30; count++) door.misused('http2_enhance_your_calm', '10.0.0.1:1', 'too_many_pings');
  assert.ok(door.admits('10.0.0.1'), 'a client that pings too often is a mistake, not a flood');
});

test('a network of IPv6 is one address, as is one of IPv4 however it is written', () => {
  const { door } = setUp();
  for (let count = 0; count < 300; count++) {
    door.handshakeRefused(`[2001:db8::${count.toString(16)}]:1`, 'hang-up');
    door.handshakeRefused('[::ffff:10.0.0.1]:1', 'hang-up');
  }
  assert.ok(!door.admits('2001:db8::ffff'));
  assert.ok(door.admits('2001:db8:0:1::1'));
  assert.ok(!door.admits('10.0.0.1') && !door.admits('::ffff:10.0.0.1'));
});

test('without a bound everybody is let in', () => {
  const { door } = setUp(0);
  for (let count = 0; count < 10_000; count++) door.misused('http2_protocol_error', '10.0.0.1:1', 'x');
  assert.ok(door.admits('10.0.0.1'));
});

test('addresses that are remembered are bounded', () => {
  const { door } = setUp();
  for (let first = 0; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      for (let count = 0; count < 5; count++) door.misused('http2_enhance_your_calm', `10.0.${first}.${second}:1`, 'x');
    }
  }
  assert.ok(door.admits('10.0.0.0'), 'the first was forgotten for the last');
  assert.ok(!door.admits('10.0.255.255'));
});

test('connections that ask for nothing are told of, and are no offence', () => {
  const { door, refused } = setUp();
  const slowed: string[] = [];
  door.onSlowed = (peer) => slowed.push(peer);
  for (let count = 0; count < 1000; count++) door.handshakesSlowed('10.0.0.1:4000');
  assert.equal(slowed.length, 1000);
  assert.ok(door.admits('10.0.0.1'));
  assert.deepEqual(refused, []);
});
