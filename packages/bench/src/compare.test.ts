import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { callOnce } from './call-once.ts';
import type { Dial } from './channel.ts';
import { type Measurement, medianOf, type RowResult, resultTable } from './compare.ts';
import { dialerOf, parseEndpoint } from './dial.ts';
import { DEFAULT_OPTIONS } from './options.ts';
import { plot } from './plot.ts';
import { digits, median, table } from './report.ts';
import { familyOf, ROWS, selectRows } from './rows.ts';
import { startServer } from './servers.ts';

function measurement(perSecond: number, p99Ms: number): Measurement {
  return {
    perSecond,
    p50Ms: p99Ms / 4,
    p99Ms,
    p999Ms: p99Ms * 2,
    serverCpuMicros: 20,
    residentMb: 100,
    loadCpuMicros: 5,
    errors: 1,
  };
}

function result(row: string, clients: number, etsd: number, etcd: number): RowResult {
  const medians = { etsd: measurement(etsd, 3), etcd: measurement(etcd, 6) };
  return { row, clients, unit: 'requests', rounds: {}, medians };
}

test('goal: the middle of the rounds counts, figure by figure', () => {
  assert.equal(median([5, 1, 9]), 5);
  assert.equal(median([4, 1]), 1);
  assert.equal(median([]), 0);
  const middle = medianOf([measurement(10, 9), measurement(30, 1), measurement(20, 5)]);
  assert.equal(middle.perSecond, 20);
  assert.equal(middle.p99Ms, 5);
  assert.equal(middle.errors, 3);
});

test('goal: the table shows both servers and their ratio', () => {
  const lines = resultTable([result('put-100', 100, 30_000, 15_000)]).split('\n');
  assert.equal(lines.length, 4);
  assert.match(lines[1] as string, /^put-100 +etsd +30,000/);
  assert.match(lines[3] as string, /ratio +×2\.00 +×0\.50 +×0\.50/);
  assert.equal(
    table([
      ['a', 'bb'],
      ['ccc', 'd'],
    ]),
    'a    bb\nccc   d',
  );
  assert.deepEqual([0.1234, 12.34, 123.4, 12_345].map(digits), ['0.12', '12.3', '123', '12,345']);
});

test('goal: rows are chosen by name and by family, and a wrong name is named', () => {
  assert.deepEqual(
    selectRows(['put', 'range-l-100']).map((row) => row.name),
    ['put-1', 'put-100', 'put-1000', 'range-l-100'],
  );
  assert.equal(selectRows([]).length, ROWS.length);
  assert.equal(new Set(ROWS.map((row) => row.name)).size, ROWS.length);
  assert.equal(familyOf('txn-mixed-100'), 'txn-mixed');
  assert.throws(() => selectRows(['nothing']), /no row nothing/);
});

test('goal: the picture has a point for each load and server, inside its chart', () => {
  const svg = plot([
    result('put-1', 1, 900, 700),
    result('put-100', 100, 30_000, 15_000),
    result('lease-100', 100, 9, 8),
  ]);
  const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)];
  assert.equal(circles.length, 3 * 2 * 2);
  for (const [, x, y] of circles) {
    assert.ok(Number(x) >= 56 && Number(x) <= 344, `x ${x}`);
    assert.ok(Number(y) >= 34 && Number(y) <= 220, `y ${y}`);
  }
  assert.equal(svg.match(/<g /g)?.length, svg.match(/<\/g>/g)?.length);
  assert.ok(!svg.includes('NaN'));
  assert.ok(plot([{ row: 'put-1', clients: 1, unit: 'requests', rounds: {}, medians: {} }]).includes('put'));
});

const skip = needsPeer('etcd');

for (const transport of ['etsd', 'node'] as const) {
  test(`goal: a server is started, known to be ready, measured and stopped; method: real etcd over ${transport}`, {
    skip,
  }, async () => {
    const dial: Dial = dialerOf({ ...DEFAULT_OPTIONS, transport });
    const server = await startServer('etcd', { workDirectory: tmpdir(), members: 1, tls: false, flags: [] }, dial);
    try {
      const channel = await dial(server.endpoints[0] as string);
      await callOnce(channel, '/etcdserverpb.Maintenance/Status', Buffer.alloc(0));
      await assert.rejects(callOnce(channel, '/etcdserverpb.KV/Nothing', Buffer.alloc(0)), /code 12/);
      channel.close();
      assert.ok(server.residentBytes() > 10e6);
      assert.ok(server.cpuSeconds() > 0);
      assert.ok((await server.restart(dial)) > 0);
    } finally {
      await server.stop();
    }
    await assert.rejects(dial(server.endpoints[0] as string));
  });
}

test('goal: a server that cannot start is an error with its own words', { skip }, async () => {
  await assert.rejects(
    startServer(
      'etcd',
      { workDirectory: tmpdir(), members: 1, tls: false, flags: ['--no-such-flag'] },
      dialerOf(DEFAULT_OPTIONS),
    ),
    /no-such-flag/,
  );
});

test('goal: endpoints are read in all their forms', () => {
  assert.deepEqual(parseEndpoint('h:1'), { address: { host: 'h', port: 1 }, secure: false });
  assert.deepEqual(parseEndpoint('https://[::1]:2'), { address: { host: '::1', port: 2 }, secure: true });
  assert.deepEqual(parseEndpoint('unix:///a/b'), { address: { path: '/a/b' }, secure: false });
  assert.throws(() => parseEndpoint('nowhere'), /no endpoint/);
});
