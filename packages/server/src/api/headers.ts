import { ResponseHeader } from '@etsd/proto';
import type { MemberContext } from '../context.ts';

/** The header of an answer, with the store's revision as it is now. */
export function responseHeader(context: MemberContext): ResponseHeader {
  const { clusterId, memberId, replication, store } = context;
  return ResponseHeader.create({ clusterId, memberId, revision: store.revision, raftTerm: replication.term });
}

/** The header of answers about members, which name no revision. */
export function clusterHeader(context: MemberContext): ResponseHeader {
  const { clusterId, memberId, replication } = context;
  return ResponseHeader.create({ clusterId, memberId, raftTerm: replication.term });
}
