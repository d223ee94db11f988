/** What a membership entry of the log means, and when it means nothing. */
import { type U64, U64_ZERO } from '@etsd/base';
import {
  ConfChange,
  ConfChangeType,
  ErrMemberExist,
  ErrMemberNotFound,
  ErrMemberNotLearner,
  ErrPeerURLExist,
  ErrTooManyLearners,
  EtcdError,
  GrpcCode,
} from '@etsd/proto';
import { parseJsonObject } from './go-json.ts';
import { type MemberRecord, type Members, memberFields, memberFromFields } from './members.ts';

const ErrUnreadable = new EtcdError(GrpcCode.InvalidArgument, 'etcdserver: malformed membership change');

/** A membership entry, its context read. */
export class MembershipChange {
  readonly type: number;
  readonly id: U64;
  /** Of the context; null for removals. */
  readonly member: MemberRecord | null;
  readonly isPromote: boolean;

  constructor(type: number, id: U64, member: MemberRecord | null, isPromote: boolean) {
    this.type = type;
    this.id = id;
    this.member = member;
    this.isPromote = isPromote;
  }
}

/** Reads an entry; null where its context is none of etcd's. */
export function readMembershipChange(change: ConfChange): MembershipChange | null {
  const type = change.type ?? ConfChangeType.ConfChangeAddNode;
  const id = change.nodeId ?? U64_ZERO;
  if (type === ConfChangeType.ConfChangeRemoveNode) return new MembershipChange(type, id, null, false);
  const fields = parseJsonObject(change.context?.toString('utf8') ?? '');
  if (fields === undefined) return null;
  const member = memberFromFields(fields);
  if (member === undefined || member.id !== id) return null;
  return new MembershipChange(type, id, member, fields['isPromote'] === true);
}

/**
 * Why the change can not be applied to these members, or null. An entry that fails here is still an entry: it is applied
 * as a change of nobody, on every member alike.
 */
export function checkMembershipChange(change: MembershipChange | null, members: Members): EtcdError | null {
  if (change === null) return ErrUnreadable;
  if (members.isRemoved(change.id)) return ErrMemberNotFound;
  const present = members.get(change.id);
  switch (change.type) {
    case ConfChangeType.ConfChangeAddNode:
    case ConfChangeType.ConfChangeAddLearnerNode:
      if (change.isPromote) {
        if (present === undefined) return ErrMemberNotFound;
        return present.isLearner ? null : ErrMemberNotLearner;
      }
      return checkAddition(change, members);
    case ConfChangeType.ConfChangeRemoveNode:
      return present === undefined ? ErrMemberNotFound : null;
    case ConfChangeType.ConfChangeUpdateNode:
      if (present === undefined) return ErrMemberNotFound;
      return members.hasPeerUrl(change.member?.peerURLs ?? [], change.id) ? ErrPeerURLExist : null;
    default:
      return ErrUnreadable;
  }
}

function checkAddition(change: MembershipChange, members: Members): EtcdError | null {
  if (members.get(change.id) !== undefined) return ErrMemberExist;
  if (members.hasPeerUrl(change.member?.peerURLs ?? [])) return ErrPeerURLExist;
  if (change.member?.isLearner === true && members.learnerCount() >= members.learnersMax) return ErrTooManyLearners;
  return null;
}

/** Brings a change that passed `checkMembershipChange` into the member list. */
export function applyMembershipChange(change: MembershipChange, members: Members): void {
  switch (change.type) {
    case ConfChangeType.ConfChangeRemoveNode:
      members.remove(change.id);
      return;
    case ConfChangeType.ConfChangeUpdateNode:
      members.updatePeerUrls(change.id, change.member?.peerURLs ?? []);
      return;
    default:
      if (change.isPromote) members.promote(change.id);
      else if (change.member !== null) members.add(change.member);
  }
}

/** The entry that adds a member, as a voter or a learner by its own flag. */
export function addMemberChange(member: MemberRecord): ConfChange {
  const type = member.isLearner ? ConfChangeType.ConfChangeAddLearnerNode : ConfChangeType.ConfChangeAddNode;
  return change(type, member.id, `{${memberFields(member)}}`);
}

/** The entry that makes a learner vote. */
export function promoteMemberChange(member: MemberRecord): ConfChange {
  return change(ConfChangeType.ConfChangeAddNode, member.id, `{${memberFields(member)},"isPromote":true}`);
}

/** The entry that removes a member. */
export function removeMemberChange(id: U64): ConfChange {
  return change(ConfChangeType.ConfChangeRemoveNode, id, '');
}

/** The entry that gives a member other peer URLs. */
export function updateMemberChange(member: MemberRecord): ConfChange {
  return change(ConfChangeType.ConfChangeUpdateNode, member.id, `{${memberFields(member)}}`);
}

function change(type: number, nodeId: U64, context: string): ConfChange {
  return ConfChange.create({ id: U64_ZERO, type, nodeId, context: Buffer.from(context) });
}
