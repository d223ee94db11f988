/** Prints where our etsdctl and the real etcdctl differ: `node tests/etsdctl/main.ts [--only TXN] [--server etsd]`. */
import { parseArgs } from 'node:util';
import type { Product } from '../support/server.ts';
import { compare } from './compare.ts';
import { CHAPTERS } from './steps.ts';

const { values } = parseArgs({
  options: { server: { type: 'string', default: 'etcd' }, only: { type: 'string' } },
});

let total = 0;
for (const [name, chapter] of Object.entries(CHAPTERS)) {
  if (values.only !== undefined && values.only !== name) continue;
  const { compared, crashes, difference } = await compare(values.server as Product, chapter);
  total += compared;
  const left = crashes === 0 ? '' : ` (${crashes} more crash etcdctl)`;
  console.log(`${name}: ${compared} commands${left}, ${difference === null ? 'the same' : `different\n${difference}`}`);
  if (difference !== null) process.exitCode = 1;
}
console.log(`${total} commands compared`);
