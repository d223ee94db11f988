/** `node tests/v2/main.ts [--left etcd|etcd-3.4] [--right etsd]`: the golden test by hand; prints every difference. */
import { parseArgs } from 'node:util';
import { type Product, startServer } from '../support/server.ts';
import { compare } from './compare.ts';
import { steps, stepsWithout } from './requests.ts';

const { values } = parseArgs({
  options: { left: { type: 'string', default: 'etcd' }, right: { type: 'string', default: 'etsd' } },
});
let failed = 0;
for (const [flags, all] of [
  [['--enable-v2'], steps()],
  [[], stepsWithout()],
] as const) {
  const start = (product: string) => startServer({ product: product as Product, flags: [...flags] });
  const servers = await Promise.all([start(values.left), start(values.right)]);
  try {
    const differences = await compare(all, servers[0].clientPort, servers[1].clientPort);
    for (const { asked, left, right } of differences) {
      console.log(`── ${asked}\n${values.left}: ${left}\n${values.right}: ${right}\n`);
    }
    console.log(`${all.length} requests compared, ${differences.length} answered otherwise`);
    failed += differences.length;
  } finally {
    for (const server of servers) await server.dispose();
  }
}
process.exitCode = failed === 0 ? 0 : 1;
