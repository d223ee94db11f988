import { ExitCode, Failure } from './failure.ts';
import type { FlagValues } from './flags.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';

export function variableOf(flag: string): string {
  return `ETCDCTL_${flag.toUpperCase().replaceAll('-', '_')}`;
}

/** Sets the global flags that were not given from `ETCDCTL_…`; a flag given both ways is refused, as etcdctl does. */
export function applyEnvironment(flags: FlagValues, env: Readonly<Record<string, string | undefined>>): void {
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
    } catch {
      // As etcdctl: a value that cannot be read leaves the default.
    }
  }
}
