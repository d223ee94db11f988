/**
 * Torments a cluster of real processes and judges what its clients saw:
 * `npm run chaos -- --minutes 10 --members 3 --seed 7 --kind etsd`. `--check FILE` judges a history that was written before;
 * `--churn 50` changes the membership so often in the place of breaking things.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkHistory, type Verdict } from '@etsd/simulator/checkers';
import { freePort } from '@etsd/testkit';
import type { Product } from '../support/server.ts';
import { churn } from './churn.ts';
import { FAULT_KINDS, type FaultKind } from './faults.ts';
import { readHistory, writeHistory } from './history-file.ts';
import { chaos, optionsOf } from './run.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seconds: { type: 'string' },
    members: { type: 'string', default: '3' },
    seed: { type: 'string' },
    kind: { type: 'string', default: 'etsd' },
    faults: { type: 'string' },
    churn: { type: 'string' },
    workers: { type: 'string', default: '8' },
    'pause-ms': { type: 'string', default: '20' },
    flag: { type: 'string', multiple: true, default: [] },
    check: { type: 'string' },
    keep: { type: 'string' },
  },
});

const SHOWN_MAX = 20;

function show({ violations, counts }: Verdict): void {
  console.log(
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', '),
  );
  for (const { rule, text } of violations.slice(0, SHOWN_MAX)) console.log(`VIOLATION of ${rule}: ${text}`);
  console.log(`${violations.length} violations`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}

/** `etsd`, `etcd`, `mixed` or a list such as `etcd,etcd,etsd`. */
function productsOf(kind: string, members: number): Product[] {
  if (kind.includes(',')) return kind.split(',') as Product[];
  const pattern = kind === 'mixed' ? (['etsd', 'etcd'] as const) : ([kind as Product] as const);
  return Array.from({ length: members }, (_unused, index) => pattern[index % pattern.length] as Product);
}

function kindsFor(products: readonly Product[]): FaultKind[] {
  if (values.faults !== undefined) return values.faults.split(',') as FaultKind[];
  // The disk is made slow by a program of ours around the member; real etcd has no place for that.
  return FAULT_KINDS.filter((kind) => kind !== 'slow-disk' || products.every((product) => product === 'etsd'));
}

if (values.check !== undefined) {
  const { records, end } = readHistory(values.check);
  show(checkHistory(records, optionsOf(end)));
} else {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const seconds = Number(values.seconds ?? Number(values.minutes) * 60);
  const products = productsOf(values.kind, Number(values.members));
  console.log(`seed ${seed}: ${products.join(', ')} for ${seconds} s`);
  const started = performance.now();
  const result = await chaos({
    products,
    seed,
    seconds,
    kinds: kindsFor(products),
    workers: Number(values.workers),
    pauseMs: Number(values['pause-ms']),
    flags: values.flag,
    ...(values.churn === undefined ? {} : { torment: churn(Number(values.churn)) }),
    progress: (line) => console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}`),
  });
  show(result.verdict);
  const hasFailed = result.verdict.violations.length > 0;
  if (hasFailed || values.keep !== undefined) {
    const path = values.keep ?? join(tmpdir(), `etsd-chaos-${seed}-${await freePort()}.ndjson`);
    writeHistory(path, result.records, result.end);
    if (hasFailed) console.log(result.logs.join('\n'));
    console.log(`seed ${seed}; the history again: npm run chaos -- --check ${path}`);
  }
}
