/**
 * Goal: a service manager hears what is so, when it is so, and nothing of a member that is not well. Method: time and the
 * sender are the test's own.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceManager, type Wellbeing } from './service-manager.ts';

class Setting {
  readonly told: string[] = [];
  readonly logged: string[] = [];
  /** What the next messages are answered. */
  errno = 0;
  intervalMs = 0;
  health: Wellbeing = { status: 'Serving; leader in term 2', isHealthy: true };
  private tick: (() => void) | null = null;
  readonly manager: ServiceManager;

  constructor(watchdogMs: number | null) {
    this.manager = new ServiceManager({
      watchdogMs,
      logger: { log: (_level: string, message: string) => void this.logged.push(message) } as never,
      sender: {
        send: (text) => {
          if (this.errno === 0) this.told.push(text);
          return this.errno;
        },
      },
      clock: {
        every: (ms, callback) => {
          this.intervalMs = ms;
          this.tick = callback;
          return {
            cancel: () => {
              this.tick = null;
            },
          };
        },
        afterTurn: (callback) => callback(),
      },
    });
  }

  /** What is told when the timer goes off; null where there is none. */
  pass(): string[] | null {
    if (this.tick === null) return null;
    this.told.length = 0;
    this.tick();
    return [...this.told];
  }
}

test('ready is said once it serves, pings follow twice within the time of the watchdog', () => {
  const setting = new Setting(3000);
  setting.manager.starting();
  assert.deepEqual(setting.told, ['STATUS=Starting; it serves once the cluster has a leader']);
  assert.equal(setting.pass(), null);
  setting.manager.ready(() => setting.health);
  assert.deepEqual(setting.told.slice(1), ['READY=1\nSTATUS=Serving; leader in term 2', 'WATCHDOG=1']);
  assert.equal(setting.intervalMs, 1500);
  assert.deepEqual(setting.pass(), ['WATCHDOG=1']);
});

test('a changed status is told, an unchanged one is not', () => {
  const setting = new Setting(null);
  setting.manager.ready(() => setting.health);
  assert.deepEqual(setting.pass(), []);
  setting.health = { status: 'Serving; no leader', isHealthy: true };
  assert.deepEqual(setting.pass(), ['STATUS=Serving; no leader']);
  assert.deepEqual(setting.pass(), []);
});

test('the watchdog hears nothing while the member is not well, and again afterwards', () => {
  const setting = new Setting(20_000);
  setting.manager.ready(() => setting.health);
  assert.equal(setting.intervalMs, 5000);
  setting.health = { status: 'the disk hangs', isHealthy: false };
  assert.deepEqual(setting.pass(), ['STATUS=the disk hangs']);
  assert.deepEqual(setting.pass(), []);
  assert.equal(setting.logged.length, 1);
  setting.health = { status: 'Serving; leader in term 3', isHealthy: true };
  assert.deepEqual(setting.pass(), ['STATUS=Serving; leader in term 3\nWATCHDOG=1']);
});

test('after stopping there are no more pings', () => {
  const setting = new Setting(3000);
  setting.manager.ready(() => setting.health);
  setting.manager.stopping('Stopping');
  assert.equal(setting.told.at(-1), 'STOPPING=1\nSTATUS=Stopping');
  assert.equal(setting.pass(), null);
});

test('the reason of a failure is one line', () => {
  const setting = new Setting(3000);
  setting.manager.failed('cannot open\nREADY=1');
  assert.deepEqual(setting.told, ['STATUS=cannot open READY=1']);
});

test('what could not be sent goes with the next, pings excepted', () => {
  const setting = new Setting(3000);
  setting.errno = 11;
  setting.manager.ready(() => setting.health);
  setting.pass();
  assert.deepEqual(setting.logged, ['the service manager could not be told']);
  setting.errno = 0;
  assert.deepEqual(setting.pass(), ['READY=1\nSTATUS=Serving; leader in term 2\nWATCHDOG=1']);
  assert.deepEqual(setting.pass(), ['WATCHDOG=1']);
});
