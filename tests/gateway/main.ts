/** `node tests/gateway/main.ts [--left etcd] [--right etsd]`: the golden test by hand; prints every difference. */
import { parseArgs } from 'node:util';
import { type Product, startServer } from '../support/server.ts';
import { compare } from './golden.ts';

const { values } = parseArgs({
  options: { left: { type: 'string', default: 'etcd' }, right: { type: 'string', default: 'etsd' } },
});
const servers = await Promise.all(
  [values.left, values.right].map((product) => startServer({ product: product as Product })),
);
try {
  const [left, right] = servers as [(typeof servers)[0], (typeof servers)[0]];
  const { compared, differences } = await compare(left.clientPort, right.clientPort);
  for (const { asked, left: a, right: b } of differences) {
    console.log(`── ${asked}\n${values.left}: ${a}\n${values.right}: ${b}\n`);
  }
  console.log(`${compared} requests compared, ${differences.length} answered otherwise`);
  process.exitCode = differences.length === 0 ? 0 : 1;
} finally {
  for (const server of servers) await server.dispose();
}
