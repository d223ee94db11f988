import { OperatorError } from '@etsd/base';
import { OPTIONS } from '@etsd/server';

/** Settings found in the environment, and what was found but means nothing. */
export interface EnvironmentSettings {
  readonly settings: ReadonlyMap<string, string>;
  readonly unknown: readonly string[];
}

/** Variables with etcd's prefix that are not flags. */
const NOT_FLAGS = new Set(['ETCD_CONFIG_FILE', 'ETCD_UNSUPPORTED_ARCH', 'ETCD_VERIFY', 'ETCD_VERSION']);

/** The environment variable of a flag. */
export function variableOf(flag: string): string {
  return `ETCD_${flag.toUpperCase().replaceAll('-', '_')}`;
}

/**
 * Every `ETCD_<FLAG>` of the environment. A flag given both here and on the command line is refused, as etcd does:
 * which of the two should win is a guess nobody should have to make.
 */
export function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  onCommandLine: ReadonlyMap<string, string>,
): EnvironmentSettings {
  const settings = new Map<string, string>();
  const known = new Set(NOT_FLAGS);
  for (const option of OPTIONS) {
    for (const name of [option.name, ...option.aliases]) {
      const variable = variableOf(name);
      known.add(variable);
      const text = environment[variable];
      if (text === undefined || text === '') continue;
      if (onCommandLine.has(name)) {
        throw new OperatorError(
          `conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))`,
          `Give either ${variable} or --${name}, not both.`,
        );
      }
      settings.set(name, text);
    }
  }
  const unknown = Object.keys(environment).filter((name) => name.startsWith('ETCD_') && !known.has(name));
  return { settings, unknown };
}
