import { ExitCode, Failure } from './failure.ts';
import { type FlagValues, nearest } from './flags.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';

const PREFIX = 'ETCDCTL_';

export function variableOf(flag: string): string {
  return `${PREFIX}${flag.toUpperCase().replaceAll('-', '_')}`;
}

/** Variables that are no flags: two of `watch`, and the version of the API, of which there is one left. */
const OTHERS = ['WATCH_KEY', 'WATCH_RANGE_END', 'API'] as const;

/**
 * Sets the global flags that were not given from `ETCDCTL_…`; a flag given both ways is refused, as etcdctl does. Hears
 * of variables that mean nothing, without their values, which may be secrets.
 */
export function applyEnvironment(
  flags: FlagValues,
  env: Readonly<Record<string, string | undefined>>,
  warn: (text: string) => void,
): void {
  for (const { name } of GLOBAL_FLAGS) {
    const value = env[variableOf(name)];
    if (value === undefined || value === '') continue;
    if (flags.isGiven(name)) {
      const text =
        `conflicting environment variable "${variableOf(name)}" is shadowed by corresponding command-line flag ` +
        '(either unset environment variable or disable flag)';
      throw new Failure(ExitCode.ERROR, text);
    }
    try {
      flags.set(name, value);
    } catch (error) {
      // As with etcdctl, a value that cannot be read leaves the default.
      const { message, hint } = error as Failure;
      warn(`Warning: ${variableOf(name)} is not used: ${message}${hint === '' ? '' : `\n(${hint})`}`);
    }
  }
  const known = [...GLOBAL_FLAGS.map(({ name }) => variableOf(name).slice(PREFIX.length)), ...OTHERS];
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX)) continue;
    const word = name.slice(PREFIX.length);
    if (known.includes(word)) continue;
    const near = nearest(word, known);
    warn(`Warning: unknown environment variable ${name}${near === null ? '' : `\n(did you mean ${PREFIX}${near}?)`}`);
  }
}
