/** `node tests/gateway/main.ts [--left etcd] [--right etsd]`: the golden test by hand; prints every difference. */
import { parseArgs } from 'node:util';
import { type Product, startServer } from '../support/server.ts';
import { compare } from './golden.ts';
import { POLICY_FLAGS, policySteps, steps } from './requests.ts';

const { values } = parseArgs({
  options: { left: { type: 'string', default: 'etcd' }, right: { type: 'string', default: 'etsd' } },
});
let failed = 0;
for (const [flags, all] of [
  [[], steps()],
  [POLICY_FLAGS, policySteps()],
] as const) {
  const start = (product: string) => startServer({ product: product as Product, flags: [...flags] });
  const servers = await Promise.all([start(values.left), start(values.right)]);
  try {
    const { compared, differences } = await compare(all, servers[0].clientPort, servers[1].clientPort);
    for (const { asked, left, right } of differences) {
      console.log(`── ${asked}\n${values.left}: ${left}\n${values.right}: ${right}\n`);
    }
    console.log(`${compared} requests compared, ${differences.length} answered otherwise`);
    failed += differences.length;
  } finally {
    for (const server of servers) await server.dispose();
  }
}
process.exitCode = failed === 0 ? 0 : 1;
