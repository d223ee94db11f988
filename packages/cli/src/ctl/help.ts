/** Help pages: what it is for, examples, flags; the list of commands in groups. */
import type { Command, Program } from './command.ts';
import type { Flag } from './flags.ts';

function columns(rows: readonly (readonly [string, string])[], indent = '  '): string {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${indent}${left.padEnd(width)}  ${right}`.trimEnd()).join('\n');
}

function flagRow(flag: Flag): readonly [string, string] {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `;
  const fallback = flag.kind === 'string' || flag.kind === 'list' ? `'${flag.fallback}'` : flag.fallback;
  return [`${short}--${flag.name}=${fallback}:`, flag.help];
}

function flagSection(title: string, flags: readonly Flag[]): string {
  if (flags.length === 0) return '';
  const sorted = [...flags].sort((a, b) => (a.name < b.name ? -1 : 1));
  return `\n${title}:\n${columns(sorted.map(flagRow))}\n`;
}

/** All commands, grouped. */
export function overview({ name, summary, commands, groups, examples }: Program): string {
  let out = `${summary}\n`;
  for (const group of groups) {
    const rows = commands
      .filter((command) => command.group === group)
      .map((each) => [each.name, each.summary] as const);
    if (rows.length > 0) out += `\n${group}:\n${columns(rows)}\n`;
  }
  out += `\nUsage:\n  ${name} [flags] COMMAND\n\n`;
  out += `Examples:\n${examples.map((words) => `  ${name} ${words}\n`).join('')}\n`;
  out += `Use "${name} COMMAND --help" for more about a command.\n`;
  out += `Use "${name} options" for the flags that all commands have.\n`;
  return out;
}

/** The flags that all commands have. */
export function globalOptions(flags: readonly Flag[]): string {
  const hint = 'Each can be set in the environment too: ETCDCTL_ENDPOINTS stands for --endpoints, and so on.\n';
  const hasEnvironment = flags.some((each) => each.name === 'endpoints');
  const list = columns([...flags].map(flagRow));
  return `The following flags can be given to any command:\n\n${list}\n${hasEnvironment ? `\n${hint}` : ''}`;
}

/** One command, or the commands below it. */
export function commandHelp(
  program: string,
  path: readonly string[],
  command: Command,
  flags: readonly Flag[],
): string {
  const line = [program, ...path].join(' ');
  let out = `${command.summary}.\n`;
  if (command.description !== undefined) out += `\n${command.description.replace(/^/gm, '  ').replace(/^ +$/gm, '')}\n`;
  const { commands = [], examples = [] } = command;
  if (examples.length > 0) {
    const shown = examples.map(([what, words]) => `${what === '' ? '' : `  # ${what}\n`}  ${program} ${words}`);
    out += `\nExamples:\n${shown.join('\n\n')}\n`;
  }
  if (commands.length > 0) {
    out += `\nAvailable Commands:\n${columns(commands.map((each) => [each.name, each.summary] as const))}\n`;
  }
  out += flagSection('Options', flags);
  const usage = command.usage === undefined ? '' : ` ${command.usage}`;
  out += `\nUsage:\n  ${line}${commands.length > 0 ? ' COMMAND' : usage} [options]\n\n`;
  if (commands.length > 0) out += `Use "${line} COMMAND --help" for more about a command.\n`;
  out += `Use "${program} options" for the flags that all commands have.\n`;
  return out;
}
