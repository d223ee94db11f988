/** Large stores: `node tests/scale/main.ts` with one million keys, beside real etcd where it is found. */
import { parseArgs } from 'node:util';
import { findPeerProgram } from '@etsd/testkit';
import type { Product } from '../support/server.ts';
import { control } from './control.ts';
import { manyKeys } from './keys.ts';
import { largeRange } from './large-range.ts';
import { manyLeases } from './leases.ts';
import { largeSnapshot } from './snapshot.ts';
import { upkeep } from './upkeep.ts';

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    'range-keys': { type: 'string', default: '200000' },
    leases: { type: 'string', default: '1000000' },
    'snapshot-keys': { type: 'string', default: '1000000' },
    only: { type: 'string', default: 'control,keys,range,leases,snapshot,upkeep' },
    product: { type: 'string', multiple: true },
  },
});
const products = (values.product ?? (findPeerProgram('etcd') === null ? ['etsd'] : ['etcd', 'etsd'])) as Product[];
const only = values.only.split(',');
const CONTROL_SECONDS = 20;

if (only.includes('control')) console.log(JSON.stringify({ control: control(CONTROL_SECONDS) }));
if (only.includes('keys')) {
  for (const product of products) console.log(JSON.stringify(await manyKeys(product, Number(values.keys))));
}
if (only.includes('range')) {
  for (const product of products) console.log(JSON.stringify(await largeRange(product, Number(values['range-keys']))));
}
if (only.includes('leases')) {
  for (const product of products) console.log(JSON.stringify(await manyLeases(product, Number(values.leases), 5000)));
}
if (only.includes('snapshot')) {
  for (const product of products)
    console.log(JSON.stringify(await largeSnapshot(product, Number(values['snapshot-keys']), 256)));
}
if (only.includes('upkeep')) {
  for (const product of products) {
    await upkeep(product, Number(values.keys), (step) => console.log(JSON.stringify(step)));
  }
}
