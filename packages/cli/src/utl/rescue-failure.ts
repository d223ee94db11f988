import { OperatorError } from '@etsd/base';
import { reasonOf } from '../ctl/context.ts';
import { ExitCode, Failure } from '../ctl/failure.ts';

/** What a thrown value means for the end of a command that works on data directories. */
export function rescueFailure(error: unknown): unknown {
  if (error instanceof OperatorError) return new Failure(ExitCode.ERROR, error.message, error.advice, { cause: error });
  if (error instanceof Error && 'syscall' in error) {
    const path = 'path' in error ? ` ${String(error.path)}` : '';
    return new Failure(ExitCode.ERROR, `${String(error.syscall)}${path}: ${reasonOf(error)}`, '', { cause: error });
  }
  return error;
}
