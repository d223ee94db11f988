/** The loads of a comparison. */
import { DEFAULT_OPTIONS, type LoadOptions } from './options.ts';
import type { Verb } from './run.ts';

export interface Row {
  name: string;
  /** `restart`: no load, but the time from start to the first answer over what was preloaded. */
  verb: Verb | 'restart';
  options: Partial<LoadOptions>;
}

/** Keys that are there before the first row, for reads to find, unless the person wants another number. */
export const PRELOADED_KEYS = 10_000;
const VALUE_BYTES = 256;
const KEY_BYTES = 32;

const COMMON: LoadOptions = {
  ...DEFAULT_OPTIONS,
  total: 0,
  putTotal: 0,
  keySize: KEY_BYTES,
  valSize: VALUE_BYTES,
  keySpaceSize: PRELOADED_KEYS,
};

/** Ten clients share a connection, as in etcd's own published measurements. */
function conns(clients: number): number {
  return Math.max(1, clients / 10);
}

function perClients(name: string, verb: Verb, options: Partial<LoadOptions>): Row[] {
  return [1, 100, 1000].map((clients) => ({
    name: `${name}-${clients}`,
    verb,
    options: { ...options, clients, conns: conns(clients) },
  }));
}

export const ROWS: readonly Row[] = [
  ...perClients('put', 'put', {}),
  ...perClients('range-l', 'range', { consistency: 'l' }),
  ...perClients('range-s', 'range', { consistency: 's' }),
  // A thousand records, about 300 kB, in each answer.
  { name: 'range-page-10', verb: 'range', options: { clients: 10, words: ['/', '0'], limit: 1000 } },
  { name: 'txn-mixed-100', verb: 'txn-mixed', options: { clients: 100, conns: conns(100), rwRatio: 2 } },
  { name: 'watch-1000', verb: 'watch', options: { clients: 10, conns: 10, streams: 10, watchPerStream: 100 } },
  { name: 'lease-100', verb: 'lease', options: { clients: 100, conns: conns(100) } },
  { name: 'restart', verb: 'restart', options: {} },
];

/** The rows with these names, in this order; a name may also be a family such as `put`. */
export function selectRows(names: readonly string[]): Row[] {
  if (names.length === 0) return [...ROWS];
  const selected: Row[] = [];
  for (const name of names) {
    const matching = ROWS.filter((row) => row.name === name || familyOf(row.name) === name);
    if (matching.length === 0) throw new Error(`no row ${name}; there are: ${ROWS.map((row) => row.name).join(' ')}`);
    selected.push(...matching);
  }
  return selected;
}

/** `range-l-100` → `range-l`: rows that differ in the number of clients only. */
export function familyOf(name: string): string {
  return name.replace(/-\d+$/, '');
}

export function optionsOf(row: Row, endpoints: string[], seconds: number, keys: number): LoadOptions {
  return { ...COMMON, ...row.options, endpoints, seconds, keySpaceSize: keys };
}

/** The load that fills the key space before the rows. */
export function preloadOptions(endpoints: string[], keys: number): LoadOptions {
  return {
    ...COMMON,
    endpoints,
    clients: 100,
    conns: 10,
    total: keys,
    keySpaceSize: keys,
    sequentialKeys: true,
  };
}
