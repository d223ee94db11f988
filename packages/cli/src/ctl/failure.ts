/** Exit codes of etcdctl, which scripts look at. */
export const ExitCode = {
  ERROR: 1,
  BAD_CONNECTION: 2,
  INVALID_INPUT: 3,
  BAD_FEATURE: 4,
  INTERRUPTED: 5,
  IO: 6,
  BAD_ARGUMENTS: 128,
} as const;

/** Ends the command: `Error: <message>` on stderr, then the hint, and this exit code. */
export class Failure extends Error {
  readonly exitCode: number;
  /** What to do instead, in one line; may be empty. */
  readonly hint: string;

  constructor(exitCode: number, message: string, hint = '', options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

export function badArguments(message: string, hint = ''): Failure {
  return new Failure(ExitCode.BAD_ARGUMENTS, message, hint);
}

/** Ends the command with this code and without a word, since everything is said. */
export class Silent extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}
