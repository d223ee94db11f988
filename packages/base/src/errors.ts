/**
 * Something only the operator can mend: a bad flag, a full disk, a directory of another cluster.
 * `message` says what is wrong and where; `advice` what to do about it, in one sentence.
 */
export class OperatorError extends Error {
  override readonly name: string = 'OperatorError';
  readonly advice: string;

  constructor(message: string, advice = '', options?: ErrorOptions) {
    super(message, options);
    this.advice = advice;
  }
}

/** Bytes on disk that are not what was written. Never repaired silently: the member stops with `where` and `advice`. */
export class CorruptionError extends OperatorError {
  override readonly name: string = 'CorruptionError';
  /** File and byte position, or bucket and key. */
  readonly where: string;

  constructor(message: string, where: string, advice: string, options?: ErrorOptions) {
    super(`${message} (${where})`, advice, options);
    this.where = where;
  }
}

/** The error in any thrown value, for the places that catch `unknown`. */
export function errorFrom(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The messages of an error and all its causes, outermost first, joined for one log line. */
export function errorChain(error: unknown): string {
  const parts: string[] = [];
  let at: unknown = error;
  while (at !== undefined && at !== null && parts.length < 8) {
    const current = errorFrom(at);
    parts.push(current.message);
    at = current.cause;
  }
  return parts.join(': ');
}
