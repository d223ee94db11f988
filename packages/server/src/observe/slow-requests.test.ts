/** Goal: a slow request is told with where its time went, and without what it carried. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LogFields } from '@etsd/base';
import { startCluster } from '../embed/start-cluster.ts';
import { startMember } from '../embed/start-member.ts';
import { SlowLog } from './slow-log.ts';

const TOLD = 'apply request took too long';

class Heard {
  readonly lines: { message: string; fields: LogFields }[] = [];
  readonly enabled = (): boolean => true;
  readonly log = (_level: string, message: string, fields: LogFields = {}): void => {
    this.lines.push({ message, fields });
  };

  slow(request: string): LogFields[] {
    return this.lines
      .filter(({ message, fields }) => message === TOLD && fields['request'] === request)
      .map((line) => line.fields);
  }
}

const DURATION = /^[\d.]+(ns|µs|ms|s)$/;
const flags = { 'experimental-warning-apply-duration': '1us' };

function assertStages(fields: LogFields | undefined, ...stages: string[]): void {
  assert.ok(fields !== undefined);
  const head = ['took', 'expected-duration', 'request', 'key-prefix', 'request-bytes', 'remote', 'code'];
  assert.deepEqual(Object.keys(fields), [...head, ...stages]);
  for (const name of ['took', 'expected-duration', ...stages])
    assert.match(String(fields[name]), /^(0s|[\d.]+(ns|µs|ms|s))$/, name);
  assert.match(String(fields['took']), DURATION);
}

describe('a slow request', () => {
  test('of a leader and of a follower says where its time went', async () => {
    const logger = new Heard();
    await using cluster = await startCluster({ flags, logger });
    for (const isLeader of [true, false]) {
      const member = cluster.members.find((each) => each.isLeader === isLeader);
      assert.ok(member !== undefined);
      logger.lines.length = 0;
      const client = member.client();
      await client.kv.put('/app/users/hidden', 'secret value', { timeoutMs: 30_000 });
      await client.kv.get('/app/users/hidden', { timeoutMs: 30_000 });
      const replication = isLeader ? ['batched', 'replication'] : ['replication'];
      assertStages(logger.slow('KV/Put')[0], 'queued', ...replication, 'fsync', 'apply');
      assertStages(logger.slow('KV/Range')[0], 'queued', 'barrier', 'answer');
      for (const request of ['KV/Put', 'KV/Range'])
        assert.equal(logger.slow(request)[0]?.['key-prefix'], '/app/users/...');
      assert.ok(!JSON.stringify(logger.lines).includes('secret'), 'no value');
      assert.ok(!JSON.stringify(logger.lines).includes('hidden'), 'no whole key');
    }
  });

  test('is one that takes longer than the shorter flag; what is fast is not told', async () => {
    const logger = new Heard();
    const slow = { 'warning-apply-duration': '1h', 'warning-unary-request-duration': '1us' };
    for (const [settings, lines] of [
      [{ 'warning-apply-duration': '1h', 'warning-unary-request-duration': '1h' }, 0],
      [slow, 1],
    ] as const) {
      const member = await startMember({ flags: settings, logger });
      await member.client().kv.put('a', '1');
      assert.equal(logger.slow('KV/Put').length, lines);
      await member.close();
    }
  });
});

// Goal: an overloaded member does not make things worse by writing of it, and still says how many there were.
test('of many slow requests a few are told a second, with the number of the others', () => {
  const logger = new Heard();
  const log = new SlowLog(logger);
  const say = (nowMs: number): void => {
    if (log.mayTell(nowMs))
      log.tell(250.12345678, 100, { request: 'KV/Put' }, { queued: 0.0015, fsync: 61_500, lost: Number.NaN });
  };
  for (let at = 0; at < 50; at++) say(5000 + at);
  assert.equal(logger.lines.length, 10);
  say(6000);
  assert.deepEqual(logger.lines.at(-1)?.fields, {
    took: '250.123ms',
    'expected-duration': '100ms',
    request: 'KV/Put',
    queued: '1.5µs',
    fsync: '1m1.5s',
    'untold-requests': 40,
  });
  assert.equal(log.total, 51);
});
