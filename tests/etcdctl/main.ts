/** Prints where etcdctl's output against two servers differs: `node tests/etcdctl/main.ts [--only TXN] [--show]`. */
import { parseArgs } from 'node:util';
import type { Product } from '../support/server.ts';
import * as steps from './steps.ts';
import { differences, transcript } from './transcript.ts';

const { values } = parseArgs({
  options: {
    left: { type: 'string', default: 'etcd' },
    right: { type: 'string', default: 'etsd' },
    only: { type: 'string' },
    show: { type: 'boolean', default: false },
  },
});

const { CHECK_PERF, ...usual } = steps.CHAPTERS;
const chapters: Record<string, steps.Step[]> = values.only === 'CHECK_PERF' ? { CHECK_PERF } : usual;
for (const [name, chapter] of Object.entries(chapters)) {
  if (values.only !== undefined && values.only !== name) continue;
  const [left, right] = await Promise.all([
    transcript(values.left as Product, chapter),
    transcript(values.right as Product, chapter),
  ]);
  if (values.show) {
    for (const entry of left) console.log(`$ etcdctl ${entry.title}\n${entry.stdout}${entry.stderr}[${entry.exit}]`);
  }
  const difference = differences(left, right);
  console.log(
    `${name}: ${chapter.length} commands, ${difference === null ? 'the same output' : `different\n${difference}`}`,
  );
  if (difference !== null) process.exitCode = 1;
}
