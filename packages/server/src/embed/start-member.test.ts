import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EtcdClient, prefix } from '@etsd/client';
import { startMember } from '../index.ts';
import { ManualClock, memberFixture, memberFor, type TestContext, type TestMember } from '../testing/index.ts';

// Goal: a program starts a member with one call, talks to it without a port, and is rid of all of it after `close`.

test('a member in memory, without a port, answers a client in the same process', async () => {
  await using member = await startMember();
  const client = member.client();
  const { header } = await client.kv.put('greeting', 'hello');
  assert.equal(header?.revision, 2);
  assert.equal((await client.kv.get('greeting'))?.value.toString(), 'hello');
  assert.deepEqual(member.endpoints, []);
  assert.throws(() => member.endpoint, /has no port; start it with \{ listen/);
});

test('values of a megabyte go through a connection without a socket, both ways', async () => {
  await using member = await startMember();
  const client = member.client();
  const value = Buffer.alloc(1_400_000, 'x');
  await Promise.all([1, 2, 3].map((i) => client.kv.put(`big/${i}`, value)));
  const { kvs } = await client.kv.range(prefix('big/'));
  assert.deepEqual(
    kvs.map((kv) => kv.value.length),
    [value.length, value.length, value.length],
  );
});

test('with a free port it serves clients outside of the process, too', async () => {
  await using member = await startMember({ listen: '127.0.0.1:0' });
  assert.match(member.endpoint, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  await using outside = new EtcdClient({ endpoints: member.endpoint });
  await outside.kv.put('a', '1');
  assert.equal((await member.client().kv.get('a'))?.value.toString(), '1');
  assert.deepEqual((await outside.cluster.list()).members[0]?.clientURLs, [member.endpoint]);
});

test('members in one process know nothing of each other', async () => {
  const members = await Promise.all([1, 2, 3].map(() => startMember({ listen: '127.0.0.1:0' })));
  const clients = members.map((member) => member.client());
  await Promise.all(clients.map((client, i) => client.kv.put('who', `member ${i}`)));
  for (const [i, client] of clients.entries()) {
    assert.equal((await client.kv.get('who'))?.value.toString(), `member ${i}`);
  }
  assert.equal(new Set(members.map((member) => member.endpoint)).size, 3);
  await Promise.all(members.map((member) => member.close()));
});

test('what was written on disk is there for the next start, also with time standing still', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-embed-'));
  try {
    for (const [turn, clock] of [undefined, new ManualClock()].entries()) {
      await using member = await startMember({
        dataDir: join(folder, 'data'),
        ...(clock === undefined ? {} : { clock }),
      });
      const client = member.client();
      assert.equal((await client.kv.get('turn'))?.value.toString(), turn === 0 ? undefined : '0');
      await client.kv.put('turn', String(turn));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a lease ends when its time has passed on the clock, not before, and takes its keys along', async (t) => {
  const { client, clock } = await memberFor(t);
  const { ID } = await client.leases.grant(10);
  await client.kv.put('session', 'open', { lease: ID });
  const watcher = client.watch('session');
  const deleted = (async () => {
    for await (const event of watcher.events()) if (event.kv?.value.length === 0) return event.kv.modRevision;
    return 0;
  })();
  await clock.advance(9_900);
  assert.equal((await client.kv.get('session'))?.value.toString(), 'open');
  await clock.advance(1_600);
  assert.equal(await client.kv.get('session'), null);
  assert.ok((await deleted) > 0, 'the watcher saw it');
  await watcher.close();
});

test('a lease that is kept alive survives ten minutes that pass at once, and ends when its owner stops', async (t) => {
  const { client, clock, member } = await memberFor(t);
  const owner = member.client();
  const held = await owner.leases.hold(5);
  await client.kv.put('service/a', 'up', { lease: held.id });
  await clock.advance(600_000);
  assert.equal((await client.kv.get('service/a'))?.value.toString(), 'up');
  await owner.close();
  await clock.advance(7_000);
  assert.equal(await client.kv.get('service/a'), null);
});

test('nothing is left behind: no timer, no socket, no thread', async () => {
  const before = process.getActiveResourcesInfo().length;
  for (let i = 0; i < 3; i++) {
    const member = await startMember(i === 0 ? {} : { listen: '127.0.0.1:0' });
    const client = member.client();
    await client.kv.put('a', 'b');
    const held = await client.leases.hold(30);
    await client.kv.put('leased', 'b', { lease: held.id });
    void client
      .watch('a')
      .events()
      .next()
      .catch(() => {});
    const startedMs = performance.now();
    await member.close();
    await member.close();
    assert.ok(performance.now() - startedMs < 1500, 'closing does not wait for watchers');
  }
  for (let turns = 0; turns < 50 && process.getActiveResourcesInfo().length > before; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(process.getActiveResourcesInfo().length, before, process.getActiveResourcesInfo().join());
});

test('once the code is warm, a start costs less than 100 ms of processor time', async () => {
  const costs: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = process.cpuUsage();
    await using member = await startMember();
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / 1000);
    await member.client().kv.put('a', 'b');
  }
  assert.ok(Math.min(...costs) < 100, `milliseconds: ${costs.join()}`);
});

test('any flag of etsd may be given, and a wrong one is named', async () => {
  await using member = await startMember({ flags: { 'max-txn-ops': 2, '--name': 'embedded' } });
  const { members } = await member.client().cluster.list();
  assert.equal(members[0]?.name, 'embedded');
  await assert.rejects(startMember({ flags: { 'max-txn-opps': 2 } }), /max-txn-opps/);
  await assert.rejects(startMember({ listen: '127.0.0.1' }), /host:port/);
});

test('an address that is taken rejects the start', async () => {
  await using first = await startMember({ listen: '127.0.0.1:0' });
  await assert.rejects(startMember({ listen: first.endpoint }), /address already in use/);
});

// Goal: what vitest does with a context and with a fixture, in its own order, ends with the member closed.

test('a test context with onTestFinished, as vitest has it, closes the member', async () => {
  const finished: (() => Promise<void>)[] = [];
  const context: TestContext = { onTestFinished: (callback) => void finished.push(callback) };
  const { client } = await memberFor(context);
  await client.kv.put('a', '1');
  assert.equal(finished.length, 1);
  for (const callback of finished) await callback();
  await assert.rejects(client.kv.get('a'));
});

test('a fixture as vitest wants it is set up around the test', async () => {
  const fixture = memberFixture({ clientOptions: { namespace: 'app/' } });
  assert.match(fixture.toString(), /^async \(\{\s*\}/, 'vitest reads what it depends on from here');
  let seen: TestMember | null = null;
  await fixture({}, async (etsd) => {
    seen = etsd;
    await etsd.client.kv.put('a', '1');
    assert.equal((await etsd.member.client().kv.get('app/a'))?.value.toString(), '1');
  });
  await assert.rejects((seen as unknown as TestMember).client.kv.get('a'));
});
