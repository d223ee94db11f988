/** Goal: the examples of the client library run, and print what their comments promise. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { NODE, ROOT } from '../support/binaries.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;

async function run(name: string): Promise<string[]> {
  const program = join(ROOT, 'examples', name);
  const { stdout } = await promisify(execFile)(NODE, [program, server.address], { timeout: 60_000 });
  return stdout.trim().split('\n');
}

/** Of lines that several write at once: where a line stands, or −1. */
function at(lines: readonly string[], line: string): number {
  return lines.indexOf(line);
}

// The examples touch no keys in common, so they share a member, and its time.
describe('examples of the client library', { concurrency: 3 }, () => {
  before(async () => {
    server = await startServer({ product: 'etsd' });
  });
  after(() => server.dispose());

  test('examples/lock.ts counts to nine, one after the other', async () => {
    const counts = (await run('lock.ts')).map((line) => Number(line.split(': ')[1]));
    assert.deepEqual(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('examples/fencing.ts: the late write is refused', async () => {
    assert.deepEqual(await run('fencing.ts'), [
      'the first holds the lock',
      'the second holds it, with a larger token: true',
      'the first comes back and is refused',
      'the report: by the second',
    ]);
  });

  test('examples/read-write-lock.ts: two read, one writes', async () => {
    assert.deepEqual(await run('read-write-lock.ts'), ['two read', 'one reads still', 'one writes', 'one reads again']);
  });

  test('examples/semaphore.ts: no more than two machines are away', async () => {
    const lines = await run('semaphore.ts');
    assert.equal(lines.length, 8);
    for (const name of ['m1', 'm2', 'm3', 'm4']) {
      const back = at(lines, `${name} is back, no more than two were away`);
      assert.ok(back > at(lines, `${name} reboots`) && at(lines, `${name} reboots`) >= 0);
    }
    let away = 0;
    for (const line of lines) {
      away += line.endsWith('reboots') ? 1 : -1;
      assert.ok(away <= 2, lines.join('\n'));
    }
  });

  test('examples/election.ts: the second follows the first', async () => {
    const lines = await run('election.ts');
    assert.equal(lines.at(-1), 'leader: second');
    assert.ok(lines.every((line) => /^leader: (first|first, at work|second)$/.test(line)));
  });

  test('examples/barrier.ts: nobody starts before the schema is migrated', async () => {
    const [first, ...rest] = await run('barrier.ts');
    assert.equal(first, 'the schema is migrated');
    assert.deepEqual(rest.sort(), ['billing starts', 'mail starts']);
  });

  test('examples/double-barrier.ts: all begin together and end together', async () => {
    const lines = await run('double-barrier.ts');
    const phase = (words: string) => ['a', 'b', 'c'].map((name) => at(lines, `${name} ${words}`));
    const [there, runs, done] = [phase('is there'), phase('runs'), phase('knows that all are done')];
    assert.ok([...there, ...runs, ...done].every((place) => place >= 0) && lines.length === 9);
    assert.ok(Math.max(...there) < Math.min(...runs));
    assert.ok(Math.max(...runs) < Math.min(...done));
  });

  test('examples/queue.ts: what a dead worker had is done as well', async () => {
    const [first, ...sent] = await run('queue.ts');
    assert.equal(first, 'a worker takes ada and is gone');
    assert.deepEqual(sent.sort(), ['sent to ada', 'sent to edsger', 'sent to grace']);
  });

  test('examples/priority-queue.ts: fire first', async () => {
    assert.deepEqual(await run('priority-queue.ts'), [
      'fire',
      'a disk is nearly full',
      'a disk is full',
      'a lamp is broken',
    ]);
  });

  test('examples/transfer.ts: no money comes or goes', async () => {
    const lines = await run('transfer.ts');
    assert.equal(lines[0], 'done: true, true, true, false');
    assert.equal(lines[2], 'sum: 300');
  });

  test('examples/counter.ts: no ticket twice', async () => {
    assert.deepEqual(await run('counter.ts'), [
      `tickets: ${Array.from({ length: 20 }, (_unused, index) => index + 1).join(' ')}`,
    ]);
  });

  test('examples/registry.ts: who is gone is not asked', async () => {
    assert.deepEqual(await run('registry.ts'), [
      'two requests at once: 10.0.0.1:80 and 10.0.0.2:80',
      'one is gone: 10.0.0.2:80',
    ]);
  });

  test('examples/config.ts: the configuration follows its keys, and refuses what is wrong', async () => {
    assert.deepEqual(await run('config.ts'), [
      'read: {"level":"info","workers":4}',
      'now: {"level":"debug","workers":8}',
      'refused: "example/config/" holds no valid configuration: workers is "many", not a whole number from 1 to 64',
      'now: {"level":"debug","workers":16}',
    ]);
  });
});

test('examples/testing.ts: tests of a program with a member in their own process', async () => {
  const program = join(ROOT, 'examples/testing.ts');
  // A test runner that finds itself inside of another one would report to that.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(NODE, ['--test', program], { timeout: 60_000, env });
  assert.match(stdout, /pass 2\b/);
  assert.match(stdout, /fail 0\b/);
});
