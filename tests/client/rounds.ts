/**
 * Rounds of faults between programs that use the client and a cluster of three:
 *
 *     node tests/client/rounds.ts [--rounds 1000] [--product etsd] [--seed 7] [--faults cut,kill]
 *
 * Three programs watch everything, write, and take turns with one lock. Each round does one thing to them: wires to some
 * members are cut, broken again and again, or carry nothing any more; a member is killed and started again; the leadership
 * is moved; the event loop of the lock's owner stands still for longer than its lease. Then everything has to work again.
 *
 * Goal: no event is lost and none is seen twice (a watch of everything is due every revision of the store once, in order,
 * and the three keys of one transaction together); no two programs take the lock for theirs at the same time, by the
 * machine's one clock; an earlier owner never writes after a later one. Ends with 1 if that was broken. The seed decides
 * what is done; what comes of it depends on the machine's timing too.
 */
import { parseArgs } from 'node:util';
import type { Product } from '../support/server.ts';
import { FAULTS, type Fault, runRounds } from './rounds/run.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    product: { type: 'string', default: 'etsd' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    faults: { type: 'string', default: FAULTS.join(',') },
    quiet: { type: 'boolean', default: false },
  },
});
const faults = values.faults.split(',') as Fault[];
const wrong = faults.find((fault) => !FAULTS.includes(fault));
if (wrong !== undefined) throw new TypeError(`no such fault: ${wrong}; there are ${FAULTS.join(', ')}`);
console.log(`${values.rounds} rounds of ${faults.join(', ')} on ${values.product}, seed ${values.seed}`);
const result = await runRounds({
  product: values.product as Product,
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  faults,
  log: values.quiet ? () => {} : console.log,
});
for (const violation of result.violations) console.log(`VIOLATION ${violation}`);
console.log(
  `${result.rounds} rounds (${[...result.byFault].map(([fault, count]) => `${count} ${fault}`).join(', ')}): ` +
    `${result.revisions} revisions seen by every watch, ${result.writes} writes, ${result.tenures} tenures of the lock, ` +
    `${result.stalled} owners told that they had stood still; ${result.violations.length} violations`,
);
process.exitCode = result.violations.length > 0 ? 1 : 0;
