import { OPTIONS } from '@etsd/server';

export const USAGE = `Usage:

  etsd [flags]
    Start a member.

  etsd --version
    Show the version.

  etsd -h | --help
    Show every flag.

  etsd --config-file FILE
    Start with the settings of a file; other flags and environment variables are then ignored.

  etsd completion bash | fish | powershell | zsh
    Print a completion script for the shell.
`;

/** Every flag with its default and meaning, by section. */
export function flagHelp(): string {
  const lines: string[] = [];
  let section = '';
  for (const option of OPTIONS) {
    if (option.section !== section) {
      section = option.section;
      lines.push('', `${section}:`);
    }
    lines.push(`  --${option.name} '${option.fallback}'`, `    ${option.help}${statusNote(option.status)}`);
  }
  return `${lines.slice(1).join('\n')}\n`;
}

function statusNote(status: string): string {
  if (status === 'inert') return ' (Accepted; has no effect here.)';
  return status === 'default-only' ? ' (Not available in this version.)' : '';
}
