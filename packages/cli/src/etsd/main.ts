import { checkLmdb, LmdbBackend, loadEngine } from '@etsd/backend/lmdb';
import { errorChain, errorFrom, type Logger, OperatorError } from '@etsd/base';
import type { World } from '@etsd/runtime';
import { nodeWorld, readSecretFile, runSecretCommand } from '@etsd/runtime/node';
import { ETSD_VERSION, LineLogger, type Member, MemberRemovedError, PROTOCOL_VERSION, runMember } from '@etsd/server';
import { endNow } from '../ending.ts';
import { type Arguments, parseArguments, UsageError } from './arguments.ts';
import { CommandShell } from './command-shell.ts';
import { etsdCompletion } from './completion.ts';
import { flagHelp, USAGE } from './help.ts';
import { logCaller } from './log-caller.ts';
import { measureLoopDelay } from './loop-delay.ts';
import { memberStatus } from './notify/member-status.ts';
import { openServiceManager } from './notify/open.ts';
import { LogOutputs } from './outputs.ts';
import { processFigures } from './process-figures.ts';
import { startProfiler } from './profiler.ts';
import { readSettings, type Settings } from './settings.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** How long a process that failed waits for its disk before it ends. */
const IDLE_WAIT_MS = 3000;

/** The program `etsd`: reads its settings, runs one member until a signal, drains, ends as the signal would have. */
export async function main(words: readonly string[], world: World = nodeWorld()): Promise<void> {
  if (words[0] === 'completion' && words.length === 2) {
    const script = etsdCompletion(words[1] as string);
    if (script !== undefined) {
      process.stdout.write(script);
      return;
    }
  }
  const args = readArguments(words);
  if (args === undefined) return;
  if (args.help) {
    process.stderr.write(USAGE);
    process.stdout.write(flagHelp());
    return;
  }
  if (args.version) {
    process.stdout.write(versionText());
    return;
  }
  const startLogger = new LineLogger(new LogOutputs(['default']), 'info', 'json', logCaller);
  const settings = checkedSettings(args, words, startLogger);
  if (settings !== undefined) await run(settings, words, world);
}

function readArguments(words: readonly string[]): Arguments | undefined {
  try {
    return parseArguments(words);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n${error.advice === '' ? '' : `${error.advice}\n`}${USAGE}`);
    process.exitCode = EXIT_USAGE;
    return undefined;
  }
}

interface CheckedSettings extends Settings {
  readonly outputs: LogOutputs;
}

function checkedSettings(args: Arguments, words: readonly string[], logger: Logger): CheckedSettings | undefined {
  try {
    if (args.rest.length > 0) throw new OperatorError(`'${args.rest[0]}' is not a valid flag`);
    const settings = readSettings(args, process.env);
    return { ...settings, outputs: new LogOutputs(settings.config.logOutputs, settings.config.observe.logRotation) };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    logger.log('info', 'Running: ', { args: ['etsd', ...words] });
    logger.log('warn', 'failed to verify flags', {
      error: errorChain(error),
      ...(error.advice === '' ? {} : { advice: error.advice }),
    });
    process.exitCode = EXIT_FAILURE;
    return undefined;
  }
}

async function run(
  { config, unknownVariables, outputs }: CheckedSettings,
  words: readonly string[],
  world: World,
): Promise<void> {
  const logger = new LineLogger(outputs, config.logLevel, config.logFormat, logCaller);
  logger.log('info', 'Running: ', { args: ['etsd', ...words] });
  for (const variable of unknownVariables) {
    logger.log('warn', 'unrecognized environment variable', { 'environment-variable': variable });
  }
  switchOnSignal(logger);
  const manager = await openServiceManager(process.env, logger);
  manager?.starting();
  let backend: LmdbBackend | null = null;
  let isFailing = false;
  const fail = (error: unknown): void => {
    if (isFailing) return;
    isFailing = true;
    const advice = error instanceof OperatorError && error.advice !== '' ? { advice: error.advice } : {};
    const stack = error instanceof OperatorError ? {} : { stacktrace: errorFrom(error).stack };
    const isRemoved = error instanceof MemberRemovedError;
    const [level, message] = isRemoved ? (['warn', 'server error'] as const) : (['fatal', 'member stopped'] as const);
    logger.log(level, message, { error: errorChain(error), ...advice, ...stack });
    manager?.failed(errorChain(error));
    exitWhenIdle(backend, isRemoved ? 0 : EXIT_FAILURE);
  };
  // Doubt stops the member: whatever nobody expected is not carried on over.
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  let member: Member | null = null;
  // Before the member says that it is ready: who waits for that may send a signal at once. A member that is still
  // starting has promised nothing and just ends.
  stopOnSignal(logger, {
    stop: async () => {
      manager?.stopping('Stopping; running calls may end');
      await member?.stop();
    },
    exit: () => exitWhenIdle(backend, EXIT_FAILURE),
  });
  // Without keys to exchange the signal ends the process, as etcd.
  if (config.encryption !== null) process.on('SIGHUP', () => member?.reload());
  try {
    member = await runMember({
      world,
      config,
      logger,
      levels: logger,
      loadBackend: loadEngine,
      openBackend: (path, onFailure, onOutOfSpace) => {
        backend = new LmdbBackend(path, onFailure, onOutOfSpace);
        return backend;
      },
      checkStore: checkLmdb,
      loopDelay: measureLoopDelay(),
      process: processFigures(),
      ...(config.enablePprof ? { profiler: startProfiler() } : {}),
      startCommands: () => new CommandShell(),
      readKeys: ({ file, command }) => (file === '' ? runSecretCommand(command) : readSecretFile(file)),
      fail,
    });
    const served = member;
    manager?.ready(() => memberStatus(served));
  } catch (error) {
    fail(error);
  }
}

/**
 * Ends the process, once the thread that writes the store is at rest: ending it at work crashes the process,
 * and the exit status would be that of the crash.
 */
function exitWhenIdle(backend: LmdbBackend | null, status: number): void {
  const exit = (): never => endNow(status);
  if (backend === null) exit();
  setTimeout(exit, IDLE_WAIT_MS);
  void backend?.idle().then(() => setImmediate(exit));
}

/** SIGUSR2 writes everything, and the next one what the flag says again. */
function switchOnSignal(logger: LineLogger): void {
  const usual = logger.level;
  process.on('SIGUSR2', () => logger.setLevel(logger.level === 'debug' ? usual : 'debug'));
}

/** Drains on the first signal; ends as that signal would have ended the process. A second signal does not wait. */
function stopOnSignal(logger: Logger, { stop, exit }: { stop: () => Promise<void>; exit: () => void }): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) {
      exit();
      return;
    }
    stopping = true;
    logger.log('info', 'received signal; shutting down', { signal });
    stop().then(
      () => {
        process.removeListener(signal, onSignal);
        process.kill(process.pid, signal);
      },
      (error: unknown) => {
        logger.log('error', 'could not stop cleanly', { error: errorChain(error) });
        exit();
      },
    );
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
}

function versionText(): string {
  const { node, v8 } = process.versions;
  return `etsd Version: ${ETSD_VERSION}\netcd Version: ${PROTOCOL_VERSION}\nNode Version: ${node} (V8 ${v8})\nOS/Arch: ${process.platform}/${process.arch}\n`;
}
