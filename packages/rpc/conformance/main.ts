/**
 * Tries the rules of RFC 9113 and RFC 7541 on a server: `node packages/rpc/conformance/main.ts --port 8080 [--tls]`.
 * The server should answer the request given by `--path` and `--body` with a message, as our interop server does.
 */
import { parseArgs } from 'node:util';
import { ALL_CASES } from './all.ts';
import type { Target } from './peer.ts';
import { judge } from './suite.ts';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string' },
    tls: { type: 'boolean', default: false },
    path: { type: 'string', default: '/grpc.testing.TestService/UnaryCall' },
    // SimpleRequest { response_size: 64 }
    body: { type: 'string', default: '00000000021040' },
    patience: { type: 'string', default: '2000' },
    only: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});

if (values.port === undefined) throw new Error('which --port?');
const target: Target = {
  host: values.host,
  port: Number(values.port),
  tls: values.tls,
  path: values.path,
  body: Buffer.from(values.body, 'hex'),
  patienceMs: Number(values.patience),
};
const print = (line: string): boolean => process.stdout.write(`${line}\n`);
const counts = { passed: 0, failed: 0, skipped: 0 };
for (const entry of ALL_CASES) {
  if (values.only !== undefined && !`${entry.section} ${entry.title}`.includes(values.only)) continue;
  const { section, title, status, reason } = await judge(entry, target);
  counts[status]++;
  if (status !== 'passed' || values.verbose) print(`${status}  ${section}  ${title}${reason && `\n        ${reason}`}`);
}
print(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;
