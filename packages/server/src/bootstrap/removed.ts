import { OperatorError } from '@etsd/base';

/**
 * What a member says that was removed, when it hears of it and whenever it is started again. It has not failed, so that
 * nobody should start it anew: the process ends with status 0, as etcd's does.
 */
export class MemberRemovedError extends OperatorError {
  override readonly name = 'MemberRemovedError';

  constructor(dataDir: string) {
    super(
      'the member has been permanently removed from the cluster',
      `data-dir used by this member must be removed: ${dataDir}. Its id never comes back; add it anew to let it join again.`,
    );
  }
}
