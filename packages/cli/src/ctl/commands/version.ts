import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from '../command.ts';

/** The version of etcd's client API that is spoken. */
const API_VERSION = '3.5';

function programVersion(): string {
  const manifest = readFileSync(join(import.meta.dirname, '..', '..', '..', 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

export const VERSION_COMMAND: Command = {
  name: 'version',
  summary: 'Print the version of this program',
  group: 'Other',
  run(context) {
    context.line(`${context.program.name} version: ${programVersion()}`);
    context.line(`API version: ${API_VERSION}`);
  },
};
