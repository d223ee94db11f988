import { parseArguments } from '../../packages/cli/src/etsd/arguments.ts';
import { readSettings, type Settings } from '../../packages/cli/src/etsd/settings.ts';

/** What etsd makes of these words and variables; throws what it would say of them. Variables it does not know count as wrong. */
export function settingsOf(
  words: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Settings['config'] {
  const args = parseArguments(words);
  if (args.rest.length > 0) throw new Error(`no flag: ${args.rest[0]}`);
  const { config, unknownVariables } = readSettings(args, variables);
  if (unknownVariables.length > 0) throw new Error(`unknown: ${unknownVariables.join(' ')}`);
  return config;
}
