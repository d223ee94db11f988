import { OperatorError } from '@etsd/base';

/** How the text of a flag is read. `duration` is Go's notation (`1h30m`, `100ms`), kept in milliseconds. */
export type ValueKind = 'string' | 'boolean' | 'integer' | 'unsigned' | 'duration' | 'urls' | 'list';

/** A parsed flag. */
export type Value = string | boolean | number | readonly string[];

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration in Go's notation, or `undefined` where the text is none. */
export function parseDuration(text: string): number | undefined {
  const signed = /^[+-]?/.exec(text)?.[0] ?? '';
  const body = text.slice(signed.length);
  if (body === '0') return 0;
  if (!/^(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$/.test(body))
    return undefined;
  let total = 0;
  for (const part of body.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(part[1]) * (DURATION_UNITS[part[2] as string] as number);
  }
  return signed === '-' ? -total : total;
}

/** A duration in Go's notation, as etcd's logs and messages show it (`1m0s`, `100ms`). */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0s';
  const sign = milliseconds < 0 ? '-' : '';
  const rest = Math.abs(milliseconds);
  if (rest < 1e-3) return `${sign}${trim(rest * 1e6)}ns`;
  if (rest < 1) return `${sign}${trim(rest * 1e3)}µs`;
  if (rest < 1000) return `${sign}${trim(rest)}ms`;
  const hours = Math.floor(rest / 3_600_000);
  const minutes = Math.floor((rest % 3_600_000) / 60_000);
  const seconds = trim((rest % 60_000) / 1000);
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}

function trim(value: number): string {
  return String(Number(value.toFixed(9)));
}

/** A listening or advertised address, split once so that nobody parses URLs again. */
export interface Endpoint {
  /** As the operator wrote it. */
  readonly url: string;
  readonly scheme: 'http' | 'https' | 'unix' | 'unixs';
  /** Host name or address, or the socket's path for unix schemes. */
  readonly host: string;
  /** 0 for unix schemes. */
  readonly port: number;
}

/** Reads one URL of the kinds etcd takes; throws a sentence that says what is wrong with it. */
export function parseEndpoint(url: string): Endpoint {
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\//.exec(url)?.[1]?.toLowerCase();
  if (scheme !== 'http' && scheme !== 'https' && scheme !== 'unix' && scheme !== 'unixs') {
    throw new OperatorError(`URL scheme must be http, https, unix, or unixs: ${url}`);
  }
  if (scheme === 'unix' || scheme === 'unixs') {
    const path = url.slice(scheme.length + 3);
    if (path === '') throw new OperatorError(`URL must name a socket: ${url}`);
    return { url, scheme, host: path, port: 0 };
  }
  const authority = /^[a-zA-Z]+:\/\/([^/?#]*)(.*)$/.exec(url);
  const address = /^(\[[^\]]+\]|[^:[\]]*):(\d+)$/.exec(authority?.[1] ?? '');
  if (address === null || Number(address[2]) > 65_535) {
    throw new OperatorError(`URL address does not have the form "host:port": ${url}`);
  }
  if ((authority?.[2] ?? '') !== '') {
    throw new OperatorError(`URL must not contain a path: ${url}`);
  }
  const host = (address[1] as string).replace(/^\[|\]$/g, '');
  return { url, scheme, host, port: Number(address[2]) };
}

/** Reads the text of a flag; the error's message is what etcd's flag package says behind the flag's name. */
export function parseValue(kind: ValueKind, text: string): Value {
  switch (kind) {
    case 'string':
      return text;
    case 'boolean':
      if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
      if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
      throw new OperatorError('parse error', 'Give true or false.');
    case 'integer':
      if (!/^[+-]?\d+$/.test(text)) throw new OperatorError('parse error', 'Give a whole number.');
      return Number(text);
    case 'unsigned':
      if (!/^\d+$/.test(text)) throw new OperatorError('parse error', 'Give a whole number that is not negative.');
      return Number(text);
    case 'duration': {
      const milliseconds = parseDuration(text);
      if (milliseconds === undefined)
        throw new OperatorError('parse error', 'Give a duration such as 500ms, 5s or 1h30m.');
      return milliseconds;
    }
    case 'urls':
      return text === '' ? [] : text.split(',').map((part) => parseEndpoint(part.trim()).url);
    case 'list':
      return text === '' ? [] : text.split(',');
  }
}
