import { EtcdError } from '@etsd/client';
import { endNow, endWhenIdle } from '../ending.ts';
import { argumentsMax, type Program } from './command.ts';
import { Context, failureOf, type Surroundings } from './context.ts';
import { ExitCode, Failure, Silent } from './failure.ts';
import { nearest, parseFlags } from './flags.ts';
import { commandHelp, overview } from './help.ts';
import { findCommand } from './tree.ts';

/** Runs one command line; gives the exit code. */
export async function run(program: Program, words: readonly string[], surroundings: Surroundings): Promise<number> {
  try {
    return await execute(program, words, surroundings);
  } catch (error) {
    if (error instanceof Silent) return error.exitCode;
    const failure = error instanceof EtcdError ? failureOf(error) : error;
    if (!(failure instanceof Failure)) throw error;
    surroundings.stderr.write(`Error: ${failure.message}\n`);
    if (failure.hint !== '') surroundings.stderr.write(`(${failure.hint})\n`);
    return failure.exitCode;
  }
}

async function execute(program: Program, words: readonly string[], surroundings: Surroundings): Promise<number> {
  const asked = words[0] === 'help' ? [...words.slice(1), '--help'] : words;
  const { command, flags, ownFlags, path, words: rest } = findCommand(program, asked);
  const parsed = parseFlags(rest, flags);
  if (command === null) {
    surroundings.stdout.write(overview(program));
    return 0;
  }
  const { run: action } = command;
  const unknown = command.commands === undefined ? undefined : parsed.args[0];
  if (parsed.values.flag('help') || action === undefined || unknown !== undefined) {
    if (!parsed.values.flag('help') && unknown !== undefined) {
      const names = (command.commands ?? []).map((each) => each.name);
      const near = nearest(unknown, names);
      const hint = near === null ? '' : `; did you mean ${near}?`;
      surroundings.stderr.write(`unknown command "${unknown}" for "${program.name} ${path.join(' ')}"${hint}\n`);
    }
    surroundings.stdout.write(commandHelp(program.name, path, command, ownFlags));
    return 0;
  }
  const surplus = parsed.args.slice(argumentsMax(command.usage ?? ''));
  const context = new Context(parsed, surroundings, program);
  try {
    await action.call(command, context);
    sayIgnored(context, surplus);
    return 0;
  } catch (error) {
    // Commands that refuse a word too many say so themselves.
    if (!(error instanceof Failure && error.exitCode === ExitCode.BAD_ARGUMENTS)) sayIgnored(context, surplus);
    throw error;
  } finally {
    await context.close();
  }
}

/** etcdctl takes no notice of words that some commands have no use for; scripts may rely on it, people should know. */
function sayIgnored(context: Context, surplus: readonly string[]): void {
  if (surplus.length > 0) context.warn(`(ignored: ${surplus.join(' ')})`);
}

/** The program. */
export async function main(program: Program, words: readonly string[]): Promise<void> {
  const { stderr, stdin, stdout } = process;
  // Whoever reads the output may have seen enough of it.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') endNow(0);
    throw error;
  });
  const code = await run(program, words, { env: process.env, stdin, stdout, stderr });
  stdout.write('', () =>
    stderr.write('', () => {
      // One that was begun and not read to its end would keep the program alive.
      stdin.destroy();
      endWhenIdle(code);
    }),
  );
}
