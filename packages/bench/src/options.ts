import { parseArgs } from 'node:util';

/** What all workloads share; the names of the flags are those of etcd's own benchmark tool. */
export interface LoadOptions {
  endpoints: string[];
  /** Connections, shared evenly by the clients. */
  conns: number;
  /** Requests under way at once. */
  clients: number;
  /** Requests in all; 0 with `seconds` set: as many as fit. */
  total: number;
  /** Ends the load earlier; 0: only `total` counts. */
  seconds: number;
  /** Requests a second at most; 0: as fast as answers come. */
  rate: number;
  keySize: number;
  valSize: number;
  /** Different keys. */
  keySpaceSize: number;
  sequentialKeys: boolean;
  /** `l` linearizable, `s` serializable. */
  consistency: 'l' | 's';
  /** Keys at most that a range returns; 0 for all. */
  limit: number;
  /** Puts in one transaction. */
  txnOps: number;
  /** Reads to one write. */
  rwRatio: number;
  streams: number;
  watchPerStream: number;
  watchedKeyTotal: number;
  putTotal: number;
  putRate: number;
  prevKv: boolean;
  json: boolean;
  transport: 'etsd' | 'node';
  /** Files of certificates and key, empty for none. */
  cacert: string;
  cert: string;
  key: string;
  insecureSkipTlsVerify: boolean;
  /** What follows the flags: key and range end of a range. */
  words: string[];
}

export const DEFAULT_OPTIONS: LoadOptions = {
  endpoints: ['127.0.0.1:2379'],
  conns: 1,
  clients: 1,
  total: 10_000,
  seconds: 0,
  rate: 0,
  keySize: 8,
  valSize: 8,
  keySpaceSize: 1,
  sequentialKeys: false,
  consistency: 'l',
  limit: 1000,
  txnOps: 1,
  rwRatio: 1,
  streams: 10,
  watchPerStream: 100,
  watchedKeyTotal: 1,
  putTotal: 1000,
  putRate: 0,
  prevKv: false,
  json: false,
  transport: 'etsd',
  cacert: '',
  cert: '',
  key: '',
  insecureSkipTlsVerify: false,
  words: [],
};

const HELP: Record<string, string> = {
  endpoints: 'comma-separated addresses',
  conns: 'connections',
  clients: 'requests under way at once',
  total: 'requests in all',
  seconds: 'end after this long, whatever the total',
  rate: 'requests a second at most, 0 for no bound',
  'key-size': 'bytes of a key',
  'val-size': 'bytes of a value',
  'key-space-size': 'different keys',
  'sequential-keys': 'keys in order instead of by chance',
  consistency: 'l: linearizable, s: serializable',
  limit: 'keys a range returns at most',
  'txn-ops': 'puts in one transaction',
  'rw-ratio': 'reads to one write',
  streams: 'watch streams',
  'watch-per-stream': 'watchers on each stream',
  'watched-key-total': 'different keys watched',
  'put-total': 'puts of the watch workloads',
  'put-rate': 'puts a second, 0: each when all have seen the one before',
  prevkv: 'watchers want the record before too',
  json: 'print the result as JSON',
  transport: 'etsd: our client; node: node:http2',
  cacert: 'file of authorities for https endpoints',
  cert: "file of the client's certificate",
  key: 'file of its key',
  'insecure-skip-tls-verify': 'accept any certificate',
};

/** The text for `--help`. */
export function flagHelp(): string {
  return Object.entries(HELP)
    .map(([name, text]) => `  --${name.padEnd(20)} ${text}\n`)
    .join('');
}

const BOOLEANS = new Set(['sequential-keys', 'prevkv', 'json', 'insecure-skip-tls-verify']);

function propertyOf(flag: string): keyof LoadOptions {
  if (flag === 'prevkv') return 'prevKv';
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()) as keyof LoadOptions;
}

/** Reads flags over the defaults; throws an `Error` with one sentence for the person at the keyboard. */
export function parseOptions(args: string[], defaults: LoadOptions = DEFAULT_OPTIONS): LoadOptions {
  const options: Record<string, { type: 'string' | 'boolean' }> = {};
  for (const name of Object.keys(HELP)) options[name] = { type: BOOLEANS.has(name) ? 'boolean' : 'string' };
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true, strict: true });
  const out: LoadOptions = { ...defaults, words: positionals };
  const target = out as unknown as Record<string, unknown>;
  for (const [flag, value] of Object.entries(values)) {
    const property = propertyOf(flag);
    const before = DEFAULT_OPTIONS[property];
    if (typeof value === 'boolean') target[property] = value;
    else if (Array.isArray(before)) target[property] = (value as string).split(',');
    else if (typeof before === 'number') target[property] = parseCount(flag, value as string);
    else target[property] = value;
  }
  if (out.consistency !== 'l' && out.consistency !== 's') throw new Error('--consistency must be l or s');
  if (out.transport !== 'etsd' && out.transport !== 'node') throw new Error('--transport must be etsd or node');
  if (values['clients'] !== undefined && values['conns'] === undefined) out.conns = Math.min(out.clients, 1000);
  if (out.conns > out.clients) out.conns = out.clients;
  return out;
}

function parseCount(flag: string, text: string): number {
  const value = Number(text);
  if (text === '' || !Number.isFinite(value) || value < 0) throw new Error(`--${flag} wants a number, not ${text}`);
  return value;
}
