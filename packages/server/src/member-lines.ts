/** What the log of a member says about changes of the member list, in etcd's words. */
import { type Logger, type U64, u64ToHex } from '@etsd/base';
import type { MemberRecord, Members, MembersListener } from '@etsd/state';

export class MemberLines implements MembersListener {
  private readonly logger: Logger;
  private readonly members: Pick<Members, 'list'>;

  constructor(logger: Logger, members: Pick<Members, 'list'>) {
    this.logger = logger;
    this.members = members;
  }

  memberAdded({ id, peerURLs, isLearner }: MemberRecord): void {
    this.logger.log('info', 'added member', {
      'added-peer-id': u64ToHex(id),
      'added-peer-peer-urls': peerURLs,
      'added-peer-is-learner': isLearner,
    });
  }

  memberUpdated(member: MemberRecord): void {
    const { id, name, peerURLs, clientURLs, isLearner } = member;
    const fields = { 'updated-remote-peer-id': u64ToHex(id), 'updated-remote-peer-urls': peerURLs };
    this.logger.log('info', 'updated member', { ...fields, name, 'client-urls': clientURLs, 'is-learner': isLearner });
    if (name === '') return;
    for (const other of this.members.list()) {
      if (other.name === name && other.id !== id) this.warnOfSameName(member, other);
    }
  }

  memberRemoved(id: U64): void {
    this.logger.log('info', 'removed member', { 'removed-remote-peer-id': u64ToHex(id) });
  }

  /** Ids are what counts, so it harms nobody but the operator, who can not tell them apart. */
  private warnOfSameName(member: MemberRecord, other: MemberRecord): void {
    this.logger.log('warn', `two members are named "${member.name}"`, {
      'member-id': u64ToHex(member.id),
      'other-member-id': u64ToHex(other.id),
      advice: 'Give one of them another --name and restart it.',
    });
  }
}
