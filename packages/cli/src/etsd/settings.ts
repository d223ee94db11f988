import { readFileSync } from 'node:fs';
import { OperatorError } from '@etsd/base';
import { buildConfig, type MemberConfig } from '@etsd/server';
import type { Arguments } from './arguments.ts';
import { readConfigFile } from './config-file.ts';
import { readEnvironment } from './environment.ts';

export interface Settings {
  readonly config: MemberConfig;
  /** Environment variables with etcd's prefix that mean nothing, for a warning. */
  readonly unknownVariables: readonly string[];
}

/**
 * The configuration from where the operator put it. A file, named by flag or by `ETCD_CONFIG_FILE`, makes flags and
 * environment silent; otherwise flags and environment together, never both for one setting.
 */
export function readSettings(args: Arguments, environment: Readonly<Record<string, string | undefined>>): Settings {
  const file = args.configFile === '' ? (environment['ETCD_CONFIG_FILE'] ?? '') : args.configFile;
  if (file !== '') return { config: buildConfig(readConfigFile(file, readText(file))), unknownVariables: [] };
  const { settings, unknown } = readEnvironment(environment, args.flags);
  return { config: buildConfig(new Map([...settings, ...args.flags])), unknownVariables: unknown };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new OperatorError(
      `open ${path}: the file given with --config-file cannot be read`,
      'Check the path and its permissions.',
      {
        cause: error,
      },
    );
  }
}
