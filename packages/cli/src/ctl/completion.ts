/** Completion scripts. They hold the words themselves, so that a tab costs no start of this program. */
import type { Command, Program } from './command.ts';
import { type Flag, overlaid } from './flags.ts';

interface Entry {
  /** The words that lead here, '' for the top. */
  readonly path: string;
  readonly commands: readonly Command[];
  readonly flags: readonly Flag[];
}

function entriesOf(commands: readonly Command[], globals: readonly Flag[]): Entry[] {
  const entries: Entry[] = [{ path: '', commands, flags: globals }];
  const walk = (list: readonly Command[], path: string, inherited: readonly Flag[]): void => {
    for (const command of list) {
      const at = path === '' ? command.name : `${path} ${command.name}`;
      const shared = overlaid(inherited, command.sharedFlags ?? []);
      entries.push({ path: at, commands: command.commands ?? [], flags: overlaid(shared, command.flags ?? []) });
      walk(command.commands ?? [], at, shared);
    }
  };
  walk(commands, '', globals);
  return entries;
}

function wordsOf(entry: Entry): string[] {
  return [...entry.commands.map((command) => command.name), ...entry.flags.map((flag) => `--${flag.name}`)];
}

/** Finds the command among the words typed so far; for shells with functions in the manner of Bourne's. */
const FIND_PATH = `  local path="" word
  for word in "\${words_before[@]}"; do
    case "$word" in -*) continue ;; esac
    case " $known_paths " in *" \${path:+\${path}_}\${word//-/_} "*) path="\${path:+\${path}_}\${word//-/_}" ;; esac
  done`;

function key(path: string): string {
  return path.replaceAll('-', '_').replaceAll(' ', '_');
}

function bash(entries: readonly Entry[], name: string): string {
  const paths = entries.map((entry) => key(entry.path)).filter((path) => path !== '');
  const cases = entries.map((entry) => `    ${key(entry.path) || '""'}) words="${wordsOf(entry).join(' ')}" ;;`);
  return `# bash completion of ${name}: source <(${name} completion bash)
_${name}() {
  local known_paths="${paths.join(' ')}"
  local words_before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}") words=""
${FIND_PATH}
  case "$path" in
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _${name} ${name}
`;
}

function zsh(entries: readonly Entry[], name: string): string {
  const describe = (word: string, text: string): string =>
    `'${word}:${text.replaceAll("'", "'\\''").replaceAll(':', '\\:')}'`;
  const paths = entries.map((entry) => key(entry.path)).filter((path) => path !== '');
  const cases = entries.map((entry) => {
    const next = entry.commands.map((command) => describe(command.name, command.summary));
    const flags = entry.flags.map((flag) => describe(`--${flag.name}`, flag.help));
    return `    ${key(entry.path) || '""'}) next=(${next.join(' ')}) flags=(${flags.join(' ')}) ;;`;
  });
  return `#compdef ${name}
# zsh completion of ${name}: source <(${name} completion zsh)
_${name}() {
  local known_paths="${paths.join(' ')}"
  local -a words_before next flags
  words_before=("\${(@)words[2,CURRENT-1]}")
${FIND_PATH}
  case "$path" in
${cases.join('\n')}
  esac
  # Flags are offered behind a dash only; file names where no command can follow.
  local found=1
  (( $#next )) && _describe -t commands command next && found=0
  _describe -o -t flags flag flags && found=0
  (( found && ! $#next )) && _files && found=0
  return found
}
compdef _${name} ${name}
`
    .replace('local path=""', 'local route=""')
    .replaceAll('$path', '$route')
    .replaceAll('${path', '${route')
    .replaceAll('path="$', 'route="$');
}

function fish(entries: readonly Entry[], name: string): string {
  const lines = [`# fish completion of ${name}: ${name} completion fish | source`];
  const quoted = (text: string): string => text.replaceAll("'", "\\'");
  for (const entry of entries) {
    const words = entry.path === '' ? [] : entry.path.split(' ');
    const next = entry.commands.map((command) => command.name).join(' ');
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`);
    const conditions = [...seen, ...(next === '' ? [] : [`not __fish_seen_subcommand_from ${next}`])];
    const when = conditions.length === 0 ? '' : ` -n '${conditions.join('; and ')}'`;
    for (const command of entry.commands) {
      lines.push(`complete -c ${name} -f${when} -a ${command.name} -d '${quoted(command.summary)}'`);
    }
    for (const flag of entry.flags) {
      const short = flag.short === undefined ? '' : ` -s ${flag.short}`;
      const value = flag.kind === 'bool' ? '' : ' -r';
      lines.push(`complete -c ${name}${when} -l ${flag.name}${short}${value} -d '${quoted(flag.help)}'`);
    }
  }
  return `${[...new Set(lines)].join('\n')}\n`;
}

function powershell(entries: readonly Entry[], name: string): string {
  const rows = entries.map(
    (entry) =>
      `    '${entry.path}' = @(${wordsOf(entry)
        .map((word) => `'${word}'`)
        .join(', ')})`,
  );
  return `# PowerShell completion of ${name}: ${name} completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName ${name} -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $known = @{
${rows.join('\n')}
  }
  $path = ''
  foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
    $next = ("$path " + $element.ToString()).Trim()
    if ($known.ContainsKey($next)) { $path = $next }
  }
  $known[$path] | Where-Object { $_ -like "$wordToComplete*" }
}
`;
}

export const SHELLS = { bash, fish, powershell, zsh } as const;

export function completionScript(shell: keyof typeof SHELLS, program: Program): string {
  return SHELLS[shell](entriesOf(program.commands, program.globalFlags), program.name);
}
