/**
 * Compares two servers over a random run: `node tests/differential/main.ts --seed 7 --count 100000`.
 * By default real etcd is on the left and etsd on the right; `--left etcd --right etcd` checks the harness itself. `--seeds N`
 * takes so many seeds from the first on, `--restart-every N` starts both anew after so many operations, `--flag` is for both
 * and may be given several times, `--data-root` is where their data is.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { MEMORY_ROOT, type Product } from '../support/server.ts';
import { run } from './runner.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    count: { type: 'string', default: '20000' },
    seeds: { type: 'string', default: '1' },
    left: { type: 'string', default: 'etcd' },
    right: { type: 'string', default: 'etsd' },
    'restart-every': { type: 'string', default: '0' },
    'data-root': { type: 'string' },
    flag: { type: 'string', multiple: true, default: [] },
    quiet: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  // How it is called stands at the head of this file.
  const [head = ''] = readFileSync(import.meta.filename, 'utf8').split('\n */');
  console.log(head.replaceAll(/^(?:\/\*\*| \* ?)\n?/gm, ''));
  process.exit();
}

// The data of a comparison need not survive the machine, and memory is faster than a disk.
const dataRoot = values['data-root'] ?? MEMORY_ROOT;
const first = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
let failed = false;
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  const started = Date.now();
  console.log(`seed ${seed}: ${values.count} operations, ${values.left} and ${values.right}`);
  const result = await run({
    seed,
    count: Number(values.count),
    left: values.left as Product,
    right: values.right as Product,
    restartEvery: Number(values['restart-every']),
    flags: values.flag,
    ...(dataRoot === undefined ? {} : { dataRoot }),
    ...(values.quiet ? {} : { progress: (done: number) => process.stderr.write(`\r${done}`) }),
  });
  if (!values.quiet) process.stderr.write('\r');
  if (result.mismatch === null) {
    console.log(`equal: ${result.done} operations to revision ${result.revision} in ${Date.now() - started} ms`);
    if (!values.quiet)
      console.log(
        [...result.counts]
          .sort()
          .map(([name, times]) => `  ${name}: ${times}`)
          .join('\n'),
      );
  } else {
    failed = true;
    console.log(result.mismatch);
  }
}
process.exitCode = failed ? 1 : 0;
