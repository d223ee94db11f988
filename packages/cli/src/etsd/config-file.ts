import { errorFrom, OperatorError } from '@etsd/base';
import { findOption, formatDuration, nearestOption } from '@etsd/server';
import { parse } from 'yaml';

/** The flags that the keys of a section stand for; a section may have sections of its own. */
interface Section {
  readonly [key: string]: string | Section;
}

/** Sections of the file. */
const SECTIONS: Readonly<Record<string, Section>> = {
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
  'discovery-config': {
    token: 'discovery-token',
    client: {
      endpoints: 'discovery-endpoints',
      'dial-timeout': 'discovery-dial-timeout',
      'request-timeout': 'discovery-request-timeout',
      'keepalive-time': 'discovery-keepalive-time',
      'keepalive-timeout': 'discovery-keepalive-timeout',
      secure: {
        cert: 'discovery-cert',
        key: 'discovery-key',
        cacert: 'discovery-cacert',
        'insecure-transport': 'discovery-insecure-transport',
        'insecure-skip-tls-verify': 'discovery-insecure-skip-tls-verify',
      },
      auth: { username: 'discovery-user', password: 'discovery-password' },
    },
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
    document = parse(text, { logLevel: 'error' });
  } catch (error) {
    // Its own error for what is no YAML, others for aliases of nothing or of too much.
    throw new OperatorError(`${path} is not YAML: ${errorFrom(error).message}`);
  }
  const settings = new Map<string, string>();
  if (document === null || document === undefined) return settings;
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new OperatorError(`${path} must hold settings as "name: value"`);
  }
  for (const [key, value] of Object.entries(document)) {
    const section = Object.hasOwn(SECTIONS, key) ? SECTIONS[key] : undefined;
    if (section === undefined) {
      if (value !== null) settings.set(checkedName(path, key), settingText(path, key, value));
      continue;
    }
    readSection(path, key, section, value, settings);
  }
  return settings;
}

function readSection(
  path: string,
  name: string,
  section: Section,
  value: unknown,
  settings: Map<string, string>,
): void {
  if (value === null) return;
  if (typeof value !== 'object' || Array.isArray(value)) throw new OperatorError(`${path}: ${name} must be a section`);
  for (const [key, inner] of Object.entries(value as object)) {
    const flag = Object.hasOwn(section, key) ? section[key] : undefined;
    if (flag === undefined) throw new OperatorError(`${path}: unknown setting "${key}" in ${name}`);
    if (typeof flag !== 'string') readSection(path, `${name}.${key}`, flag, inner, settings);
    else if (inner !== null) settings.set(flag, settingText(path, flag, inner));
  }
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
