/** Severity, in zap's words and order. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'panic' | 'fatal';

export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'panic', 'fatal'];

/** Named values of a log line. Never a secret, never a value of the store. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where a component reports what an operator may want to read. Implementations must not throw. */
export interface Logger {
  enabled(level: LogLevel): boolean;
  log(level: LogLevel, message: string, fields?: LogFields): void;
}

/** Drops everything; for tests and for components that are given no logger. */
export const silentLogger: Logger = { enabled: () => false, log: () => {} };
