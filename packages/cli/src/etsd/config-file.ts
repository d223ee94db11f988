import { OperatorError } from '@etsd/base';
import { findOption, formatDuration, nearestOption } from '@etsd/server';
import { parse, YAMLParseError } from 'yaml';

/** Sections of the file and the flags their keys stand for. */
const SECTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'client-transport-security': {
    'cert-file': 'cert-file',
    'key-file': 'key-file',
    'client-cert-file': 'client-cert-file',
    'client-key-file': 'client-key-file',
    'client-cert-auth': 'client-cert-auth',
    'trusted-ca-file': 'trusted-ca-file',
    'auto-tls': 'auto-tls',
    'allowed-hostname': 'client-cert-allowed-hostname',
  },
  'peer-transport-security': {
    'cert-file': 'peer-cert-file',
    'key-file': 'peer-key-file',
    'client-cert-file': 'peer-client-cert-file',
    'client-key-file': 'peer-client-key-file',
    'client-cert-auth': 'peer-client-cert-auth',
    'trusted-ca-file': 'peer-trusted-ca-file',
    'auto-tls': 'peer-auto-tls',
    'allowed-cn': 'peer-cert-allowed-cn',
    'allowed-hostname': 'peer-cert-allowed-hostname',
    'skip-client-san-verification': 'peer-skip-client-san-verification',
  },
  'socket-options': { 'reuse-port': 'socket-reuse-port', 'reuse-address': 'socket-reuse-address' },
};

/**
 * The settings of a YAML or JSON file in etcd's form: keys are flag names, durations whole nanoseconds (or Go's
 * notation), lists either comma-separated text or YAML lists. `path` is for messages only.
 */
export function readConfigFile(path: string, text: string): Map<string, string> {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    if (error instanceof YAMLParseError) throw new OperatorError(`${path} is not YAML: ${error.message}`);
    throw error;
  }
  const settings = new Map<string, string>();
  if (document === null || document === undefined) return settings;
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new OperatorError(`${path} must hold settings as "name: value"`);
  }
  for (const [key, value] of Object.entries(document)) {
    const section = SECTIONS[key];
    if (section === undefined) {
      if (value !== null) settings.set(checkedName(path, key), settingText(path, key, value));
      continue;
    }
    if (value === null) continue;
    if (typeof value !== 'object' || Array.isArray(value)) throw new OperatorError(`${path}: ${key} must be a section`);
    for (const [inner, innerValue] of Object.entries(value)) {
      const flag = section[inner];
      if (flag === undefined) throw new OperatorError(`${path}: unknown setting "${inner}" in ${key}`);
      if (innerValue !== null) settings.set(flag, settingText(path, flag, innerValue));
    }
  }
  return settings;
}

function checkedName(path: string, key: string): string {
  if (findOption(key) !== undefined) return key;
  const nearest = nearestOption(key);
  throw new OperatorError(
    `${path}: unknown setting "${key}"`,
    nearest === undefined ? 'etsd --help lists every setting.' : `Did you mean "${nearest}"?`,
  );
}

function settingText(path: string, key: string, value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(',');
  if (typeof value === 'number' && findOption(key)?.kind === 'duration') return formatDuration(value / 1e6);
  if (typeof value === 'object') throw new OperatorError(`${path}: ${key} must be a plain value`);
  return String(value);
}
