/** Goal: an owner learns in time that its lease is gone. Method: a scripted member, simulated time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as methods from './methods.ts';
import { Neighbourhood } from './testing/neighbours.ts';

const ID = '0000000000000007';

async function neighbourhood(answers: () => boolean) {
  const around = new Neighbourhood();
  const renewals: number[] = [];
  const revoked: string[] = [];
  const { simulation } = around.universe;
  for (const name of ['a', 'b']) {
    const member = await around.member(name);
    member.on(methods.LeaseGrant, 'unary', (call) => call.answer({ ID, TTL: call.request.TTL }));
    member.on(methods.LeaseRevoke, 'unary', (call) => {
      revoked.push(call.request.ID);
      call.answer({});
    });
    member.on(methods.LeaseKeepAlive, 'stream', (call) => {
      renewals.push(Math.round(simulation.nowMs));
      if (answers()) call.send({ ID, TTL: 9 });
    });
  }
  return { around, renewals, revoked, client: around.client(['a', 'b']) };
}

test('a lease is renewed every third of its time, and given up at the end of the block', async () => {
  const { around, client, renewals, revoked } = await neighbourhood(() => true);
  const lease = await around.outcome(client.leases.hold(9));
  await around.pass(30_000);
  assert.ok(lease.isAlive);
  assert.equal(lease.signal.aborted, false);
  const gaps = renewals.slice(1).map((each, index) => each - (renewals[index] as number));
  assert.ok(gaps.length >= 9 && gaps.every((gap) => gap >= 2900 && gap <= 3100), `${gaps}`);
  await around.outcome(lease.release());
  assert.deepEqual(revoked, [ID]);
  assert.equal(lease.isAlive, false);
  await client.close();
});

test('members that do not answer are left, and the owner is told before the lease can have ended', async () => {
  let answering = true;
  const { around, client } = await neighbourhood(() => answering);
  const lease = await around.outcome(client.leases.hold(9));
  await around.pass(10_000);
  answering = false;
  const sinceMs = around.universe.simulation.nowMs;
  let toldMs = 0;
  lease.signal.addEventListener('abort', () => {
    toldMs = around.universe.simulation.nowMs;
  });
  await around.pass(20_000);
  assert.ok(toldMs > sinceMs && toldMs - sinceMs <= 9000, `told after ${toldMs - sinceMs} ms`);
  await client.close();
});

test('after the process stood still for too long the lease counts as lost at the first look', async () => {
  const { around } = await neighbourhood(() => true);
  const { world } = around.home;
  let jumpMs = 0;
  const clock = { nowMs: () => world.clock.nowMs() + jumpMs, wallMs: () => world.clock.wallMs() };
  const client = around.client(['a'], {}, { ...world, clock });
  const lease = await around.outcome(client.leases.hold(9));
  await around.pass(1000);
  assert.ok(lease.isAlive);
  // So it seems to whoever did not run meanwhile: time has passed, and no timer has had its turn yet.
  jumpMs = 9000;
  assert.equal(lease.isAlive, false);
  assert.equal(lease.signal.aborted, true);
  await client.close();
});

test('a lease that the server does not know ends the keeping', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  member.on(methods.LeaseKeepAlive, 'stream', (call) => call.send({ ID, TTL: 0 }));
  const client = around.client(['m']);
  const renewals = async (): Promise<number> => {
    let count = 0;
    for await (const _renewal of client.leases.keepAlive(ID)) count++;
    return count;
  };
  assert.equal(await around.outcome(renewals()), 0);
  await assert.rejects(around.outcome(client.leases.keepAliveOnce(ID)), /requested lease not found/);
  await client.close();
});
