/** Finds the service manager this process was started by, from its environment. */
import { spawn } from 'node:child_process';
import { errorChain, type Logger } from '@etsd/base';
import { DatagramSender, loadSocketCalls } from './datagram.ts';
import { type NotifyClock, type NotifySender, ServiceManager } from './service-manager.ts';

const clock: NotifyClock = {
  every(ms, callback) {
    const timer = setInterval(callback, ms).unref();
    return { cancel: () => clearInterval(timer) };
  },
  afterTurn: (callback) => void setImmediate(callback),
};

/**
 * The service manager, or null where none asks to be told. What it left in the environment is taken out, so that no
 * program that the member starts speaks in its name.
 */
export async function openServiceManager(env: NodeJS.ProcessEnv, logger: Logger): Promise<ServiceManager | null> {
  const path = env['NOTIFY_SOCKET'] ?? '';
  const watchdogMs = watchdogOf(env, process.pid);
  if (path === '' || process.platform === 'win32') return null;
  const sender = await openSender(path, logger);
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
  return sender === null ? null : new ServiceManager({ sender, clock, logger, watchdogMs });
}

/** Milliseconds, as `WATCHDOG_USEC` says; null where it says nothing, or speaks of another process. */
export function watchdogOf(env: NodeJS.ProcessEnv, pid: number): number | null {
  const { WATCHDOG_USEC: time = '', WATCHDOG_PID: of = '' } = env;
  if (of !== '' && of !== String(pid)) return null;
  const microseconds = Number(time);
  return time === '' || !Number.isSafeInteger(microseconds) || microseconds <= 0 ? null : microseconds / 1000;
}

/** Only paths and abstract names are addresses on this machine. */
async function openSender(path: string, logger: Logger): Promise<NotifySender | null> {
  if (!path.startsWith('/') && !path.startsWith('@')) {
    logger.log('warn', 'NOTIFY_SOCKET is no address known here', { path });
    return null;
  }
  try {
    return new DatagramSender(await loadSocketCalls(), path);
  } catch (error) {
    logger.log('warn', 'no sockets of the service manager here; its program systemd-notify speaks for this one', {
      error: errorChain(error),
    });
    return new ProgramSender(path, logger);
  }
}

/**
 * Speaks through systemd's own program, where there are no binaries for this platform: a process for each message. The
 * unit has to say `NotifyAccess=all`, for it is not the main process that speaks.
 */
export class ProgramSender implements NotifySender {
  private readonly path: string;
  private readonly logger: Logger;
  private readonly program: string;

  constructor(path: string, logger: Logger, program = 'systemd-notify') {
    this.path = path;
    this.logger = logger;
    this.program = program;
  }

  send(text: string): number {
    const child = spawn(this.program, text.split('\n'), {
      env: { ...process.env, NOTIFY_SOCKET: this.path },
      stdio: 'ignore',
    });
    child.on('error', (error) => {
      this.logger.log('warn', 'the service manager could not be told', { error: errorChain(error) });
    });
    child.unref();
    return 0;
  }
}
