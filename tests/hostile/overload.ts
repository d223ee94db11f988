/**
 * What scans without end do to everything else, with lanes and without: `node tests/hostile/overload.ts [--seconds 8]
 * [--clients 400]`. Prints the waits of leases, of questions for the members, of puts and of reads of one key, each asked
 * every twenty milliseconds, while many clients read ranges as fast as they can.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NODE, ROOT } from '../support/binaries.ts';
import type { Client, Message } from '../support/client.ts';
import { startServer } from '../support/server.ts';

const KEYS = 2000;
const EVERY_MS = 20;

export interface Waits {
  /** By what was asked: median and 99th percentile in milliseconds. */
  readonly waits: ReadonlyMap<string, readonly [number, number]>;
  readonly failures: readonly string[];
  readonly deferred: number;
  readonly scans: number;
}

const PROBES: readonly (readonly [name: string, method: string, message: Message])[] = [
  ['lease', 'Lease/LeaseTimeToLive', { ID: 7 }],
  ['members', 'Cluster/MemberList', {}],
  ['put', 'KV/Put', { key: Buffer.from('probe'), value: Buffer.from('x') }],
  ['read', 'KV/Range', { key: Buffer.from('probe') }],
];

export async function overload(lanes: boolean, seconds: number, clients: number): Promise<Waits> {
  const server = await startServer({ product: 'etsd', flags: [`--priority-lanes=${lanes}`] });
  const client = server.connect();
  try {
    await client.expect('Lease/LeaseGrant', { ID: 7, TTL: 1000 });
    for (let from = 0; from < KEYS; from += 100) {
      const puts = Array.from({ length: 100 }, (_, place) => {
        const key = Buffer.from(`scan/${String(from + place).padStart(6, '0')}`);
        return { request_put: { key, value: Buffer.alloc(100, 'v') } };
      });
      await client.expect('KV/Txn', { success: puts });
    }
    const load = spawn(
      NODE,
      [
        join(ROOT, 'packages/bench/src/main.ts'),
        ...['range', 'scan/', 'scan0', '--limit', '200', '--endpoints', server.address],
        ...['--conns', '50', '--clients', String(clients), '--seconds', String(seconds + 2), '--total', '100000000'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const ended = new Promise((resolve) => load.on('close', resolve));
    let output = '';
    load.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const until = performance.now() + seconds * 1000;
    const failures: string[] = [];
    const results = await Promise.all(PROBES.map((probe) => watch(client, probe, until, failures)));
    const page = await (await fetch(`http://${server.address}/metrics`)).text();
    load.kill();
    await ended;
    const deferred = [...page.matchAll(/^etsd_requests_deferred_total\{lane="\w+"\} (\d+)$/gm)];
    return {
      waits: new Map(results),
      failures,
      deferred: deferred.reduce((sum, [, count]) => sum + Number(count), 0),
      scans: Number(/Total:\s+(\d+)/.exec(output)?.[1] ?? 0),
    };
  } finally {
    client.close();
    await server.dispose();
  }
}

async function watch(
  client: Client,
  [name, method, message]: (typeof PROBES)[number],
  until: number,
  failures: string[],
): Promise<[string, readonly [number, number]]> {
  const times: number[] = [];
  while (performance.now() < until) {
    const started = performance.now();
    const { code, message: text } = await client.call(method, message, 30_000);
    if (code !== 0) failures.push(`${method}: ${code} ${text}`);
    times.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN;
  return [name, [at(0.5), at(0.99)]];
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '8' }, clients: { type: 'string', default: '400' } },
  });
  for (const lanes of [false, true]) {
    const { waits, failures, deferred } = await overload(lanes, Number(values.seconds), Number(values.clients));
    const shown = [...waits].map(([name, [p50, p99]]) => `${name} ${p50.toFixed(1)} / ${p99.toFixed(1)} ms`).join(', ');
    console.log(
      `lanes ${lanes ? 'on ' : 'off'}: p50 / p99 of ${shown}; ${deferred} deferred, ${failures.length} failed`,
    );
  }
}
