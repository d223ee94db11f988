import { OperatorError } from '@etsd/base';

/** What a member says that was removed, when it hears of it and whenever it is started again. */
export function removedError(dataDir: string): OperatorError {
  return new OperatorError(
    'the member has been permanently removed from the cluster',
    `The data-dir used by this member must be removed: ${dataDir}. Its id never comes back; add it anew to let it join again.`,
  );
}
