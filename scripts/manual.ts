/** Man pages and completion files of the three programs, made from the tables that the programs themselves work by. */
import type { Command, Program } from '../packages/cli/src/ctl/command.ts';
import { completionScript, type SHELLS } from '../packages/cli/src/ctl/completion.ts';
import type { Flag } from '../packages/cli/src/ctl/flags.ts';
import { ETSDCTL } from '../packages/cli/src/ctl/program.ts';
import { ETSD } from '../packages/cli/src/etsd/completion.ts';
import { ETSDUTL } from '../packages/cli/src/utl/program.ts';
import { OPTIONS } from '../packages/server/src/config/options.ts';
import { ETSD_VERSION } from '../packages/server/src/version.ts';

/** Text as roff takes it: nothing in it is a request. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replaceAll("'", '\\(aq')
    .replaceAll(/^\./gm, '\\&.');
}

/** Lines of prose, each sentence's end at the end of a line as roff wants it. */
function prose(text: string): string {
  const sentences = text.replaceAll(/\s*\n\s*/g, '\n').trim();
  return `${escaped(sentences).replaceAll(/([.!?:;]) +(?=[A-Z\\])/g, '$1\n')}`;
}

const heading = (title: string): string => `.SH ${title}\n`;

/** The day the pages were made, or the one that makes the same bytes every time (reproducible-builds.org). */
function day(): string {
  const seconds = process.env['SOURCE_DATE_EPOCH'];
  return (seconds === undefined ? new Date() : new Date(Number(seconds) * 1000)).toISOString().slice(0, 10);
}

function titleLine(name: string): string {
  return `.\\" Made by scripts/manual.ts\n.TH ${name.toUpperCase().replaceAll('-', '\\-')} 1 "${day()}" "etsd ${ETSD_VERSION}" "etsd manual"\n`;
}

function flagEntry({ name, short, kind, fallback, help }: Flag): string {
  const shown = short === undefined ? '' : `\\fB\\-${short}\\fR, `;
  const value = kind === 'bool' ? '' : `=\\fI${kind === 'string' ? 'text' : kind}\\fR`;
  const unless = fallback === '' || (kind === 'bool' && fallback === 'false') ? '' : ` (${fallback})`;
  return `.TP\n${shown}\\fB\\-\\-${escaped(name)}\\fR${value}\n${prose(help + unless)}\n`;
}

function flagSection(title: string, flags: readonly Flag[]): string {
  if (flags.length === 0) return '';
  // Of two with one name the command's own is meant.
  const own = [...new Map(flags.map((each) => [each.name, each])).values()];
  const sorted = own.sort((a, b) => (a.name < b.name ? -1 : 1));
  return heading(title) + sorted.map(flagEntry).join('');
}

function exampleSection(program: string, examples: readonly (readonly [string, string])[]): string {
  if (examples.length === 0) return '';
  const shown = examples.map(([what, words], at) => {
    const said = what === '' ? '' : `${at === 0 ? '' : '.PP\n'}${prose(what)}:\n`;
    return `${said}.RS 4\n.nf\n${escaped(`${program} ${words}`)}\n.fi\n.RE\n`;
  });
  return heading('EXAMPLES') + shown.join('');
}

function seeAlso(pages: readonly string[]): string {
  const entries = pages.map((page, at) => `.BR ${page.replaceAll('-', '\\-')} (1)${at < pages.length - 1 ? ' ,' : ''}`);
  return `${heading('SEE ALSO')}${entries.join('\n')}\n`;
}

/** Each command with its page's name and all flags, those inherited included. */
function* allCommands(
  commands: readonly Command[],
  path: readonly string[],
  inherited: readonly Flag[],
): Generator<{ command: Command; path: readonly string[]; flags: readonly Flag[] }> {
  for (const command of commands) {
    const at = [...path, command.name];
    const shared = [...inherited, ...(command.sharedFlags ?? [])];
    yield { command, path: at, flags: [...shared, ...(command.flags ?? [])] };
    yield* allCommands(command.commands ?? [], at, shared);
  }
}

function commandPage(program: Program, path: readonly string[], command: Command, flags: readonly Flag[]): string {
  const page = [program.name, ...path].join('-');
  const { summary, usage = '', description, examples = [], commands = [] } = command;
  const words = [...path, ...(commands.length > 0 ? ['COMMAND'] : []), usage].filter((word) => word !== '').join(' ');
  const below = commands
    .map((each) => `.TP\n.BR ${escaped(`${page}-${each.name}`)} (1)\n${prose(each.summary)}\n`)
    .join('');
  return (
    titleLine(page) +
    `${heading('NAME')}${escaped(page)} \\- ${escaped(summary)}\n` +
    `${heading('SYNOPSIS')}.B ${program.name}\n${escaped(words)}\n[\\fIoptions\\fR]\n` +
    (description === undefined ? '' : `${heading('DESCRIPTION')}${prose(description)}\n`) +
    (below === '' ? '' : heading('COMMANDS') + below) +
    flagSection('OPTIONS', flags) +
    exampleSection(program.name, examples) +
    seeAlso([[program.name, ...path.slice(0, -1)].join('-')])
  );
}

function programPage(program: Program): string {
  const rows = program.commands.map(
    ({ name, summary }) => `.TP\n.BR ${escaped(`${program.name}-${name}`)} (1)\n${prose(summary)}\n`,
  );
  const environment = program.globalFlags.some(({ name }) => name === 'endpoints')
    ? `${heading('ENVIRONMENT')}Each of these flags can be set as a variable too:\n.B ETCDCTL_ENDPOINTS\nstands for\n.BR \\-\\-endpoints ,\nand so on.\n`
    : '';
  return (
    titleLine(program.name) +
    `${heading('NAME')}${program.name} \\- ${escaped(program.summary.replace(/\.$/, ''))}\n` +
    `${heading('SYNOPSIS')}.B ${program.name}\n[\\fIoptions\\fR]\n\\fICOMMAND\\fR\n` +
    heading('COMMANDS') +
    rows.join('') +
    flagSection('OPTIONS OF ALL COMMANDS', program.globalFlags) +
    environment +
    exampleSection(
      program.name,
      program.examples.map((words) => ['', words]),
    ) +
    seeAlso(['etsd', 'etsdctl', 'etsdutl'].filter((name) => name !== program.name))
  );
}

const SERVER_PROSE = `${heading('DESCRIPTION')}Runs one member of a cluster that speaks the protocols of etcd 3.5, until it is told to stop.
Settings come from flags, from variables named
.B ETCD_
and the flag in capitals, or from a file; a flag goes before its variable.
With
.B \\-\\-config\\-file
the file alone counts: its keys are flags without their dashes.
`;

const SERVER_ENDS = `${heading('ENVIRONMENT')}.TP
.BR NOTIFY_SOCKET ", " WATCHDOG_USEC ", " WATCHDOG_PID
As
.BR sd_notify (3)
has it: the service manager hears when the member serves, how it is and that it stops, and its watchdog is fed while the event loop turns and the log becomes durable.
${heading('SIGNALS')}.TP
.BR SIGTERM ", " SIGINT
Lets running calls end, hands leadership over, commits the store and ends as the signal would have ended it.
A second one does not wait.
${heading('EXIT STATUS')}.TP
.B 0
The member was removed from its cluster.
.TP
.B 1
Settings or data cannot be used; the last line of the log says what to do.
.TP
.B 2
The command line is malformed.
${heading('FILES')}.TP
.I /etc/etsd/etsd.conf.yml
What the unit of systemd reads.
.TP
.I NAME.etcd/member/wal
The log: what was acknowledged is here.
.TP
.I NAME.etcd/member/snap/store.mdb
The store.
`;

function serverPage(): string {
  const sections = [...new Set(OPTIONS.map(({ section }) => section))];
  const own = ETSD.globalFlags.filter(({ name }) => !OPTIONS.some((each) => each.name === name));
  const inert = new Map(OPTIONS.map(({ name, status }) => [name, status]));
  const note = (each: Flag): Flag => {
    const status = inert.get(each.name);
    if (status === 'inert') return { ...each, help: `${each.help} Accepted; has no effect here.` };
    return status === 'default-only' ? { ...each, help: `${each.help} Not available in this version.` } : each;
  };
  const flags = sections
    .map((section) => {
      const names = new Set(OPTIONS.filter((each) => each.section === section).map(({ name }) => name));
      const entries = ETSD.globalFlags.filter(({ name }) => names.has(name)).map((each) => flagEntry(note(each)));
      return `.SS ${section}\n${entries.join('')}`;
    })
    .join('');
  return (
    titleLine('etsd') +
    `${heading('NAME')}etsd \\- run a member of a key\\-value store that is compatible with etcd\n` +
    `${heading('SYNOPSIS')}.B etsd\n[\\fIoptions\\fR]\n.PP\n.B etsd \\-\\-config\\-file\n.I FILE\n.PP\n.B etsd completion\n.I SHELL\n` +
    `${SERVER_PROSE}${heading('OPTIONS')}${own.map(flagEntry).join('')}${flags}${SERVER_ENDS}${seeAlso(['etsdctl', 'etsdutl'])}`
  );
}

/** File name and text of every page. */
export function manPages(): Map<string, string> {
  const pages = new Map([['etsd.1', serverPage()]]);
  for (const program of [ETSDCTL, ETSDUTL]) {
    pages.set(`${program.name}.1`, programPage(program));
    for (const { command, path, flags } of allCommands(program.commands, [], [])) {
      pages.set(`${[program.name, ...path].join('-')}.1`, commandPage(program, path, command, flags));
    }
  }
  return pages;
}

/** Paths as packagers want them, below a folder of completions, with their text. */
export function completionFiles(): Map<string, string> {
  const files = new Map<string, string>();
  const paths: Readonly<Record<keyof typeof SHELLS, (name: string) => string>> = {
    bash: (name) => `bash/${name}`,
    fish: (name) => `fish/${name}.fish`,
    powershell: (name) => `powershell/${name}.ps1`,
    zsh: (name) => `zsh/_${name}`,
  };
  for (const program of [ETSD, ETSDCTL, ETSDUTL]) {
    for (const shell of Object.keys(paths) as (keyof typeof SHELLS)[]) {
      files.set(paths[shell](program.name), completionScript(shell, program));
    }
  }
  return files;
}
