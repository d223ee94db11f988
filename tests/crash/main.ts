/** Kills a server in the middle of writes, again and again: `node tests/crash/main.ts --cycles 200`. */
import { parseArgs } from 'node:util';
import type { Product } from '../support/server.ts';
import { crash } from './run.ts';

const { values } = parseArgs({
  options: {
    product: { type: 'string', default: 'etsd' },
    cycles: { type: 'string', default: '200' },
    writers: { type: 'string', default: '12' },
    seed: { type: 'string' },
    flag: { type: 'string', multiple: true, default: [] },
  },
});

const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
console.log(`seed ${seed}, ${values.cycles} crashes of ${values.product}`);
const result = await crash({
  product: values.product as Product,
  seed,
  cycles: Number(values.cycles),
  writers: Number(values.writers),
  flags: values.flag,
  progress: (cycle, acknowledged) => process.stderr.write(`\r${cycle} crashes, ${acknowledged} acknowledged writes `),
});
process.stderr.write('\r');
console.log(`${result.cycles} crashes, ${result.acknowledged} acknowledged writes`);
for (const fault of result.faults) console.log(fault);
process.exitCode = result.faults.length === 0 ? 0 : 1;
